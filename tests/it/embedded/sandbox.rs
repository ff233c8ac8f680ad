//! Starts, kills and inspects the binary with its embedded server.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{Connection, Executor};

/// User id without privileges: `nobody` on nearly every system; it need not have a name.
pub(crate) const NOBODY: u32 = 65_534;

/// A folder that every user can enter, for a new data folder.
pub(crate) struct Sandbox {
    pub(crate) root: tempfile::TempDir,
    /// User id of the binary; `None` for the user of the tests.
    pub(crate) user: Option<u32>,
    pub(crate) binary: PathBuf,
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir_in("/tmp").unwrap();
        set_mode(root.path(), 0o755);
        Self { root, user: None, binary: env!("CARGO_BIN_EXE_verbatim").into() }
    }

    /// Returns a sandbox for a user without privileges, with a copy of the binary outside the build folder.
    pub(crate) fn of_an_ordinary_user() -> Self {
        let mut sandbox = Self::new();
        if geteuid().is_root() {
            let copy = sandbox.root.path().join("verbatim");
            std::fs::copy(&sandbox.binary, &copy).unwrap();
            sandbox.binary = copy;
            chown(sandbox.root.path(), Some(NOBODY), Some(NOBODY)).unwrap();
            sandbox.user = Some(NOBODY);
        }
        sandbox
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .arg("postgres")
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin:/opt/homebrew/bin")
            .env("DATA_DIR", self.data())
            .current_dir(self.root.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(user) = self.user {
            command.gid(user).uid(user);
        }
        command
    }

    /// Starts the binary and waits until the server is ready.
    #[track_caller]
    pub(crate) fn start(&self) -> Running {
        let mut child = self.command().spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        if line.is_empty() {
            panic!("the binary did not start: {}", failure_message(child));
        }
        let socket = line.split_once(" -h ").and_then(|(_, rest)| rest.split_once(" -U ")).unwrap().0;
        let cluster = self.data().join("postgres").canonicalize().unwrap();
        let server = read_pid(&cluster);
        Running { socket: socket.into(), server, supervisor: parent_of(server), cluster, child: Some(child) }
    }

    /// Starts the binary, which must fail, and returns its message.
    #[track_caller]
    pub(crate) fn start_failure(&self) -> String {
        let child = self.command().spawn().unwrap();
        let sentence = failure_message(child);
        assert_eq!(sentence.lines().count(), 1, "{sentence}");
        sentence
    }
}

/// Waits for the process to fail and returns its standard error.
#[track_caller]
pub(crate) fn failure_message(mut child: Child) -> String {
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(1), "{text}");
    text
}

/// The binary with its server.
pub(crate) struct Running {
    pub(crate) child: Option<Child>,
    pub(crate) socket: PathBuf,
    pub(crate) cluster: PathBuf,
    pub(crate) server: i32,
    pub(crate) supervisor: i32,
}

impl Running {
    pub(crate) async fn connect(&self) -> PgConnection {
        let options = PgConnectOptions::new_without_pgpass()
            .socket(&self.socket)
            .port(5432)
            .username("verbatim")
            .database("verbatim")
            .ssl_mode(PgSslMode::Disable);
        PgConnection::connect_with(&options).await.unwrap()
    }

    pub(crate) async fn write(&self, text: &str) {
        let mut connection = self.connect().await;
        connection.execute("CREATE TABLE IF NOT EXISTS kept (text text PRIMARY KEY)").await.unwrap();
        sqlx::query("INSERT INTO kept VALUES ($1)").bind(text).execute(&mut connection).await.unwrap();
    }

    pub(crate) async fn texts(&self) -> Vec<String> {
        let mut connection = self.connect().await;
        sqlx::query_scalar("SELECT text FROM kept ORDER BY text").fetch_all(&mut connection).await.unwrap()
    }

    pub(crate) async fn setting(&self, name: &str) -> String {
        let mut connection = self.connect().await;
        sqlx::query_scalar("SELECT current_setting($1)").bind(name).fetch_one(&mut connection).await.unwrap()
    }

    pub(crate) fn pid(&self) -> i32 {
        self.child.as_ref().unwrap().id().try_into().unwrap()
    }

    /// Kills the binary without warning and waits for its end, not for the server's.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Stops the binary with SIGINT, and checks that the server has ended too.
    pub(crate) fn stop(mut self) {
        signal(self.pid(), Signal::SIGINT);
        let mut child = self.child.take().unwrap();
        let status = child.wait().unwrap();
        assert!(status.success(), "{status}");
        assert!(is_gone(self.server), "the server outlived its program");
    }
}

impl Drop for Running {
    /// Kills the binary after a failed test; the supervisor then stops the server.
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

pub(crate) fn signal(pid: i32, signal: Signal) {
    assert!(pid > 1);
    kill(Pid::from_raw(pid), signal).unwrap();
}

pub(crate) fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

pub(crate) fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().mode() & 0o777
}

pub(crate) fn read_pid(cluster: &Path) -> i32 {
    let text = std::fs::read_to_string(cluster.join("postmaster.pid")).unwrap();
    text.lines().next().unwrap().trim().parse().unwrap()
}

/// Returns state and parent of a process, or `None` if it does not exist. `ps` is for systems without `/proc`.
pub(crate) fn process(pid: i32) -> Option<(String, i32)> {
    let line = if Path::new("/proc/self/stat").exists() {
        std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?
    } else {
        let output = Command::new("ps").args(["-o", "stat=,ppid=", "-p", &pid.to_string()]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    // The program's name, in parentheses, may contain any character.
    let mut words = line.rsplit(')').next()?.split_whitespace();
    Some((words.next()?.to_owned(), words.next()?.parse().unwrap()))
}

pub(crate) fn parent_of(pid: i32) -> i32 {
    process(pid).unwrap().1
}

/// Returns whether the process has ended; it may be a zombie.
pub(crate) fn is_gone(pid: i32) -> bool {
    process(pid).is_none_or(|(state, _)| state.starts_with('Z'))
}

pub(crate) async fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < end, "timed out waiting until {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Returns the folders of clusters whose creation has not finished.
pub(crate) fn partial_clusters(data: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(data) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.to_str().unwrap().contains("postgres.new-")).collect()
}
