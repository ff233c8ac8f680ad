//! The guard: a process between this program and the Postgres server that outlives both long enough to stop the
//! server, however this program ended.
//!
//! The guard is this same binary, started again with a hidden subcommand in a process group of its own, so that
//! Ctrl-C at a terminal does not reach it. Its standard input is a pipe whose other end only the parent holds:
//! when the parent ends, after kill -9 too, the kernel closes it, and the guard stops the server and ends.

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
use super::place::Account;

/// How long each way to stop a server may take before the next, harder one.
pub(super) const STOP_STEP: Duration = Duration::from_secs(5);
/// The ways to stop a server, in order: end the sessions; drop everything, to be recovered; the kernel's way.
const STOP_SIGNALS: [Signal; 3] = [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGKILL];

/// The hidden subcommand's arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The user to run the command as; needs root.
    #[arg(long, requires = "gid")]
    uid: Option<u32>,
    /// The group to run the command as.
    #[arg(long, requires = "uid")]
    gid: Option<u32>,
    /// The program, by its absolute path, and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// Runs the command until it ends or standard input does; in the latter case stops it. Returns the command's exit
/// code, 0 when it was stopped. Call it outside any async runtime.
pub fn run(args: &Args) -> ExitCode {
    match guard(args) {
        Ok(code) => code,
        Err(error) => {
            // Standard error is the server's log here, and there is nobody to tell when it cannot be written.
            let _ = writeln!(io::stderr(), "FATAL:  could not run {:?}: {error}", args.command);
            ExitCode::FAILURE
        }
    }
}

fn guard(args: &Args) -> io::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let code = runtime.block_on(watch(args));
    runtime.shutdown_background();
    code
}

async fn watch(args: &Args) -> io::Result<ExitCode> {
    // Whoever ends this program's whole group or service at once must not end the guard before its work is
    // done: the pipe alone says when. Handled, not ignored, so that the server does not inherit it.
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
    // The server gets none of this program's environment: it holds secrets. The current folder may be one that
    // the server's account cannot enter.
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
        // The number is known only until the child was reaped, which this task alone does: it cannot be another's.
        let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) else { break };
        match kill(Pid::from_raw(pid), signal) {
            Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
            Err(error) => return Err(error.into()),
        }
        if tokio::time::timeout(STOP_STEP, child.wait()).await.is_ok() {
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

/// A command that runs under a guard.
#[derive(Debug)]
pub(super) struct LimitedProvider {
    /// The guard.
    child: Child,
    /// The pipe's end: closing it ends the guard and the command.
    pipe: Option<ChildStdin>,
}

impl LimitedProvider {
    /// Starts `program` under a guard; `guard` is this program's own path, `log` takes all output.
    pub(super) fn start(
        guard: &Path,
        account: Option<&Account>,
        program: &Path,
        arguments: Vec<OsString>,
        log: &File,
    ) -> Result<Self, EmbeddedError> {
        let log = || log.try_clone().map_err(EmbeddedError::io("use the log for", program));
        let mut command = Command::new(guard);
        command.arg("postgres-guard");
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
            .map_err(EmbeddedError::io("start the guard of the Postgres server", guard))?;
        let pipe = child.stdin.take();
        Ok(Self { child, pipe })
    }

    /// Waits for the end of the guard, and so of the command. Safe to cancel.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Tells the guard to stop the command, and waits until it has.
    pub(super) async fn stop(&mut self) -> io::Result<()> {
        drop(self.pipe.take());
        let longest = STOP_STEP * u32::try_from(STOP_SIGNALS.len()).unwrap_or(3);
        match tokio::time::timeout(longest + Duration::from_secs(1), self.child.wait()).await {
            Ok(status) => status.map(drop),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

/// This program's own path, to be started again as the guard.
pub(super) fn own_program() -> Result<PathBuf, EmbeddedError> {
    std::env::current_exe()
        .map_err(EmbeddedError::io("find the path of this program for", Path::new("the guard")))
}
