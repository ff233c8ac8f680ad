//! Stops the server of an earlier run whose guard was killed before it could.
//!
//! Only a process that is proven to be the cluster's server is ever signalled: the number in `postmaster.pid` may
//! belong to anybody by now. Called with the lock of the folder held, so no living run owns the server.

use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::error::EmbeddedError;
use super::guard::STOP_STEP;

/// What the process named in `postmaster.pid` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holder {
    /// There is no such process.
    Gone,
    /// It is the server of this cluster.
    Server,
    /// It is another program: the number was used again.
    Foreign,
    /// It cannot be told. Postgres will decide.
    Unknown,
}

/// Stops what still serves `cluster`, if anything. True when there was something.
pub(super) async fn stop_server_of(cluster: &Path) -> Result<bool, EmbeddedError> {
    let file = cluster.join("postmaster.pid");
    let Some(pid) = read_pid(&file) else { return Ok(false) };
    match holder_of(pid, cluster) {
        Holder::Gone | Holder::Unknown => Ok(false),
        Holder::Foreign => {
            // Postgres takes any living process for the server and would refuse to start.
            std::fs::remove_file(&file).map_err(EmbeddedError::io("remove", &file))?;
            Ok(false)
        }
        Holder::Server => {
            for signal in [Signal::SIGINT, Signal::SIGQUIT] {
                if holder_of(pid, cluster) == Holder::Server {
                    // It may end in between, which is what is wanted.
                    let _ = kill(Pid::from_raw(pid), signal);
                }
                if wait_until_gone(pid, cluster).await {
                    return Ok(true);
                }
            }
            Err(EmbeddedError::StaleServer { cluster: cluster.to_path_buf(), pid })
        }
    }
}

async fn wait_until_gone(pid: i32, cluster: &Path) -> bool {
    let end = Instant::now() + STOP_STEP;
    while holder_of(pid, cluster) == Holder::Server {
        if Instant::now() >= end {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    true
}

/// The process in the first line; a file that cannot be read names none.
fn read_pid(file: &Path) -> Option<i32> {
    let pid: i32 = std::fs::read_to_string(file).ok()?.lines().next()?.trim().parse().ok()?;
    (pid > 1).then_some(pid)
}

/// On Linux a server is known by its program and by its current folder, which is its cluster.
#[cfg(target_os = "linux")]
fn holder_of(pid: i32, cluster: &Path) -> Holder {
    use std::io::ErrorKind;
    let process = Path::new("/proc").join(pid.to_string());
    // A dead process that nobody has waited for has neither link any more.
    let (folder, program) =
        match (std::fs::read_link(process.join("cwd")), std::fs::read_link(process.join("exe"))) {
            (Ok(folder), Ok(program)) => (folder, program),
            (Err(error), _) | (_, Err(error)) if error.kind() == ErrorKind::NotFound => return Holder::Gone,
            // Root in a container may not look at another user's process so closely; its command line is public.
            _ => return holder_by_command_line(&process, cluster),
        };
    // After an upgrade of the package the link reads `…/postgres (deleted)`.
    let is_postgres =
        program.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("postgres"));
    let same = cluster.canonicalize().is_ok_and(|cluster| cluster == folder);
    if is_postgres && same { Holder::Server } else { Holder::Foreign }
}

#[cfg(target_os = "linux")]
fn holder_by_command_line(process: &Path, cluster: &Path) -> Holder {
    use std::os::unix::ffi::OsStrExt;
    let Ok(line) = std::fs::read(process.join("cmdline")) else { return Holder::Unknown };
    let mut words = line.split(|byte| *byte == 0);
    let is_postgres = words.next().is_some_and(|program| program.ends_with(b"/postgres"));
    if is_postgres && words.any(|word| word == cluster.as_os_str().as_bytes()) {
        Holder::Server
    } else {
        Holder::Foreign
    }
}

/// Elsewhere a server is known by its command line, which names the cluster.
#[cfg(not(target_os = "linux"))]
fn holder_of(pid: i32, cluster: &Path) -> Holder {
    let listing = std::process::Command::new("ps").args(["-o", "command=", "-p", &pid.to_string()]).output();
    let Ok(listing) = listing else { return Holder::Unknown };
    let line = String::from_utf8_lossy(&listing.stdout);
    let line = line.trim();
    if line.is_empty() || line.starts_with('(') {
        Holder::Gone
    } else if line.contains("postgres") && cluster.to_str().is_some_and(|cluster| line.contains(cluster)) {
        Holder::Server
    } else {
        Holder::Foreign
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[tokio::test]
    async fn a_process_that_is_not_the_server_is_never_signalled() {
        let cluster = tempfile::tempdir().unwrap();
        let mut other = Command::new("sleep")
            .arg("60")
            .current_dir(cluster.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let file = cluster.path().join("postmaster.pid");
        std::fs::write(&file, format!("{}\n{}\n", other.id(), cluster.path().display())).unwrap();
        assert!(!stop_server_of(cluster.path()).await.unwrap());
        assert!(other.try_wait().unwrap().is_none(), "the other process was ended");
        assert!(!file.exists(), "Postgres would take the number for its own");
        other.kill().unwrap();
        other.wait().unwrap();
    }

    #[tokio::test]
    async fn files_that_name_no_living_process_are_left_to_postgres() {
        let cluster = tempfile::tempdir().unwrap();
        let file = cluster.path().join("postmaster.pid");
        assert!(!stop_server_of(cluster.path()).await.unwrap());
        for content in ["", "not a number\n", "1\n", "-5\n", "0\n", "2147483647\n"] {
            std::fs::write(&file, content).unwrap();
            assert!(!stop_server_of(cluster.path()).await.unwrap(), "{content:?}");
            assert!(file.exists(), "{content:?}");
        }
    }
}
