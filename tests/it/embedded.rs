//! The private Postgres server of the embedded default, from outside: the binary is started, killed and started
//! again, and what the next start finds is looked at. Runs as root and as an ordinary user; as root, the ordinary
//! user's case is played by an account without rights.

mod sandbox;

use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use sqlx::Executor;

use sandbox::{Sandbox, halves, is_gone, mode, said, set_mode, signal, until};

/// Start, write, stop, start, kill -9, start: nothing is lost and nothing is left running.
async fn plays_its_part(sandbox: &Sandbox) {
    let first = sandbox.start();
    first.write("before the restart").await;
    first.stop();

    let mut second = sandbox.start();
    assert_eq!(second.texts().await, ["before the restart"]);
    second.write("before the kill").await;
    second.kill();
    until("the server ends with its program", || is_gone(second.server)).await;
    until("the guard ends as well", || is_gone(second.guard)).await;

    let third = sandbox.start();
    assert_eq!(third.texts().await, ["before the kill", "before the restart"]);
    third.stop();
}

#[tokio::test]
async fn data_survives_a_restart_and_a_kill() {
    plays_its_part(&Sandbox::new()).await;
}

#[tokio::test]
async fn an_ordinary_user_needs_no_rights() {
    let sandbox = Sandbox::of_an_ordinary_user();
    plays_its_part(&sandbox).await;
    assert_eq!(mode(&sandbox.data()), 0o700);
}

#[tokio::test]
async fn the_server_is_private_and_durable() {
    let sandbox = Sandbox::new();
    let running = sandbox.start();
    assert_eq!(running.setting("listen_addresses").await, "");
    for (name, value) in [
        ("fsync", "on"),
        ("full_page_writes", "on"),
        ("synchronous_commit", "on"),
        ("max_prepared_transactions", "0"),
        ("server_encoding", "UTF8"),
    ] {
        assert_eq!(running.setting(name).await, value, "{name}");
    }
    assert_eq!(mode(&running.socket), 0o700);
    assert_eq!(mode(&running.cluster), 0o700);
    assert_eq!(mode(&sandbox.data()) & 0o007, 0, "strangers may enter the data folder");
    assert_eq!(mode(&sandbox.data().join("master-key")), 0o600);
    // Its socket is the server's own.
    let socket = std::fs::metadata(running.socket.join(".s.PGSQL.5432")).unwrap();
    assert_ne!(socket.uid(), 0, "the server runs as root");
    running.stop();
}

#[tokio::test]
async fn what_people_wrote_never_stands_in_the_log() {
    let sandbox = Sandbox::new();
    let running = sandbox.start();
    running.write("a word of mine").await;
    let mut connection = running.connect().await;
    for statement in ["INSERT INTO kept VALUES ('a word of mine')", "SELECT 'a word of mine' FROM nowhere"] {
        connection.execute(statement).await.unwrap_err();
    }
    drop(connection);
    running.stop();
    let log = std::fs::read_to_string(sandbox.data().join("postgres.log")).unwrap();
    assert!(log.contains("duplicate key") && log.contains("nowhere"), "{log}");
    assert!(!log.contains("a word of mine"), "{log}");
}

#[tokio::test]
async fn a_server_whose_guard_was_killed_too_is_stopped_by_the_next_start() {
    let sandbox = Sandbox::new();
    let mut first = sandbox.start();
    first.write("kept").await;
    // The guard first: otherwise it might do its work before it dies.
    signal(first.guard, Signal::SIGSTOP);
    first.kill();
    signal(first.guard, Signal::SIGKILL);
    until("the guard has ended", || is_gone(first.guard)).await;
    assert!(!is_gone(first.server), "nobody was there to stop the server");

    let second = sandbox.start();
    // It lets go of everything a moment before the kernel says that it has ended.
    until("the first server has ended", || is_gone(first.server)).await;
    assert_eq!(second.texts().await, ["kept"]);
    second.stop();
}

#[tokio::test]
async fn a_server_that_was_killed_itself_recovers() {
    let sandbox = Sandbox::new();
    let mut first = sandbox.start();
    first.write("kept").await;
    for pid in [first.guard, first.server] {
        signal(pid, Signal::SIGSTOP);
    }
    first.kill();
    for pid in [first.guard, first.server] {
        signal(pid, Signal::SIGKILL);
    }
    let second = sandbox.start();
    assert_eq!(second.texts().await, ["kept"]);
    second.stop();
}

#[tokio::test]
async fn the_end_of_the_guard_is_noticed() {
    let sandbox = Sandbox::new();
    let mut running = sandbox.start();
    signal(running.guard, Signal::SIGKILL);
    let sentence = said(running.child.take().unwrap());
    assert!(sentence.starts_with("The private Postgres server has ended"), "{sentence}");
    until("the server has been stopped", || is_gone(running.server)).await;
}

#[tokio::test]
async fn one_signal_to_the_whole_group_is_a_graceful_end() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command();
    command.process_group(0);
    let mut child = command.spawn().unwrap();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut String::new()).unwrap();
    let pid = i32::try_from(child.id()).unwrap();
    kill(Pid::from_raw(-pid), Signal::SIGINT).unwrap();
    assert!(child.wait().unwrap().success());
    let log = std::fs::read_to_string(sandbox.data().join("postgres.log")).unwrap();
    assert!(log.trim_end().ends_with("database system is shut down"), "{log}");
}

#[tokio::test]
async fn a_second_process_is_refused_and_the_first_goes_on() {
    let sandbox = Sandbox::new();
    let first = sandbox.start();
    let sentence = sandbox.refused();
    assert!(sentence.contains(&format!("Another verbatim process (pid {})", first.pid())), "{sentence}");
    assert!(sentence.contains(sandbox.data().to_str().unwrap()), "{sentence}");
    first.write("still here").await;
    first.stop();
}

#[tokio::test]
async fn a_cluster_of_another_major_version_is_refused_and_left_alone() {
    let sandbox = Sandbox::new();
    sandbox.start().stop();
    let version = sandbox.data().join("postgres/PG_VERSION");
    let made_by = std::fs::read_to_string(&version).unwrap();
    std::fs::write(&version, "11\n").unwrap();
    let sentence = sandbox.refused();
    assert!(sentence.contains("made by Postgres 11"), "{sentence}");
    assert!(sentence.contains("install Postgres 11 again") && sentence.contains("pg_dumpall"), "{sentence}");
    std::fs::write(&version, made_by).unwrap();
    sandbox.start().stop();
}

#[tokio::test]
async fn a_cluster_without_its_key_is_refused_and_gets_no_new_one() {
    let sandbox = Sandbox::new();
    sandbox.start().stop();
    let key = sandbox.data().join("master-key");
    let kept = std::fs::read(&key).unwrap();
    std::fs::remove_file(&key).unwrap();
    let sentence = sandbox.refused();
    assert!(sentence.contains("master-key") && sentence.contains("backup"), "{sentence}");
    assert!(!key.exists());
    std::fs::write(&key, kept).unwrap();
    sandbox.start().stop();
}

#[tokio::test]
async fn a_wrong_postgres_bin_is_told_by_name() {
    let sandbox = Sandbox::new();
    let child = sandbox.command().env("POSTGRES_BIN", "/nowhere").spawn().unwrap();
    assert_eq!(said(child), "POSTGRES_BIN is /nowhere, which holds no working `postgres` and `initdb`.\n");
}

#[tokio::test]
async fn a_kill_in_the_middle_of_making_the_cluster_leaves_no_half() {
    let sandbox = Sandbox::new();
    let mut child = sandbox.command().spawn().unwrap();
    let data = sandbox.data();
    until("initdb is at work", || halves(&data).iter().any(|half| half.join("base").exists())).await;
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!data.join("postgres").exists(), "a half cluster stands in the place of a whole one");

    let running = sandbox.start();
    running.write("whole").await;
    running.stop();
    sandbox.start().stop();
    assert_eq!(halves(&data), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_long_path_moves_the_socket_only() {
    let mut sandbox = Sandbox::new();
    let deep = sandbox.root.path().join("d".repeat(100));
    std::fs::create_dir(&deep).unwrap();
    set_mode(&deep, 0o755);
    let binary = std::mem::take(&mut sandbox.binary);
    let deep = Sandbox { root: tempfile::tempdir_in(&deep).unwrap(), user: None, binary };
    set_mode(deep.root.path(), 0o755);
    let running = deep.start();
    assert!(running.socket.starts_with("/tmp") && mode(&running.socket) == 0o700, "{:?}", running.socket);
    assert!(running.cluster.starts_with(deep.root.path()));
    running.write("kept").await;
    let socket = running.socket.clone();
    running.stop();
    std::fs::remove_dir_all(socket).unwrap();
}

#[tokio::test]
async fn root_may_keep_its_data_where_the_server_cannot_reach() {
    if !geteuid().is_root() {
        // The server then runs as the same user, who can reach what it may write.
        return;
    }
    let sandbox = Sandbox::new();
    set_mode(sandbox.root.path(), 0o700);
    let first = sandbox.start();
    let (cluster, base) = (first.cluster.clone(), first.cluster.parent().unwrap().to_path_buf());
    assert!(cluster.starts_with("/var/lib/verbatim"), "{cluster:?}");
    assert_eq!(std::fs::read_link(sandbox.data().join("postgres")).unwrap(), cluster);
    assert!(sandbox.data().join("master-key").is_file() && !base.join("master-key").exists());
    first.write("kept").await;
    first.stop();
    let second = sandbox.start();
    assert_eq!((second.texts().await, &second.cluster), (vec!["kept".to_owned()], &cluster));
    second.stop();
    std::fs::remove_dir_all(base).unwrap();
}
