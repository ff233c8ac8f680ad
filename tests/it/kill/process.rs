//! The real binary in both forms: started on any free port, killed without warning, started again on the same data.

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

/// How long a start, an end or anything else that has to happen may take.
pub(crate) const SOON: Duration = Duration::from_secs(30);
/// What the line with the address begins with, after the version.
const LISTENS: &str = "listens on http://";

/// Where the data is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// In a data folder, under the private Postgres server, which a kill leaves without its parent.
    Embedded,
    /// In a database of its own on the tests' server, which a kill leaves as it is, with its sessions still at work.
    Server,
}

/// A place with data, in which one process after the other runs.
pub(crate) struct Place {
    folder: tempfile::TempDir,
    /// The tests' server, and the database made there.
    database: Option<(PgConnectOptions, String)>,
    environment: Vec<(&'static str, String)>,
    said: Arc<Mutex<Vec<String>>>,
}

impl Place {
    /// A new place. `planted` is the defect to run with, if any.
    pub(crate) async fn new(form: Form, planted: Option<&'static str>) -> Self {
        // Every user has to be able to pass: the private server does not run as root.
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
        environment.extend(planted.map(|name| ("INJECTED_FAULT", name.to_owned())));
        let mut database = None;
        match form {
            Form::Embedded => {
                environment.push(("DATA_DIR", folder.path().join("data").display().to_string()));
            }
            Form::Server => {
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
        let place = Self { folder, database, environment, said: Arc::default() };
        if form == Form::Server {
            let output = place.command("migrate").output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        place
    }

    /// Has every process here started with this variable from now on.
    pub(crate) fn set(&mut self, name: &'static str, value: String) {
        self.environment.push((name, value));
    }

    /// How to reach the database directly.
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

    /// Starts the binary without waiting for anything.
    pub(crate) fn spawn(&self) -> Starting {
        self.spawn_as("serve")
    }

    /// The same with another subcommand.
    fn spawn_as(&self, command: &str) -> Starting {
        let mut child = self.command(command).stdout(Stdio::null()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (found, address) = oneshot::channel();
        let said = Arc::clone(&self.said);
        // Ends with the last process that holds the pipe.
        std::thread::spawn(move || {
            let mut found = Some(found);
            for line in stderr.lines().map_while(Result::ok) {
                if let Some((_, rest)) = line.split_once(LISTENS)
                    && let Some(found) = found.take()
                {
                    let end = rest.find(|letter: char| !letter.is_ascii_digit() && !".:".contains(letter));
                    // Nobody listens any more when the process was killed while it started.
                    let _ = found.send(rest[..end.unwrap_or(rest.len())].to_owned());
                }
                said.lock().unwrap().push(line);
            }
        });
        Starting { node: Node { child }, address }
    }

    /// Starts the binary and waits until it is ready; gives its base URL, and how long that took.
    ///
    /// # Errors
    /// It was not ready in `bound`; what is missing, or its last words.
    pub(crate) async fn start(
        &self,
        http: &reqwest::Client,
        bound: Duration,
    ) -> Result<(Node, String, Duration), String> {
        self.start_as("serve", http, bound).await
    }

    /// The same with another subcommand.
    pub(crate) async fn start_as(
        &self,
        command: &str,
        http: &reqwest::Client,
        bound: Duration,
    ) -> Result<(Node, String, Duration), String> {
        let started = Instant::now();
        let Starting { node, address } = self.spawn_as(command);
        let Ok(Ok(address)) = tokio::time::timeout(bound, address).await else {
            return Err(format!("{:#?}", self.last_words()));
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

    /// Makes every read model anew; whether each is what it was, and what the program said.
    pub(crate) fn rebuild(&self) -> (bool, String) {
        let output = self.command("rebuild").output().unwrap();
        let text =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.success(), text)
    }

    /// Runs a subcommand that ends by itself, with these variables besides.
    pub(crate) fn run(&self, name: &str, variables: &[(&str, &str)]) -> Output {
        self.command(name).envs(variables.iter().copied()).output().unwrap()
    }

    /// Runs the program with these arguments, until it ends by itself.
    pub(crate) fn run_with(&self, arguments: &[&str]) -> Output {
        self.command(arguments[0]).args(&arguments[1..]).output().unwrap()
    }

    /// Every line that every process here has logged, the private server included.
    pub(crate) fn said(&self) -> Vec<String> {
        let mut said = self.said.lock().unwrap().clone();
        if self.database.is_none() {
            let text = std::fs::read_to_string(self.folder.path().join("data/postgres.log")).unwrap();
            said.extend(text.lines().map(str::to_owned));
        }
        said
    }

    /// The last lines that were logged.
    pub(crate) fn last_words(&self) -> Vec<String> {
        let said = self.said.lock().unwrap();
        said[said.len().saturating_sub(20)..].to_vec()
    }

    /// Drops the database, where it is on the tests' server; the folder goes by itself.
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
    /// Kills it, however far it has come.
    pub(crate) fn kill(self) {
        self.node.kill();
    }
}

/// A running process. Dropped: killed.
pub(crate) struct Node {
    child: Child,
}

impl Node {
    /// SIGKILL; returns when the process is gone. The private server's end is not waited for.
    pub(crate) fn kill(mut self) {
        self.signal(Signal::SIGKILL);
        self.child.wait().unwrap();
    }

    /// How much memory it has, in bytes. None where the system does not tell so.
    pub(crate) fn resident(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(kibibytes.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
    }

    /// Waits until it ends by itself; whether a signal ended it.
    pub(crate) async fn died(mut self) -> bool {
        use std::os::unix::process::ExitStatusExt as _;
        let mut child = std::mem::replace(&mut self.child, Command::new("true").spawn().unwrap());
        let status = tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
        status.signal().is_some()
    }

    /// SIGTERM; waits for the end.
    pub(crate) async fn stop(mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        let mut child = std::mem::replace(&mut self.child, Command::new("true").spawn().unwrap());
        tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap()
    }

    /// SIGSTOP: it stands still and keeps everything that it has.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// SIGCONT: it goes on as if no time had passed.
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

/// Waits for a condition; whether it came true in time.
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
