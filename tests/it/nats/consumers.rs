//! Consumers of public events: `verbatim tail`, `verbatim replay`, and the sample with the official Python client.

use std::path::PathBuf;

use futures::StreamExt as _;
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::process::Command;
use verbatim::schema::MIGRATOR;

use super::server::NatsServer;
use crate::support::app::{MASTER_KEY, TestApp, WAIT_TIMEOUT};
use crate::support::env_var;

async fn start(db: &PgPool, nats: &NatsServer) -> TestApp {
    TestApp::with(db, &[("NATS_URL", &nats.url())]).await
}

/// Waits until the stream has this many messages.
async fn wait_for_messages(app: &TestApp, nats: &NatsServer, count: usize) {
    app.wait_until("the stream has all messages", async || nats.messages().await.len() == count).await;
}

async fn output(mut command: Command) -> String {
    let output = tokio::time::timeout(WAIT_TIMEOUT, command.kill_on_drop(true).output()).await;
    let output = output.expect("the program ends in time").unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn program(nats: &NatsServer, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_verbatim"));
    command.args(arguments).env_clear().env("NATS_URL", nats.url()).env("LOG_LEVEL", "off");
    command
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn tail_prints_selected_events(db: PgPool) {
    let nats = NatsServer::start().await;
    let app = start(&db, &nats).await;
    let person = app.person().await;
    let session = app.session(&person).await;
    app.session(&person).await;
    wait_for_messages(&app, &nats, 11).await;
    let tail = async |arguments: &[&str]| -> Vec<String> {
        let arguments: Vec<&str> = ["tail"].iter().chain(arguments).copied().collect();
        let lines = output(program(&nats, &arguments)).await;
        lines
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["type"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(tail(&["--after", "0", "--count", "11"]).await.len(), 11);
    let ends = tail(&["--after", "0", "--type", "reply.completed", "--count", "2"]).await;
    assert_eq!(ends, ["verbatim.reply.completed.v1"; 2]);
    let one = tail(&["--after", "0", "--type", "reply.*", "--subject", &session, "--count", "3"]).await;
    assert_eq!(one, ["requested", "begun", "completed"].map(|kind| format!("verbatim.reply.{kind}.v1")));
    // Live events.
    let consumers = async || nats.stream().await.unwrap().cached_info().state.consumer_count;
    let before = consumers().await;
    let live = output(program(&nats, &["tail", "--type", "conversation.renamed", "--count", "1"]));
    let rename = async {
        app.wait_until("the program has subscribed", async || consumers().await > before).await;
        let path = format!("/api/history/{session}");
        app.patch(&path).by(&person).json(&json!({"title": "Live"})).send().await.is(200);
    };
    let (live, ()) = futures::join!(live, rename);
    assert!(live.contains("conversation.renamed"));
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn replay_publishes_log_range_to_another_subject(db: PgPool) {
    let nats = NatsServer::start().await;
    let app = start(&db, &nats).await;
    let person = app.person().await;
    app.session(&person).await;
    wait_for_messages(&app, &nats, 6).await;
    let published: Vec<i64> = nats.messages().await.iter().map(super::server::Message::position).collect();
    let client = async_nats::connect(nats.url()).await.unwrap();
    let replayed = client.subscribe("audit.2026").await.unwrap();
    client.flush().await.unwrap();
    let (from, to) = (published[1].to_string(), published[4].to_string());
    let replay = |subject: &str| {
        let mut command = program(&nats, &["replay", "--from", &from, "--to", &to, subject]);
        let url = env_var("DATABASE_URL").unwrap();
        let name = app.db.connect_options().get_database().unwrap().to_owned();
        let url = format!("{}/{name}", url.rsplit_once('/').unwrap().0);
        command.envs([("DATABASE_URL", url.as_str()), ("MASTER_KEY", MASTER_KEY)]);
        command.env("JWT_SECRET_KEY", crate::support::app::JWT_SECRET);
        command
    };
    let said = output(replay("audit.2026")).await;
    assert!(said.starts_with("4 events"), "{said}");
    let again: Vec<i64> = replayed
        .take(4)
        .map(|message| serde_json::from_slice::<Value>(&message.payload).unwrap())
        .map(|event| event["position"].as_str().unwrap().parse::<i64>().unwrap())
        .collect()
        .await;
    assert_eq!(again, published[1..5]);
    let rejected = replay("verbatim.events.reply.completed").output().await.unwrap();
    assert!(!rejected.status.success());
    assert!(String::from_utf8_lossy(&rejected.stderr).contains("of Verbatim's own"));
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn sample_consumer_counts_each_reply_once(db: PgPool) {
    let nats = NatsServer::start().await;
    let app = start(&db, &nats).await;
    let person = app.person().await;
    let session = app.session(&person).await;
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("daily.sqlite");
    let python = env_var("TEST_PYTHON").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/python/bin/python3"),
        PathBuf::from,
    );
    let consume = async |durable: &str| {
        let mut command = Command::new(&python);
        command
            .arg(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/analytics/daily.py"))
            .args([
                "--nats",
                &nats.url(),
                "--once",
                "--idle-timeout",
                "1",
                "--durable",
                durable,
                "--database",
            ])
            .arg(&database);
        output(command).await;
    };
    let counted = async || -> String {
        let mut command = Command::new(&python);
        command.arg("-c").arg(
            "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute('SELECT model, ended, replies FROM daily').fetchall())",
        );
        command.arg(&database);
        output(command).await.trim().to_owned()
    };
    let replies = async |count: usize| {
        app.wait_until("the completed replies are in the stream", async || {
            nats.messages()
                .await
                .iter()
                .filter(|message| message.subject.ends_with("reply.completed"))
                .count()
                == count
        })
        .await;
    };
    replies(1).await;
    consume("daily").await;
    assert_eq!(counted().await, "[('scripted-echo-1', 'completed', 1)]");
    app.say(&person, Some(&session), "And again").await;
    replies(2).await;
    let context = nats.jetstream().await;
    context.publish("verbatim.events.reply.completed", "rubbish".into()).await.unwrap().await.unwrap();
    consume("daily").await;
    // From the beginning with another durable name: no reply is counted twice.
    consume("another").await;
    assert_eq!(counted().await, "[('scripted-echo-1', 'completed', 2)]");
    app.end().await;
}
