//! The supervisor: a process between this program and the Postgres server. It stops the server however this program ends.
//!
//! The supervisor is this same binary, started with a hidden subcommand in a process group of its own, so Ctrl-C at a
//! terminal does not reach it. Its standard input is a pipe whose other end only the parent holds. When the parent ends,
//! even by kill -9, the kernel closes the pipe; the supervisor then stops the server and exits.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, ChildStdin};
use tokio::signal::unix::{SignalKind, signal};

use super::error::EmbeddedError;
use super::layout::Account;

/// Time for each stop signal to take effect before the next, harder one.
pub(super) const STOP_SIGNAL_TIMEOUT: Duration = Duration::from_secs(5);
/// Stop signals in order: close sessions; abort, with recovery at the next start; kill.
const STOP_SIGNALS: [Signal; 3] = [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGKILL];

/// Arguments of the hidden subcommand.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// User id to run the command as; needs root.
    #[arg(long, requires = "gid")]
    uid: Option<u32>,
    /// Group id to run the command as.
    #[arg(long, requires = "uid")]
    gid: Option<u32>,
    /// Absolute path of the program, and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// Runs the command until it ends or standard input does; stops it in the latter case. Returns the command's exit code, or
/// 0 if it was stopped. Must run outside any async runtime.
pub fn run(args: &Args) -> ExitCode {
    match supervisor(args) {
        Ok(code) => code,
        Err(error) => {
            // Standard error is the server's log here; if it cannot be written, there is no other place to report to.
            let _ = writeln!(io::stderr(), "FATAL:  could not run {:?}: {error}", args.command);
            ExitCode::FAILURE
        }
    }
}

fn supervisor(args: &Args) -> io::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let code = runtime.block_on(watch(args));
    runtime.shutdown_background();
    code
}

async fn watch(args: &Args) -> io::Result<ExitCode> {
    // A signal to the whole process group must not end the supervisor before the server has stopped: only the pipe
    // counts. Handled, not ignored, so that the server does not inherit it.
    let _handled = [
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
        signal(SignalKind::hangup())?,
        signal(SignalKind::quit())?,
    ];
    let mut child = tokio::process::Command::from(command(args)?).spawn()?;
    let (parent_lives, parent_ended) = tokio::sync::oneshot::channel::<()>();
    std::thread::Builder::new().name("parent".to_owned()).spawn(move || {
        let _parent_lives = parent_lives;
        wait_for_end_of_input();
    })?;
    tokio::select! {
        status = child.wait() => Ok(exit_code(status?)),
        _ = parent_ended => stop(&mut child).await,
    }
}

fn command(args: &Args) -> io::Result<Command> {
    let [program, arguments @ ..] = args.command.as_slice() else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let mut command = Command::new(program);
    // The server does not inherit the environment, which contains secrets. Its account may have no access to the
    // current folder.
    command
        .args(arguments)
        .env_clear()
        .env("LC_ALL", "C")
        .env("TZ", "UTC")
        .env("PATH", "/usr/bin:/bin")
        .current_dir("/")
        .stdin(Stdio::null());
    if let (Some(uid), Some(gid)) = (args.uid, args.gid) {
        // Setting the user as root also drops the supplementary groups.
        command.gid(gid).uid(uid);
    }
    Ok(command)
}

fn wait_for_end_of_input() {
    let mut byte = [0];
    loop {
        match io::stdin().lock().read(&mut byte) {
            Ok(1..) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => return,
        }
    }
}

async fn stop(child: &mut Child) -> io::Result<ExitCode> {
    for signal in STOP_SIGNALS {
        // The pid is known only until the child is reaped, which only this task does: it cannot belong to another process.
        let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) else { break };
        match kill(Pid::from_raw(pid), signal) {
            Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
            Err(error) => return Err(error.into()),
        }
        if tokio::time::timeout(STOP_SIGNAL_TIMEOUT, child.wait()).await.is_ok() {
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

/// A command running under a supervisor.
#[derive(Debug)]
pub(super) struct SupervisedProcess {
    /// The supervisor process.
    child: Child,
    /// Write end of the pipe: closing it stops the command and the supervisor.
    pipe: Option<ChildStdin>,
}

impl SupervisedProcess {
    /// Starts `program` under a supervisor; `supervisor` is this program's own path, `log` receives all output.
    pub(super) fn start(
        supervisor: &Path,
        account: Option<&Account>,
        program: &Path,
        arguments: Vec<OsString>,
        log: &File,
    ) -> Result<Self, EmbeddedError> {
        let log = || log.try_clone().map_err(EmbeddedError::io("use the log for", program));
        let mut command = Command::new(supervisor);
        command.arg("postgres-supervisor");
        if let Some(account) = account {
            command.args(["--uid", &account.uid.to_string(), "--gid", &account.gid.to_string()]);
        }
        command
            .arg("--")
            .arg(program)
            .args(arguments)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(log()?)
            .stderr(log()?)
            .process_group(0);
        let mut child = tokio::process::Command::from(command)
            .spawn()
            .map_err(EmbeddedError::io("start the supervisor of the Postgres server", supervisor))?;
        let pipe = child.stdin.take();
        Ok(Self { child, pipe })
    }

    /// Waits for the supervisor, and so the command, to end. Cancel-safe.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Stops the command and waits for its end.
    pub(super) async fn stop(&mut self) -> io::Result<()> {
        drop(self.pipe.take());
        let longest = STOP_SIGNAL_TIMEOUT * u32::try_from(STOP_SIGNALS.len()).unwrap_or(3);
        match tokio::time::timeout(longest + Duration::from_secs(1), self.child.wait()).await {
            Ok(status) => status.map(drop),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

/// Returns this program's own path, for starting it as the supervisor.
pub(super) fn own_program() -> Result<PathBuf, EmbeddedError> {
    std::env::current_exe()
        .map_err(EmbeddedError::io("find the path of this program for", Path::new("the supervisor")))
}
