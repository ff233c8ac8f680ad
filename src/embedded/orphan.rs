//! Stops the server of an earlier run whose supervisor was killed before it could.
//!
//! Only a process proven to be the cluster's server is ever signaled: the pid in `postmaster.pid` may have been reused.
//! Called with the folder locked, so no live run owns the server.

use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::error::EmbeddedError;
use super::supervisor::STOP_SIGNAL_TIMEOUT;

/// What the process named in `postmaster.pid` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PidOwner {
    /// There is no such process.
    Gone,
    /// The server of this cluster.
    Server,
    /// Another program: the pid was reused.
    Foreign,
    /// Unknown; Postgres will decide.
    Unknown,
}

/// Stops a server that still runs on `cluster`. Returns whether there was one.
pub(super) async fn stop_server_of(cluster: &Path) -> Result<bool, EmbeddedError> {
    let file = cluster.join("postmaster.pid");
    let Some(pid) = read_pid(&file) else { return Ok(false) };
    match owner_of(pid, cluster) {
        PidOwner::Gone | PidOwner::Unknown => Ok(false),
        PidOwner::Foreign => {
            // Postgres would take any live process for the server and refuse to start.
            std::fs::remove_file(&file).map_err(EmbeddedError::io("remove", &file))?;
            Ok(false)
        }
        PidOwner::Server => {
            for signal in [Signal::SIGINT, Signal::SIGQUIT] {
                if owner_of(pid, cluster) == PidOwner::Server {
                    // The process may have ended in between, which is fine.
                    let _ = kill(Pid::from_raw(pid), signal);
                }
                if wait_until_gone(pid, cluster).await {
                    return Ok(true);
                }
            }
            Err(EmbeddedError::OrphanedServer { cluster: cluster.to_path_buf(), pid })
        }
    }
}

async fn wait_until_gone(pid: i32, cluster: &Path) -> bool {
    let end = Instant::now() + STOP_SIGNAL_TIMEOUT;
    while owner_of(pid, cluster) == PidOwner::Server {
        if Instant::now() >= end {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    true
}

/// Returns the pid in the first line, if the file is valid.
fn read_pid(file: &Path) -> Option<i32> {
    let pid: i32 = std::fs::read_to_string(file).ok()?.lines().next()?.trim().parse().ok()?;
    (pid > 1).then_some(pid)
}

/// Identifies a server by its program and its current folder, which is its cluster (Linux).
#[cfg(target_os = "linux")]
fn owner_of(pid: i32, cluster: &Path) -> PidOwner {
    use std::io::ErrorKind;
    let process = Path::new("/proc").join(pid.to_string());
    // A zombie process has neither link.
    let (folder, program) =
        match (std::fs::read_link(process.join("cwd")), std::fs::read_link(process.join("exe"))) {
            (Ok(folder), Ok(program)) => (folder, program),
            (Err(error), _) | (_, Err(error)) if error.kind() == ErrorKind::NotFound => {
                return PidOwner::Gone;
            }
            // Root in a container may lack access to the links of another user's process; its command line is public.
            _ => return owner_by_command_line(&process, cluster),
        };
    // After an upgrade of the package the link reads `…/postgres (deleted)`.
    let is_postgres =
        program.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("postgres"));
    let same = cluster.canonicalize().is_ok_and(|cluster| cluster == folder);
    if is_postgres && same { PidOwner::Server } else { PidOwner::Foreign }
}

#[cfg(target_os = "linux")]
fn owner_by_command_line(process: &Path, cluster: &Path) -> PidOwner {
    use std::os::unix::ffi::OsStrExt;
    let Ok(line) = std::fs::read(process.join("cmdline")) else { return PidOwner::Unknown };
    let mut words = line.split(|byte| *byte == 0);
    let is_postgres = words.next().is_some_and(|program| program.ends_with(b"/postgres"));
    if is_postgres && words.any(|word| word == cluster.as_os_str().as_bytes()) {
        PidOwner::Server
    } else {
        PidOwner::Foreign
    }
}

/// Identifies a server by its command line, which names the cluster (other systems).
#[cfg(not(target_os = "linux"))]
fn owner_of(pid: i32, cluster: &Path) -> PidOwner {
    let listing = std::process::Command::new("ps").args(["-o", "command=", "-p", &pid.to_string()]).output();
    let Ok(listing) = listing else { return PidOwner::Unknown };
    let line = String::from_utf8_lossy(&listing.stdout);
    let line = line.trim();
    if line.is_empty() || line.starts_with('(') {
        PidOwner::Gone
    } else if line.contains("postgres") && cluster.to_str().is_some_and(|cluster| line.contains(cluster)) {
        PidOwner::Server
    } else {
        PidOwner::Foreign
    }
}

#[cfg(test)]
mod tests;
