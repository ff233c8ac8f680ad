//! Ten thousand idle sockets, and fan-out to a hundred sockets on two nodes.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use futures::StreamExt as _;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use super::Scene;
use crate::http::Client;
use crate::load::{Times, latencies};
use crate::machine::Server;
use crate::report::{Goal, Report};
use crate::seed::Account;

/// Number of idle sockets, and of their users.
const IDLE_SOCKETS: usize = 10_000;
const USERS: usize = 500;
/// Number of sockets opened concurrently.
const MAX_OPENING: usize = 64;
/// Duration of the measurement of the idle sockets.
const MEASURE_DURATION: Duration = Duration::from_secs(20);
/// Number of sockets in the fan-out, half of them on each node, and number of messages.
const FAN_OUT_SOCKETS: usize = 100;
const MESSAGES: usize = 100;
/// Time after which a missing message aborts the run.
const TIMEOUT: Duration = Duration::from_secs(30);

impl Scene {
    pub(super) async fn sockets(&mut self, report: &mut Report) -> anyhow::Result<()> {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        let url = self.nats.url();
        let limit = FAN_OUT_SOCKETS.to_string();
        let one = [("NATS_URL", url.as_str()), ("MAX_SOCKETS_PER_USER", limit.as_str())];
        let two = [one.as_slice(), &[("ROLES", "api")]].concat();
        let one = Server::start(&self.database, &self.secrets, &one).await?;
        let two = Server::start(&self.database, &self.secrets, &two).await?;
        let account = Account::register(one.address, "told@example.com").await?;
        self.fan_out(report, &account, &one, &two).await?;
        self.idle(report, &account, &one).await?;
        two.stop().await?;
        one.stop().await?;
        Ok(())
    }

    /// Measures the time from sending a message over HTTP until each socket has it.
    async fn fan_out(
        &self,
        report: &mut Report,
        account: &Account,
        one: &Server,
        two: &Server,
    ) -> anyhow::Result<()> {
        let (sender, mut arrived) = mpsc::unbounded_channel();
        let mut open = JoinSet::new();
        for n in 0..FAN_OUT_SOCKETS {
            let server = if n % 2 == 0 { one } else { two };
            let mut socket = socket(server.address, &account.token).await?;
            let sender = sender.clone();
            open.spawn(async move {
                while let Some(Ok(message)) = socket.next().await {
                    if let Message::Text(text) = message
                        && text.contains(r#""role":"user""#)
                        && sender.send(Instant::now()).is_err()
                    {
                        break;
                    }
                }
            });
        }
        let conversation = account.conversation(one.address).await?;
        // Skip the first message, which started the conversation.
        for _ in 0..FAN_OUT_SOCKETS {
            tokio::time::timeout(TIMEOUT, arrived.recv()).await?.context("a socket has closed")?;
        }
        let body = json!({"session_id": conversation, "message": "to be told"}).to_string();
        let request = account.request("POST", "/api/chat", &body);
        let mut client = Client::connect(one.address).await?;
        let mut times = Times::default();
        for _ in 0..MESSAGES {
            let sent = Instant::now();
            client.call(&request).await?;
            for _ in 0..FAN_OUT_SOCKETS {
                let at =
                    tokio::time::timeout(TIMEOUT, arrived.recv()).await?.context("a socket has closed")?;
                times.push(at.duration_since(sent));
            }
        }
        open.shutdown().await;
        report.add(
            "message to 100 sockets, p99",
            (times.percentile(99), "ms"),
            Goal::AtMost(100.0),
            format!("on two nodes, from the request on; p50 {:.2} ms", times.p50()),
            json!({"p50_ms": times.p50(), "p99_ms": times.percentile(99), "messages": MESSAGES}),
        );
        Ok(())
    }

    /// Measures memory, processor time and command latency with idle sockets.
    async fn idle(&self, report: &mut Report, account: &Account, server: &Server) -> anyhow::Result<()> {
        let mut tokens = Vec::new();
        for n in 0..USERS {
            tokens.push(Account::register(server.address, &format!("idle{n}@example.com")).await?.token);
        }
        let before = server.memory()?.resident;
        let began = Instant::now();
        let (mut open, mut opening) = (JoinSet::new(), JoinSet::new());
        for n in 0..IDLE_SOCKETS {
            let (address, token) = (server.address, tokens[n % USERS].clone());
            opening.spawn(async move { socket(address, &token).await });
            if opening.len() >= MAX_OPENING
                && let Some(opened) = opening.join_next().await
            {
                open.spawn(answer(opened??));
            }
        }
        while let Some(opened) = opening.join_next().await {
            open.spawn(answer(opened??));
        }
        let took = began.elapsed();
        let used = server.processor_time()?;
        tokio::time::sleep(MEASURE_DURATION).await;
        let share = (server.processor_time()? - used).as_secs_f64() / MEASURE_DURATION.as_secs_f64();
        ensure!(open.len() == IDLE_SOCKETS, "{} of {IDLE_SOCKETS} sockets are open", open.len());
        let memory = server.memory()?;
        let conversation = account.conversation(server.address).await?;
        let path = format!("/api/history/{conversation}");
        let pin = |pinned| account.request("PATCH", &path, &format!(r#"{{"pinned":{pinned}}}"#));
        let times = latencies(server.address, &[vec![pin(true), pin(false)]], 300).await?.swap_remove(0);
        let raw = json!({"sockets": IDLE_SOCKETS, "opened_in_s": took.as_secs_f64(), "resident_mib": memory.resident,
            "before_mib": before, "processor_share": share, "command_p95_ms": times.percentile(95)});
        report.add(
            "memory with 10,000 sockets",
            (memory.resident, "MiB"),
            Goal::AtMost(600.0),
            format!(
                "{:.1} KiB each; opened in {:.1} s",
                (memory.resident - before) * 1024.0 / 1e4,
                took.as_secs_f64()
            ),
            raw.clone(),
        );
        report.add(
            "processor for them",
            (share * 100.0, "%"),
            Goal::AtMost(10.0),
            format!("of one core, over {} s", MEASURE_DURATION.as_secs()),
            raw.clone(),
        );
        report.add(
            "command p95 beside them",
            (times.percentile(95), "ms"),
            Goal::AtMost(100.0),
            format!("p50 {:.2} ms", times.p50()),
            raw,
        );
        open.shutdown().await;
        Ok(())
    }
}

/// Opens a socket and waits for its first frame.
async fn socket(address: SocketAddr, token: &str) -> anyhow::Result<WebSocketStream<TcpStream>> {
    let mut request = format!("ws://{address}/api/chat/ws").into_client_request()?;
    request.headers_mut().insert("authorization", format!("Bearer {token}").parse()?);
    let stream = TcpStream::connect(address).await?;
    // Ten thousand default-sized buffers would take more memory than the server.
    let small =
        WebSocketConfig::default().read_buffer_size(1024).write_buffer_size(0).max_write_buffer_size(8192);
    let (mut socket, _) = tokio_tungstenite::client_async_with_config(request, stream, Some(small)).await?;
    let hello = tokio::time::timeout(TIMEOUT, socket.next()).await?.context("no first frame")??;
    ensure!(hello.to_text()?.contains("hello"), "{hello:?}");
    Ok(socket)
}

/// Answers pings until the socket ends.
async fn answer(mut socket: WebSocketStream<TcpStream>) {
    while let Some(Ok(_)) = socket.next().await {}
}
