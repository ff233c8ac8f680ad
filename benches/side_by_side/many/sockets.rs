//! Ten thousand sockets that say nothing, and a hundred on two nodes that are told something.

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

/// Sockets that say nothing, and people whose they are.
const IDLE: usize = 10_000;
const PEOPLE: usize = 500;
/// How many are opened at a time.
const AT_ONCE: usize = 64;
/// How long they are watched.
const WATCHED: Duration = Duration::from_secs(20);
/// Sockets that are told something, half of them on each node, and how often.
const TOLD: usize = 100;
const MESSAGES: usize = 100;
/// How long one message may take before the run is given up.
const PATIENCE: Duration = Duration::from_secs(30);

impl Scene {
    pub(super) async fn sockets(&mut self, report: &mut Report) -> anyhow::Result<()> {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        let url = self.nats.url();
        let limit = TOLD.to_string();
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

    /// From sending a message over HTTP until each socket has it.
    async fn fan_out(
        &self,
        report: &mut Report,
        account: &Account,
        one: &Server,
        two: &Server,
    ) -> anyhow::Result<()> {
        let (sender, mut arrived) = mpsc::unbounded_channel();
        let mut open = JoinSet::new();
        for n in 0..TOLD {
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
        // The conversation has begun with a message of its own.
        for _ in 0..TOLD {
            tokio::time::timeout(PATIENCE, arrived.recv()).await?.context("a socket is gone")?;
        }
        let body = json!({"session_id": conversation, "message": "to be told"}).to_string();
        let request = account.request("POST", "/api/chat", &body);
        let mut client = Client::connect(one.address).await?;
        let mut times = Times::default();
        for _ in 0..MESSAGES {
            let sent = Instant::now();
            client.call(&request).await?;
            for _ in 0..TOLD {
                let at = tokio::time::timeout(PATIENCE, arrived.recv()).await?.context("a socket is gone")?;
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

    /// What many sockets cost that say nothing.
    async fn idle(&self, report: &mut Report, account: &Account, server: &Server) -> anyhow::Result<()> {
        let mut tokens = Vec::new();
        for n in 0..PEOPLE {
            tokens.push(Account::register(server.address, &format!("idle{n}@example.com")).await?.token);
        }
        let before = server.memory()?.resident;
        let began = Instant::now();
        let (mut open, mut opening) = (JoinSet::new(), JoinSet::new());
        for n in 0..IDLE {
            let (address, token) = (server.address, tokens[n % PEOPLE].clone());
            opening.spawn(async move { socket(address, &token).await });
            if opening.len() >= AT_ONCE
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
        tokio::time::sleep(WATCHED).await;
        let share = (server.processor_time()? - used).as_secs_f64() / WATCHED.as_secs_f64();
        ensure!(open.len() == IDLE, "{} of {IDLE} sockets are left", open.len());
        let memory = server.memory()?;
        let conversation = account.conversation(server.address).await?;
        let path = format!("/api/history/{conversation}");
        let pin = |pinned| account.request("PATCH", &path, &format!(r#"{{"pinned":{pinned}}}"#));
        let times = latencies(server.address, &[vec![pin(true), pin(false)]], 300).await?.swap_remove(0);
        let raw = json!({"sockets": IDLE, "opened_in_s": took.as_secs_f64(), "resident_mib": memory.resident,
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
            format!("of one core, over {} s", WATCHED.as_secs()),
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
    // Ten thousand of the usual buffers would be more than the server itself holds.
    let small =
        WebSocketConfig::default().read_buffer_size(1024).write_buffer_size(0).max_write_buffer_size(8192);
    let (mut socket, _) = tokio_tungstenite::client_async_with_config(request, stream, Some(small)).await?;
    let hello = tokio::time::timeout(PATIENCE, socket.next()).await?.context("no first frame")??;
    ensure!(hello.to_text()?.contains("hello"), "{hello:?}");
    Ok(socket)
}

/// Answers pings until the socket ends.
async fn answer(mut socket: WebSocketStream<TcpStream>) {
    while let Some(Ok(_)) = socket.next().await {}
}
