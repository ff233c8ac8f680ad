//! The program with an embedded server, for the commands that the documents show.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::calls::{self, Recorded};

/// Search path for programs.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin:/opt/homebrew/bin";

/// The running program, with an embedded server and a data folder of its own.
pub(crate) struct Program {
    child: Child,
    /// Base URL, `http://127.0.0.1:PORT`.
    address: String,
    /// Reads standard error, so that the program never blocks on writing it.
    stderr: Option<JoinHandle<String>>,
    folder: tempfile::TempDir,
}

impl Program {
    pub(crate) fn start() -> Self {
        // The database server's user must be able to enter the folder.
        let folder = tempfile::tempdir_in("/tmp").unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_verbatim"))
            .env_clear()
            .env("PATH", PATH)
            .env("DATA_DIR", folder.path().join("data"))
            .env("HOST", "127.0.0.1")
            .env("PORT", "0")
            .env("METRICS_ADDR", "off")
            .env("LOG_FORMAT", "json")
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut text = String::new();
        let address = loop {
            let begin = text.len();
            if stderr.read_line(&mut text).unwrap() == 0 {
                panic!("the program did not start: {text}");
            }
            if let Some((_, rest)) = text[begin..].split_once(" listens on ") {
                break rest.split('"').next().unwrap().to_owned();
            }
        };
        let reader = std::thread::spawn(move || {
            let _ = stderr.read_to_string(&mut text);
            text
        });
        Self { child, address, stderr: Some(reader), folder }
    }

    /// Runs a shell script in the program's folder; `API` is the program's address, `VERBATIM` the program itself,
    /// whose data folder is `data` there, as by default.
    pub(crate) fn shell(&self, script: &str) -> String {
        self.recorded(script).0
    }

    /// Runs a shell script like [`Self::shell`]; returns its output and what it did.
    pub(super) fn recorded(&self, script: &str) -> (String, Vec<Recorded>) {
        let path = |name: &str| self.folder.path().join(name);
        // A hanging request must not hang the tests.
        std::fs::write(path(".curlrc"), "max-time = 60\n").unwrap();
        std::fs::create_dir_all(path("bin")).unwrap();
        for (name, text) in [("bin/curl", calls::CURL), ("bin/verbatim", calls::OPERATOR)] {
            std::fs::write(path(name), text).unwrap();
            std::fs::set_permissions(path(name), std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let calls = tempfile::tempdir().unwrap();
        let output = Command::new("sh")
            .args(["-eu", "-c", script])
            .env_clear()
            .env("PATH", format!("{}:{PATH}", path("bin").display()))
            .env("HOME", self.folder.path())
            .env("API", &self.address)
            .env("CALLS", calls.path())
            .env("VERBATIM", path("bin/verbatim"))
            .env("PROGRAM", env!("CARGO_BIN_EXE_verbatim"))
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
        (out.into_owned(), calls::read(calls.path()))
    }

    /// Returns the base URL.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Stops the program with SIGTERM, and checks that it exits cleanly.
    pub(crate) fn stop(mut self) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
        let status = self.child.wait().unwrap();
        let stderr = self.stderr.take().unwrap().join().unwrap();
        assert!(status.success(), "{status}: {stderr}");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // The program has already ended if the test passed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
