//! Runs a real nats-server for one test, which can be killed, frozen, emptied and restarted on the same port.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::{self, stream::Stream};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::app::WAIT_TIMEOUT;
use crate::support::env_var;

/// A server with JetStream in a temporary folder.
pub(crate) struct NatsServer {
    folder: tempfile::TempDir,
    port: u16,
    child: Option<Child>,
    access: Access,
}

/// Which clients a server accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Access {
    Anonymous,
    /// The users of docs/deploy/nats.conf.
    Documented,
    /// One user with this name and password.
    One(String, String),
}

/// A message of the stream.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) sequence: u64,
    pub(crate) subject: String,
    pub(crate) payload: Value,
}

impl Message {
    pub(crate) fn text(&self, name: &str) -> &str {
        self.payload[name].as_str().unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }

    pub(crate) fn position(&self) -> i64 {
        self.text("position").parse().unwrap()
    }
}

impl NatsServer {
    /// Starts a server and waits until it answers.
    pub(crate) async fn start() -> Self {
        Self::begin(Access::Anonymous).await
    }

    /// Starts a server for one user with a password.
    pub(crate) async fn with_password(user: &str, password: &str) -> Self {
        Self::begin(Access::One(user.to_owned(), password.to_owned())).await
    }

    /// Starts a server with the users of docs/deploy/nats.conf.
    pub(crate) async fn with_users() -> Self {
        Self::begin(Access::Documented).await
    }

    async fn begin(access: Access) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = Self { folder, port, child: None, access };
        server.run().await;
        server
    }

    pub(crate) fn url(&self) -> String {
        match &self.access {
            Access::One(user, password) => format!("nats://{user}:{password}@127.0.0.1:{}", self.port),
            Access::Anonymous | Access::Documented => format!("nats://127.0.0.1:{}", self.port),
        }
    }

    /// Returns the URL for one of the documented users.
    pub(crate) fn url_of(&self, user: &str) -> String {
        format!("nats://{user}:change-{user}@127.0.0.1:{}", self.port)
    }

    /// Connects to JetStream as one of the documented users.
    pub(crate) async fn jetstream_of(&self, user: &str) -> jetstream::Context {
        jetstream::new(self.connect_as(user).await.unwrap())
    }

    /// Connects to core NATS.
    pub(crate) async fn client(&self) -> async_nats::Client {
        self.try_client().await.unwrap()
    }

    async fn try_client(&self) -> Result<async_nats::Client, async_nats::ConnectError> {
        match &self.access {
            Access::Anonymous => async_nats::connect(self.url()).await,
            Access::Documented => self.connect_as("relay").await,
            Access::One(user, password) => {
                let options =
                    async_nats::ConnectOptions::with_user_and_password(user.clone(), password.clone());
                options.connect(format!("nats://127.0.0.1:{}", self.port)).await
            }
        }
    }

    async fn connect_as(&self, user: &str) -> Result<async_nats::Client, async_nats::ConnectError> {
        let options =
            async_nats::ConnectOptions::with_user_and_password(user.to_owned(), format!("change-{user}"));
        options.connect(self.url()).await
    }

    /// Writes the documented configuration for this port and folder.
    fn configuration(&self) -> PathBuf {
        let documented = include_str!("../../../docs/deploy/nats.conf");
        let listen = format!("listen: 127.0.0.1:{}", self.port);
        let store = format!("store_dir: {:?}", self.store());
        let text =
            documented.replace("listen: 127.0.0.1:4222", &listen).replace("store_dir: /var/lib/nats", &store);
        assert!(text.contains(&listen) && text.contains(&store), "docs/deploy/nats.conf has changed");
        let path = self.folder.path().join("nats.conf");
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Starts the process on the same port and folder.
    pub(crate) async fn run(&mut self) {
        assert!(self.child.is_none(), "the server already runs");
        let binary = env_var("NATS_SERVER_BIN").map_or_else(find_binary, PathBuf::from);
        let mut command = Command::new(&binary);
        if self.access == Access::Documented {
            command.arg("-c").arg(self.configuration());
        } else {
            command.args(["-a", "127.0.0.1", "-p", &self.port.to_string(), "-js", "-sd"]).arg(self.store());
        }
        if let Access::One(user, password) = &self.access {
            command.args(["--user", user, "--pass", password]);
        }
        let child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{} (install nats-server): {error}", binary.display()));
        self.child = Some(child);
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        let answers = async {
            loop {
                ticks.tick().await;
                let Ok(client) = self.try_client().await else { continue };
                // Once JetStream runs, it answers with the stream or its absence.
                match jetstream::new(client).get_stream("VERBATIM_EVENTS").await {
                    Ok(_) => return,
                    Err(error) if matches!(error.kind(), GetStreamErrorKind::JetStream(_)) => return,
                    Err(_) => {}
                }
            }
        };
        assert!(tokio::time::timeout(WAIT_TIMEOUT, answers).await.is_ok(), "nats-server does not answer");
    }

    fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// Sends SIGKILL and waits for the exit.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Deletes the stored data; the server must not run.
    pub(crate) fn empty(&self) {
        assert!(self.child.is_none(), "the server still runs");
        std::fs::remove_dir_all(self.store()).unwrap();
    }

    /// Suspends the server: connections stay open but get no answers.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Resumes the server.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        let id = self.child.as_ref().unwrap().id();
        kill(Pid::from_raw(i32::try_from(id).unwrap()), signal).unwrap();
    }

    /// Connects to JetStream.
    pub(crate) async fn jetstream(&self) -> jetstream::Context {
        jetstream::new(self.client().await)
    }

    /// Returns the stream of public events if it exists.
    pub(crate) async fn stream(&self) -> Option<Stream> {
        self.jetstream().await.get_stream("VERBATIM_EVENTS").await.ok()
    }

    /// Returns the position in the last message.
    pub(crate) async fn last_position(&self) -> Option<i64> {
        let stream = self.stream().await?;
        let message = stream.get_raw_message(stream.cached_info().state.last_sequence).await.ok()?;
        let event: Value = serde_json::from_slice(&message.payload).ok()?;
        event["position"].as_str()?.parse().ok()
    }

    /// Returns all messages of the stream in order.
    pub(crate) async fn messages(&self) -> Vec<Message> {
        let Some(stream) = self.stream().await else { return Vec::new() };
        let state = stream.cached_info().state.clone();
        let mut messages = Vec::new();
        if state.messages > 0 {
            for sequence in state.first_sequence..=state.last_sequence {
                let Ok(message) = stream.get_raw_message(sequence).await else { continue };
                messages.push(Message {
                    sequence,
                    subject: message.subject.to_string(),
                    payload: serde_json::from_slice(&message.payload).unwrap_or(Value::Null),
                });
            }
        }
        messages
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Searches the usual folders, which are not in every user's PATH.
fn find_binary() -> PathBuf {
    ["/usr/sbin/nats-server", "/usr/local/bin/nats-server", "/opt/homebrew/bin/nats-server"]
        .map(PathBuf::from)
        .into_iter()
        .find(|path| path.exists())
        .unwrap_or_else(|| PathBuf::from("nats-server"))
}
