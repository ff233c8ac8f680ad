//! A nats-server of the run's own.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Context as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

/// Where distributions put nats-server: not every user's PATH holds it.
const PLACES: [&str; 3] =
    ["/usr/sbin/nats-server", "/usr/local/bin/nats-server", "/opt/homebrew/bin/nats-server"];

/// The server, with its store in the run's folder.
pub(crate) struct NatsServer {
    child: Child,
    port: u16,
}

impl NatsServer {
    /// Starts one. None: there is no nats-server on this machine.
    pub(crate) fn start(folder: &Path) -> anyhow::Result<Option<Self>> {
        let Some(binary) = PLACES.map(PathBuf::from).into_iter().find(|path| path.exists()) else {
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

    /// Lets it stand still, with its connections open.
    pub(crate) fn freeze(&self) -> anyhow::Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// Lets it go on.
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
