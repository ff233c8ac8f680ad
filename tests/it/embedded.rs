//! Tests the embedded Postgres server from outside: the binary is started, killed and started again. The tests run as
//! root and as an ordinary user; as root they use an account without privileges for the cases of an ordinary user.

mod sandbox;

use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use sqlx::Executor;

use sandbox::{Sandbox, failure_message, is_gone, mode, partial_clusters, set_mode, signal, wait_until};

/// Start, write, stop, start, kill -9, start: no data is lost and no process is left running.
async fn survives_restart_and_kill(sandbox: &Sandbox) {
    let first = sandbox.start();
    first.write("before the restart").await;
    first.stop();

    let mut second = sandbox.start();
    assert_eq!(second.texts().await, ["before the restart"]);
    second.write("before the kill").await;
    second.kill();
    wait_until("the server ends with its program", || is_gone(second.server)).await;
    wait_until("the supervisor ends as well", || is_gone(second.supervisor)).await;

    let third = sandbox.start();
    assert_eq!(third.texts().await, ["before the kill", "before the restart"]);
    third.stop();
}

#[tokio::test]
async fn data_survives_restart_and_kill() {
    survives_restart_and_kill(&Sandbox::new()).await;
}

#[tokio::test]
async fn embedded_server_needs_no_privileges() {
    let sandbox = Sandbox::of_an_ordinary_user();
    survives_restart_and_kill(&sandbox).await;
    assert_eq!(mode(&sandbox.data()), 0o700);
}

#[tokio::test]
async fn embedded_server_is_private_and_durable() {
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
    assert_eq!(mode(&sandbox.data()) & 0o007, 0, "other users can enter the data folder");
    assert_eq!(mode(&sandbox.data().join("master-key")), 0o600);
    // The server owns its socket.
    let socket = std::fs::metadata(running.socket.join(".s.PGSQL.5432")).unwrap();
    assert_ne!(socket.uid(), 0, "the server runs as root");
    running.stop();
}

#[tokio::test]
async fn server_log_contains_no_user_text() {
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
async fn next_start_stops_server_orphaned_by_killed_supervisor() {
    let sandbox = Sandbox::new();
    let mut first = sandbox.start();
    first.write("kept").await;
    // Stop the supervisor first: otherwise it might stop the server before it dies.
    signal(first.supervisor, Signal::SIGSTOP);
    first.kill();
    signal(first.supervisor, Signal::SIGKILL);
    wait_until("the supervisor has ended", || is_gone(first.supervisor)).await;
    assert!(!is_gone(first.server), "the server was stopped although its supervisor was killed");

    let second = sandbox.start();
    // A process releases its resources a moment before the kernel reports its end.
    wait_until("the first server has ended", || is_gone(first.server)).await;
    assert_eq!(second.texts().await, ["kept"]);
    second.stop();
}

#[tokio::test]
async fn killed_server_recovers() {
    let sandbox = Sandbox::new();
    let mut first = sandbox.start();
    first.write("kept").await;
    for pid in [first.supervisor, first.server] {
        signal(pid, Signal::SIGSTOP);
    }
    first.kill();
    for pid in [first.supervisor, first.server] {
        signal(pid, Signal::SIGKILL);
    }
    let second = sandbox.start();
    assert_eq!(second.texts().await, ["kept"]);
    second.stop();
}

#[tokio::test]
async fn supervisor_death_stops_program_and_server() {
    let sandbox = Sandbox::new();
    let mut running = sandbox.start();
    signal(running.supervisor, Signal::SIGKILL);
    let sentence = failure_message(running.child.take().unwrap());
    assert!(sentence.starts_with("The private Postgres server has ended"), "{sentence}");
    wait_until("the server has been stopped", || is_gone(running.server)).await;
}

#[tokio::test]
async fn signal_to_process_group_stops_gracefully() {
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
async fn second_process_is_rejected_and_first_continues() {
    let sandbox = Sandbox::new();
    let first = sandbox.start();
    let sentence = sandbox.start_failure();
    assert!(sentence.contains(&format!("Another verbatim process (pid {})", first.pid())), "{sentence}");
    assert!(sentence.contains(sandbox.data().to_str().unwrap()), "{sentence}");
    first.write("still here").await;
    first.stop();
}

#[tokio::test]
async fn cluster_of_other_major_version_is_rejected_unchanged() {
    let sandbox = Sandbox::new();
    sandbox.start().stop();
    let version = sandbox.data().join("postgres/PG_VERSION");
    let made_by = std::fs::read_to_string(&version).unwrap();
    std::fs::write(&version, "11\n").unwrap();
    let sentence = sandbox.start_failure();
    assert!(sentence.contains("made by Postgres 11"), "{sentence}");
    assert!(sentence.contains("install Postgres 11 again") && sentence.contains("pg_dumpall"), "{sentence}");
    std::fs::write(&version, made_by).unwrap();
    sandbox.start().stop();
}

#[tokio::test]
async fn cluster_without_master_key_is_rejected_without_new_key() {
    let sandbox = Sandbox::new();
    sandbox.start().stop();
    let key = sandbox.data().join("master-key");
    let kept = std::fs::read(&key).unwrap();
    std::fs::remove_file(&key).unwrap();
    let sentence = sandbox.start_failure();
    assert!(sentence.contains("master-key") && sentence.contains("backup"), "{sentence}");
    assert!(!key.exists());
    std::fs::write(&key, kept).unwrap();
    sandbox.start().stop();
}

#[tokio::test]
async fn invalid_postgres_bin_is_reported_by_name() {
    let sandbox = Sandbox::new();
    let child = sandbox.command().env("POSTGRES_BIN", "/nowhere").spawn().unwrap();
    assert_eq!(
        failure_message(child),
        "POSTGRES_BIN is /nowhere, which holds no working `postgres` and `initdb`.\n"
    );
}

#[tokio::test]
async fn kill_during_initdb_leaves_no_partial_cluster() {
    let sandbox = Sandbox::new();
    let mut child = sandbox.command().spawn().unwrap();
    let data = sandbox.data();
    wait_until("initdb is at work", || {
        partial_clusters(&data).iter().any(|partial| partial.join("base").exists())
    })
    .await;
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!data.join("postgres").exists(), "a partial cluster is in the place of a complete one");

    let running = sandbox.start();
    running.write("whole").await;
    running.stop();
    sandbox.start().stop();
    assert_eq!(partial_clusters(&data), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn long_path_moves_only_the_socket() {
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
async fn root_data_in_private_folder_uses_separate_cluster_folder() {
    if !geteuid().is_root() {
        // The server then runs as the same user, who can access the folder.
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
