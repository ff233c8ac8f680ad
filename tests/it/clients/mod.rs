//! Runs third-party clients unchanged against this program: existing client programs ([`programs`]), the request
//! collection ([`collection`]), and a tool that generates requests from the OpenAPI description ([`described`]).

mod collection;
mod described;
mod programs;

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;

use crate::support::{python, root};

/// Returns the path of a file in this folder.
fn in_this_folder(path: &str) -> PathBuf {
    root().join("tests/it/clients").join(path)
}

/// Runs a program, which must end before the timeout.
async fn run(command: &mut Command, timeout: Duration) -> Output {
    let child = command.stdin(Stdio::null()).kill_on_drop(true).output();
    tokio::time::timeout(timeout, child).await.expect("the program ends in time").unwrap()
}

/// Returns a program's standard output and standard error.
fn printed(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
