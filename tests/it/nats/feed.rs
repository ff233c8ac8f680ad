//! The live feed between processes: any of them serves any stream.

use serde_json::json;
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use super::server::NatsServer;
use crate::support::app::{Person, TestApp};
use crate::support::client::{Event, Sse};

/// One that makes replies, at a pace that leaves time to look, and one that only serves.
async fn pair(db: &PgPool, nats: &NatsServer) -> (TestApp, TestApp) {
    let writes = TestApp::with(db, &[("NATS_URL", &nats.url()), ("SCRIPTED_WORDS_PER_SECOND", "20")]).await;
    let serves = TestApp::with(db, &[("NATS_URL", &nats.url()), ("ROLES", "api,relay,project")]).await;
    (writes, serves)
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
async fn a_reply_is_followed_word_by_word_at_another_process(db: PgPool) {
    let nats = NatsServer::start().await;
    let (writes, serves) = pair(&db, &nats).await;
    let person = serves.person().await;
    let stream = open(&serves, &person, "one two three four five six").await;
    let events = stream.rest().await;
    let end = events.last().unwrap();
    assert_eq!(end.name, "reply.done");
    let deltas = events.iter().filter(|event| event.name == "reply.delta").count();
    assert!(deltas >= 5, "it came in {deltas} pieces");
    assert_eq!(text(&events), end.text());
    writes.stop(crate::support::app::WAIT_TIMEOUT).await;
    serves.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn whoever_comes_late_to_another_process_gets_what_has_been_written(db: PgPool) {
    let nats = NatsServer::start().await;
    let (writes, serves) = pair(&db, &nats).await;
    let person = writes.person().await;
    let mut first = open(&writes, &person, &"word ".repeat(40)).await;
    let opening = first.next().await.unwrap();
    first.until("reply.delta").await;
    let path = format!("/api/chat/stream/{}", opening.reply());
    let late = serves.get(&path).by(&person).stream().await;
    let events = late.rest().await;
    let end = events.last().unwrap();
    assert_eq!((end.name.as_str(), text(&events).as_str()), ("reply.done", end.text()));
    let deltas = events.iter().filter(|event| event.name == "reply.delta").count();
    assert!(deltas >= 5, "it came in {deltas} pieces");
    first.rest().await;
    writes.stop(crate::support::app::WAIT_TIMEOUT).await;
    serves.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_reply_cancelled_at_another_process_keeps_its_text(db: PgPool) {
    let nats = NatsServer::start().await;
    let (writes, serves) = pair(&db, &nats).await;
    let person = writes.person().await;
    let mut stream = open(&writes, &person, &"word ".repeat(400)).await;
    let opening = stream.next().await.unwrap();
    stream.until("reply.delta").await;
    serves.post(&format!("/api/replies/{}/cancel", opening.reply())).by(&person).send().await.is(200);
    let events = stream.rest().await;
    let end = events.last().unwrap();
    assert_eq!(end.name, "reply.cancelled");
    assert!(!end.text().is_empty(), "the text so far is lost");
    writes.stop(crate::support::app::WAIT_TIMEOUT).await;
    serves.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn strangers_cannot_write_into_a_stream(db: PgPool) {
    let nats = NatsServer::start().await;
    let (writes, serves) = pair(&db, &nats).await;
    let person = serves.person().await;
    let mut stream = open(&serves, &person, &"word ".repeat(40)).await;
    let opening = stream.next().await.unwrap();
    let stranger = async_nats::connect(nats.url()).await.unwrap();
    let subject = format!("verbatim.live.{}", opening.reply());
    let mut heard = stranger.subscribe(subject.clone()).await.unwrap();
    for rubbish in [&b"rubbish"[..], b"", br#"{"attempt":9,"offset":0,"text":"FORGED"}"#, &[0; 70_000]] {
        stranger.publish(subject.clone(), rubbish.to_vec().into()).await.unwrap();
    }
    stranger.flush().await.unwrap();
    let events = stream.rest().await;
    let end = events.last().unwrap();
    assert_eq!((end.name.as_str(), text(&events).as_str()), ("reply.done", end.text()));
    assert!(!text(&events).contains("FORGED"));
    let message = futures::StreamExt::next(&mut heard).await.unwrap();
    assert!(!message.payload.windows(4).any(|window| window == b"word"), "the feed can be read");
    writes.stop(crate::support::app::WAIT_TIMEOUT).await;
    serves.end().await;
}
