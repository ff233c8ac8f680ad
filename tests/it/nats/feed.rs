//! The live feed between processes: every process can serve every reply stream.

use serde_json::json;
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use super::server::NatsServer;
use crate::support::app::{Person, TestApp};
use crate::support::client::{Event, Sse};

/// Starts one process that produces replies slowly and one that only serves them.
async fn pair(db: &PgPool, nats: &NatsServer) -> (TestApp, TestApp) {
    let worker = TestApp::with(db, &[("NATS_URL", &nats.url()), ("SCRIPTED_WORDS_PER_SECOND", "20")]).await;
    let server = TestApp::with(db, &[("NATS_URL", &nats.url()), ("ROLES", "api,relay,project")]).await;
    (worker, server)
}

async fn open(app: &TestApp, person: &Person, message: &str) -> Sse {
    app.post("/api/chat/stream").by(person).json(&json!({"message": message})).stream().await
}

fn text(events: &[Event]) -> String {
    events
        .iter()
        .filter(|event| event.name == "reply.delta")
        .map(|event| event.data["text"].as_str().unwrap())
        .collect()
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn reply_streams_live_at_another_process(db: PgPool) {
    let nats = NatsServer::start().await;
    let (worker, server) = pair(&db, &nats).await;
    let person = server.person().await;
    let stream = open(&server, &person, "one two three four five six").await;
    let events = stream.rest().await;
    let end = events.last().unwrap();
    assert_eq!(end.name, "reply.done");
    let deltas = events.iter().filter(|event| event.name == "reply.delta").count();
    assert!(deltas >= 5, "only {deltas} deltas");
    assert_eq!(text(&events), end.text());
    worker.stop(crate::support::app::WAIT_TIMEOUT).await;
    server.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn late_follower_at_another_process_gets_text_so_far(db: PgPool) {
    let nats = NatsServer::start().await;
    let (worker, server) = pair(&db, &nats).await;
    let person = worker.person().await;
    let mut first = open(&worker, &person, &"word ".repeat(40)).await;
    let opening = first.next().await.unwrap();
    first.until("reply.delta").await;
    let path = format!("/api/chat/stream/{}", opening.reply());
    let late = server.get(&path).by(&person).stream().await;
    let events = late.rest().await;
    let end = events.last().unwrap();
    assert_eq!((end.name.as_str(), text(&events).as_str()), ("reply.done", end.text()));
    let deltas = events.iter().filter(|event| event.name == "reply.delta").count();
    assert!(deltas >= 5, "only {deltas} deltas");
    first.rest().await;
    worker.stop(crate::support::app::WAIT_TIMEOUT).await;
    server.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn reply_cancelled_at_another_process_keeps_its_text(db: PgPool) {
    let nats = NatsServer::start().await;
    let (worker, server) = pair(&db, &nats).await;
    let person = worker.person().await;
    let mut stream = open(&worker, &person, &"word ".repeat(400)).await;
    let opening = stream.next().await.unwrap();
    stream.until("reply.delta").await;
    server.post(&format!("/api/replies/{}/cancel", opening.reply())).by(&person).send().await.is(200);
    let events = stream.rest().await;
    let end = events.last().unwrap();
    assert_eq!(end.name, "reply.cancelled");
    assert!(!end.text().is_empty(), "the text so far is lost");
    worker.stop(crate::support::app::WAIT_TIMEOUT).await;
    server.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn forged_feed_messages_are_ignored(db: PgPool) {
    let nats = NatsServer::start().await;
    let (worker, server) = pair(&db, &nats).await;
    let person = server.person().await;
    let mut stream = open(&server, &person, &"word ".repeat(40)).await;
    let opening = stream.next().await.unwrap();
    let stranger = async_nats::connect(nats.url()).await.unwrap();
    let subject = format!("verbatim.live.{}", opening.reply());
    let mut feed = stranger.subscribe(subject.clone()).await.unwrap();
    for rubbish in [&b"rubbish"[..], b"", br#"{"attempt":9,"offset":0,"text":"FORGED"}"#, &[0; 70_000]] {
        stranger.publish(subject.clone(), rubbish.to_vec().into()).await.unwrap();
    }
    stranger.flush().await.unwrap();
    let events = stream.rest().await;
    let end = events.last().unwrap();
    assert_eq!((end.name.as_str(), text(&events).as_str()), ("reply.done", end.text()));
    assert!(!text(&events).contains("FORGED"));
    let message = futures::StreamExt::next(&mut feed).await.unwrap();
    assert!(!message.payload.windows(4).any(|window| window == b"word"), "the feed can be read");
    worker.stop(crate::support::app::WAIT_TIMEOUT).await;
    server.end().await;
}
