//! Workers that die or freeze in the middle of a reply: another one takes over, and the reply ends once.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use super::client;
use super::process::{Installation, Node, PostgresKind, STEP_TIMEOUT, within};
use crate::nats::server::NatsServer;

/// Maximum time until another worker takes over a dead worker's reply.
const TAKEOVER_TIMEOUT: Duration = Duration::from_secs(30);
/// Longer than a lease and JetStream's acknowledgement wait together.
const FROZEN_TAKEOVER_TIMEOUT: Duration = Duration::from_secs(60);

/// An API node, a NATS server and a database, and one worker in the middle of a long reply.
struct Scene {
    installation: Installation,
    _nats: NatsServer,
    api: Node,
    worker: Node,
    http: reqwest::Client,
    connection: PgConnection,
}

async fn scene() -> Scene {
    let nats = NatsServer::start().await;
    let mut installation = Installation::new(PostgresKind::Server, None).await;
    installation.set("NATS_URL", nats.url());
    installation.set("ROLES", "api,relay,project".to_owned());
    installation.set("SCRIPTED_WORDS_PER_SECOND", "20".to_owned());
    let http = client::http();
    let (api, base, _) = installation.start(&http, STEP_TIMEOUT).await.unwrap();
    let (worker, ..) = installation.start_as("worker", &http, STEP_TIMEOUT).await.unwrap();
    let account = json!({"email": "someone@mail.example", "password": "correct horse 7"});
    let registered = http.post(format!("{base}/api/auth/register")).json(&account).send().await.unwrap();
    let token = registered.json::<Value>().await.unwrap()["access_token"].as_str().unwrap().to_owned();
    let sent = http
        .post(format!("{base}/api/chat"))
        .bearer_auth(token)
        .json(&json!({"message": "word ".repeat(100)}))
        .send()
        .await
        .unwrap();
    assert_eq!(sent.status(), 202);
    let mut connection = PgConnection::connect_with(&installation.options()).await.unwrap();
    assert!(
        within(STEP_TIMEOUT, async || count(&mut connection, "reply_begun").await == 1).await,
        "no worker began the reply"
    );
    Scene { installation, _nats: nats, api, worker, http, connection }
}

async fn count(connection: &mut PgConnection, event_type: &str) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM events WHERE event_type = $1")
        .bind(event_type)
        .fetch_one(connection)
        .await
        .unwrap()
}

/// Number of final events of the reply.
async fn final_events(connection: &mut PgConnection) -> i64 {
    sqlx::query_scalar(
        "SELECT count(*) FROM events WHERE event_type IN ('reply_completed', 'reply_failed', 'reply_cancelled')",
    )
    .fetch_one(connection)
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reply_of_dead_worker_is_taken_over() {
    let mut scene = scene().await;
    scene.worker.kill();
    let killed = Instant::now();
    let (other, ..) = scene.installation.start_as("worker", &scene.http, STEP_TIMEOUT).await.unwrap();
    let begun = async || count(&mut scene.connection, "reply_begun").await == 2;
    assert!(within(TAKEOVER_TIMEOUT, begun).await, "no worker took the reply over");
    super::print_line(&format!("taken over after {:?}", killed.elapsed()));
    assert!(within(STEP_TIMEOUT, async || count(&mut scene.connection, "reply_completed").await == 1).await);
    assert_eq!(final_events(&mut scene.connection).await, 1);
    assert!(other.stop().await.success());
    assert!(scene.api.stop().await.success());
    scene.connection.close().await.unwrap();
    scene.installation.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resumed_worker_records_nothing_after_takeover() {
    let mut scene = scene().await;
    scene.worker.freeze();
    let (other, ..) = scene.installation.start_as("worker", &scene.http, STEP_TIMEOUT).await.unwrap();
    let completed = async || count(&mut scene.connection, "reply_completed").await == 1;
    assert!(within(FROZEN_TAKEOVER_TIMEOUT, completed).await, "no worker took the reply over");
    let events = count(&mut scene.connection, "reply_begun").await;
    scene.worker.thaw();
    // The worker exits normally, and its late writes are rejected.
    assert!(scene.worker.stop().await.success());
    assert_eq!(final_events(&mut scene.connection).await, 1);
    assert_eq!(count(&mut scene.connection, "reply_begun").await, events);
    assert!(other.stop().await.success());
    assert!(scene.api.stop().await.success());
    scene.connection.close().await.unwrap();
    scene.installation.remove().await;
}
