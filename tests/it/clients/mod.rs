//! Clients that are not ours, unchanged against this program: those that people have already ([`programs`]), a collection of
//! requests ([`collection`]), and a tool that makes requests out of the API's description ([`described`]).

mod collection;
mod described;
mod programs;

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;

use crate::support::{python, root};

/// A file beside this one.
fn here(path: &str) -> PathBuf {
    root().join("tests/it/clients").join(path)
}

/// Runs a program to its end, which has to come in time.
async fn run(command: &mut Command, bound: Duration) -> Output {
    let child = command.stdin(Stdio::null()).kill_on_drop(true).output();
    tokio::time::timeout(bound, child).await.expect("it ends in time").unwrap()
}

/// What a program has said, whether it was about success or failure.
fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
