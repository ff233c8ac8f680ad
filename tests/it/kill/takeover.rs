//! Workers that die or stand still in the middle of a reply: another one takes it over, and the reply has one end.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use super::client;
use super::process::{Form, Node, Place, SOON, within};
use crate::nats::server::NatsServer;

/// How soon a dead worker's reply is made by another.
const TAKEN_OVER: Duration = Duration::from_secs(30);
/// Longer than a lease and JetStream's patience together.
const PAST_BOTH: Duration = Duration::from_secs(60);

/// An API node, a NATS server and a database, and one worker in the middle of a long reply.
struct Scene {
    place: Place,
    _nats: NatsServer,
    api: Node,
    worker: Node,
    http: reqwest::Client,
    connection: PgConnection,
}

async fn scene() -> Scene {
    let nats = NatsServer::start().await;
    let mut place = Place::new(Form::Server, None).await;
    place.set("NATS_URL", nats.url());
    place.set("ROLES", "api,relay,project".to_owned());
    place.set("SCRIPTED_WORDS_PER_SECOND", "20".to_owned());
    let http = client::http();
    let (api, base, _) = place.start(&http, SOON).await.unwrap();
    let (worker, ..) = place.start_as("worker", &http, SOON).await.unwrap();
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
    let mut connection = PgConnection::connect_with(&place.options()).await.unwrap();
    assert!(within(SOON, async || count(&mut connection, "reply_begun").await == 1).await, "nobody began");
    Scene { place, _nats: nats, api, worker, http, connection }
}

async fn count(connection: &mut PgConnection, event_type: &str) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM events WHERE event_type = $1")
        .bind(event_type)
        .fetch_one(connection)
        .await
        .unwrap()
}

/// How many ends the reply has.
async fn ends(connection: &mut PgConnection) -> i64 {
    sqlx::query_scalar(
        "SELECT count(*) FROM events WHERE event_type IN ('reply_completed', 'reply_failed', 'reply_cancelled')",
    )
    .fetch_one(connection)
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_workers_reply_is_taken_over() {
    let mut scene = scene().await;
    scene.worker.kill();
    let killed = Instant::now();
    let (other, ..) = scene.place.start_as("worker", &scene.http, SOON).await.unwrap();
    let begun = async || count(&mut scene.connection, "reply_begun").await == 2;
    assert!(within(TAKEN_OVER, begun).await, "nobody took it over");
    super::tell(&format!("taken over after {:?}", killed.elapsed()));
    assert!(within(SOON, async || count(&mut scene.connection, "reply_completed").await == 1).await);
    assert_eq!(ends(&mut scene.connection).await, 1);
    assert!(other.stop().await.success());
    assert!(scene.api.stop().await.success());
    scene.connection.close().await.unwrap();
    scene.place.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_stood_still_records_nothing_when_it_goes_on() {
    let mut scene = scene().await;
    scene.worker.freeze();
    let (other, ..) = scene.place.start_as("worker", &scene.http, SOON).await.unwrap();
    let completed = async || count(&mut scene.connection, "reply_completed").await == 1;
    assert!(within(PAST_BOTH, completed).await, "nobody took it over");
    let events = count(&mut scene.connection, "reply_begun").await;
    scene.worker.thaw();
    // It ends in order, and whatever it still had in hand is refused.
    assert!(scene.worker.stop().await.success());
    assert_eq!(ends(&mut scene.connection).await, 1);
    assert_eq!(count(&mut scene.connection, "reply_begun").await, events);
    assert!(other.stop().await.success());
    assert!(scene.api.stop().await.success());
    scene.connection.close().await.unwrap();
    scene.place.remove().await;
}
