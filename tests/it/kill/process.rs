//! Runs the real binary on a free port with either kind of Postgres; kills and restarts it on the same data.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{ConnectOptions, Connection, Executor};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::support::env_var;

/// Maximum time for a start, a stop or any other expected change.
pub(crate) const STEP_TIMEOUT: Duration = Duration::from_secs(30);
/// Text before the address in the log line of the listener.
const LISTENING_PREFIX: &str = "listens on http://";

/// Kind of Postgres server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PostgresKind {
    /// The embedded server in a data folder; a kill of the program orphans it.
    Embedded,
    /// A separate database on the tests' server; a kill of the program leaves its sessions running.
    Server,
}

/// Data and environment that one process after another runs with.
pub(crate) struct Installation {
    folder: tempfile::TempDir,
    /// The tests' server and the name of the database on it.
    database: Option<(PgConnectOptions, String)>,
    environment: Vec<(&'static str, String)>,
    log: Arc<Mutex<Vec<String>>>,
}

impl Installation {
    /// Creates an installation; `fault` is the fault to inject, if any.
    pub(crate) async fn new(postgres: PostgresKind, fault: Option<&'static str>) -> Self {
        // All users need access: the embedded server does not run as root.
        let folder = tempfile::tempdir_in("/tmp").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(folder.path(), mode).unwrap();
        let mut environment: Vec<(&str, String)> = [
            ("HOST", "127.0.0.1"),
            ("PORT", "0"),
            ("METRICS_ADDR", "off"),
            ("RATE_LIMITS", "off"),
            ("QUOTA_MESSAGES_PER_DAY", "0"),
            ("QUOTA_TOKENS_PER_DAY", "0"),
            ("REPLIES_AT_ONCE_PER_USER", "0"),
            ("SCRIPTED_WORDS_PER_SECOND", "100"),
            ("REPLY_WAIT_SECONDS", "1"),
            ("REPLY_MAX_ATTEMPTS", "20"),
            ("LOG_FORMAT", "json"),
        ]
        .map(|(name, value)| (name, value.to_owned()))
        .into();
        environment.extend(fault.map(|name| ("INJECTED_FAULT", name.to_owned())));
        let mut database = None;
        match postgres {
            PostgresKind::Embedded => {
                environment.push(("DATA_DIR", folder.path().join("data").display().to_string()));
            }
            PostgresKind::Server => {
                let url = env_var("DATABASE_URL").expect("DATABASE_URL names a Postgres server for tests");
                let server = PgConnectOptions::from_str(&url).unwrap();
                let name = format!("kill_{}", Uuid::new_v4().simple());
                let mut connection = PgConnection::connect_with(&server).await.unwrap();
                connection.execute(format!("CREATE DATABASE {name}").as_str()).await.unwrap();
                let url = server.clone().database(&name).to_url_lossy().to_string();
                environment.extend([
                    ("DATABASE_URL", url),
                    ("JWT_SECRET_KEY", format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())),
                    ("MASTER_KEY", format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())),
                ]);
                database = Some((server, name));
            }
        }
        let installation = Self { folder, database, environment, log: Arc::default() };
        if postgres == PostgresKind::Server {
            let output = installation.command("migrate").output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        installation
    }

    /// Sets a variable for all processes started from now on.
    pub(crate) fn set(&mut self, name: &'static str, value: String) {
        self.environment.push((name, value));
    }

    /// Returns the options for a direct database connection.
    pub(crate) fn options(&self) -> PgConnectOptions {
        match &self.database {
            Some((server, name)) => server.clone().database(name),
            None => PgConnectOptions::new_without_pgpass()
                .socket(self.folder.path().join("data/socket"))
                .username("verbatim")
                .database("verbatim")
                .ssl_mode(PgSslMode::Disable),
        }
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(PathBuf::from(env!("CARGO_BIN_EXE_verbatim")));
        command
            .arg(name)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin:/opt/homebrew/bin")
            .envs(self.environment.iter().map(|(name, value)| (*name, value)))
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        command
    }

    /// Starts `verbatim serve` without waiting.
    pub(crate) fn spawn(&self) -> Starting {
        self.spawn_as("serve")
    }

    /// Starts another subcommand without waiting.
    fn spawn_as(&self, command: &str) -> Starting {
        let mut child = self.command(command).stdout(Stdio::null()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (found, address) = oneshot::channel();
        let log = Arc::clone(&self.log);
        // Ends when the last process closes the pipe.
        std::thread::spawn(move || {
            let mut found = Some(found);
            for line in stderr.lines().map_while(Result::ok) {
                if let Some((_, rest)) = line.split_once(LISTENING_PREFIX)
                    && let Some(found) = found.take()
                {
                    let end = rest.find(|letter: char| !letter.is_ascii_digit() && !".:".contains(letter));
                    // The receiver is gone if the process was killed during its start.
                    let _ = found.send(rest[..end.unwrap_or(rest.len())].to_owned());
                }
                log.lock().unwrap().push(line);
            }
        });
        Starting { node: Node { child }, address }
    }

    /// Starts `verbatim serve` and waits until it is ready; returns its base URL and the duration.
    ///
    /// # Errors
    /// The process is not ready within `bound`; the error holds the readiness answer or the last log lines.
    pub(crate) async fn start(
        &self,
        http: &reqwest::Client,
        bound: Duration,
    ) -> Result<(Node, String, Duration), String> {
        self.start_as("serve", http, bound).await
    }

    /// Like [`Installation::start`] with another subcommand.
    pub(crate) async fn start_as(
        &self,
        command: &str,
        http: &reqwest::Client,
        bound: Duration,
    ) -> Result<(Node, String, Duration), String> {
        let started = Instant::now();
        let Starting { node, address } = self.spawn_as(command);
        let Ok(Ok(address)) = tokio::time::timeout(bound, address).await else {
            return Err(format!("{:#?}", self.last_log_lines()));
        };
        let base = format!("http://{address}");
        let url = format!("{base}/readyz");
        let mut answer = String::new();
        let ready =
            within(bound.saturating_sub(started.elapsed()), async || match http.get(&url).send().await {
                Ok(told) if told.status().is_success() => true,
                Ok(told) => {
                    answer = told.text().await.unwrap_or_default();
                    false
                }
                Err(_) => false,
            });
        if !ready.await {
            return Err(answer);
        }
        Ok((node, base, started.elapsed()))
    }

    /// Rebuilds every read model; returns whether all are unchanged, and the output.
    pub(crate) fn rebuild(&self) -> (bool, String) {
        let output = self.command("rebuild").output().unwrap();
        let text =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.success(), text)
    }

    /// Runs a subcommand to its end with additional variables.
    pub(crate) fn run(&self, name: &str, variables: &[(&str, &str)]) -> Output {
        self.command(name).envs(variables.iter().copied()).output().unwrap()
    }

    /// Runs the program with these arguments to its end.
    pub(crate) fn run_with(&self, arguments: &[&str]) -> Output {
        self.command(arguments[0]).args(&arguments[1..]).output().unwrap()
    }

    /// Returns all log lines of all processes, including the embedded server's.
    pub(crate) fn log_lines(&self) -> Vec<String> {
        let mut lines = self.log.lock().unwrap().clone();
        if self.database.is_none() {
            let text = std::fs::read_to_string(self.folder.path().join("data/postgres.log")).unwrap();
            lines.extend(text.lines().map(str::to_owned));
        }
        lines
    }

    /// Returns the last 20 log lines.
    pub(crate) fn last_log_lines(&self) -> Vec<String> {
        let lines = self.log.lock().unwrap();
        lines[lines.len().saturating_sub(20)..].to_vec()
    }

    /// Drops the database on the tests' server; the folder is removed by its own drop.
    pub(crate) async fn remove(self) {
        if let Some((server, name)) = &self.database {
            let mut connection = PgConnection::connect_with(server).await.unwrap();
            connection.execute(format!("DROP DATABASE {name} WITH (FORCE)").as_str()).await.unwrap();
        }
    }
}

/// A process that may not be ready yet.
pub(crate) struct Starting {
    node: Node,
    address: oneshot::Receiver<String>,
}

impl Starting {
    /// Kills the process.
    pub(crate) fn kill(self) {
        self.node.kill();
    }
}

/// A running process; dropping it kills it.
pub(crate) struct Node {
    child: Child,
}

impl Node {
    /// Sends SIGKILL and waits for the exit, but not for the embedded server's.
    pub(crate) fn kill(mut self) {
        self.signal(Signal::SIGKILL);
        self.child.wait().unwrap();
    }

    /// Returns the resident memory in bytes, or `None` if the system does not report it.
    pub(crate) fn resident(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(kibibytes.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
    }

    /// Waits for the exit; returns whether a signal caused it.
    pub(crate) async fn exited_by_signal(mut self) -> bool {
        use std::os::unix::process::ExitStatusExt as _;
        let mut child = std::mem::replace(&mut self.child, Command::new("true").spawn().unwrap());
        let status = tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
        status.signal().is_some()
    }

    /// Sends SIGTERM and waits for the exit.
    pub(crate) async fn stop(mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        let mut child = std::mem::replace(&mut self.child, Command::new("true").spawn().unwrap());
        tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap()
    }

    /// Suspends the process with SIGSTOP.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Resumes the process with SIGCONT.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for a condition; returns whether it held within `bound`.
pub(crate) async fn within(bound: Duration, mut condition: impl AsyncFnMut() -> bool) -> bool {
    let end = Instant::now() + bound;
    while !condition().await {
        if Instant::now() > end {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    true
}
