//! A temporary nats-server.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Context as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

/// Usual paths of nats-server, which are not in every user's PATH.
const PATHS: [&str; 3] =
    ["/usr/sbin/nats-server", "/usr/local/bin/nats-server", "/opt/homebrew/bin/nats-server"];

/// The server, with its store in the run's folder.
pub(crate) struct NatsServer {
    child: Child,
    port: u16,
}

impl NatsServer {
    /// Starts a server, or returns `None` without nats-server on this machine.
    pub(crate) fn start(folder: &Path) -> anyhow::Result<Option<Self>> {
        let Some(binary) = PATHS.map(PathBuf::from).into_iter().find(|path| path.exists()) else {
            return Ok(None);
        };
        let port = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let child = Command::new(binary)
            .args(["-a", "127.0.0.1", "-p", &port.to_string(), "-js", "-sd"])
            .arg(folder.join("nats"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        Ok(Some(Self { child, port }))
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Suspends the server; its connections stay open.
    pub(crate) fn freeze(&self) -> anyhow::Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// Resumes the server.
    pub(crate) fn thaw(&self) -> anyhow::Result<()> {
        self.signal(Signal::SIGCONT)
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok()).context("nats-server has ended")?;
        Ok(kill(Pid::from_raw(pid), signal)?)
    }

    pub(crate) async fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("nats-server")
    }
}
