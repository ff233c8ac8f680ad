use std::process::{Command, Stdio};

use super::*;

#[tokio::test]
async fn other_process_is_never_signaled() {
    let cluster = tempfile::tempdir().unwrap();
    let mut other =
        Command::new("sleep").arg("60").current_dir(cluster.path()).stdout(Stdio::null()).spawn().unwrap();
    let file = cluster.path().join("postmaster.pid");
    std::fs::write(&file, format!("{}\n{}\n", other.id(), cluster.path().display())).unwrap();
    assert!(!stop_server_of(cluster.path()).await.unwrap());
    assert!(other.try_wait().unwrap().is_none(), "the other process was ended");
    assert!(!file.exists(), "Postgres would take the number for its own");
    other.kill().unwrap();
    other.wait().unwrap();
}

#[tokio::test]
async fn pid_files_without_a_live_process_are_left_to_postgres() {
    let cluster = tempfile::tempdir().unwrap();
    let file = cluster.path().join("postmaster.pid");
    assert!(!stop_server_of(cluster.path()).await.unwrap());
    for content in ["", "not a number\n", "1\n", "-5\n", "0\n", "2147483647\n"] {
        std::fs::write(&file, content).unwrap();
        assert!(!stop_server_of(cluster.path()).await.unwrap(), "{content:?}");
        assert!(file.exists(), "{content:?}");
    }
}
