//! The relay publishes every public event once and in log order, even when NATS is killed, frozen, emptied, or its stream
//! is deleted.

use std::time::Duration;

use async_nats::jetstream::stream::Config as StreamConfig;
use serde_json::json;
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use super::server::{Message, NatsServer};
use crate::support::app::{Person, TestApp};

async fn start(db: &PgPool, nats: &NatsServer) -> TestApp {
    TestApp::with(db, &[("NATS_URL", &nats.url())]).await
}

/// Returns the positions of all public events.
async fn public_positions(app: &TestApp) -> Vec<i64> {
    sqlx::query_scalar("SELECT position FROM events WHERE aggregate_type <> 'claim' ORDER BY position")
        .fetch_all(&app.db)
        .await
        .unwrap()
}

fn positions(messages: &[Message]) -> Vec<i64> {
    messages.iter().map(Message::position).collect()
}

/// Waits until the stream has caught up with the log; returns its messages.
async fn relayed(app: &TestApp, nats: &NatsServer) -> Vec<Message> {
    app.wait_until("the stream has caught up with the log", async || {
        let last = public_positions(app).await.last().copied();
        nats.last_position().await == last
    })
    .await;
    nats.messages().await
}

/// Waits until the stream has caught up and asserts that it has each position once and in order.
async fn assert_complete(app: &TestApp, nats: &NatsServer) -> Vec<Message> {
    let messages = relayed(app, nats).await;
    assert_eq!(positions(&messages), public_positions(app).await);
    messages
}

async fn rename(app: &TestApp, person: &Person, session: &str, title: &str) {
    app.patch(&format!("/api/history/{session}"))
        .by(person)
        .json(&json!({"title": title}))
        .send()
        .await
        .is(200);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn stream_has_every_public_event_once_and_no_text(db: PgPool) {
    let nats = NatsServer::start().await;
    let app = start(&db, &nats).await;
    let person = app.person().await;
    let session =
        app.say(&person, None, "A secret question").await["session_id"].as_str().unwrap().to_owned();
    rename(&app, &person, &session, "A secret title").await;

    let messages = assert_complete(&app, &nats).await;
    let subjects: Vec<&str> = messages.iter().map(|message| message.subject.as_str()).collect();
    assert_eq!(
        subjects,
        [
            "verbatim.events.user.registered",
            "verbatim.events.conversation.started",
            "verbatim.events.message.sent",
            "verbatim.events.reply.requested",
            "verbatim.events.reply.begun",
            "verbatim.events.reply.completed",
            "verbatim.events.conversation.renamed",
        ]
    );
    let first = &messages[1];
    assert_eq!(first.text("id"), format!("conversation/{session}/1"));
    assert_eq!(first.text("type"), "verbatim.conversation.started.v1");
    assert_eq!(first.text("subject"), session);
    assert_eq!(first.payload["data"]["owner"], json!(person.id));
    let all = messages.iter().map(|message| message.payload.to_string()).collect::<String>();
    for word in ["secret", &person.email, &person.username] {
        assert!(!all.contains(word), "{word} is public");
    }
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn commands_work_without_nats_and_stream_catches_up(db: PgPool) {
    let mut nats = NatsServer::start().await;
    let app = start(&db, &nats).await;
    let person = app.person().await;
    let session = app.session(&person).await;
    assert_complete(&app, &nats).await;
    for round in 0..3 {
        nats.kill();
        app.say(&person, Some(&session), "While NATS is down").await;
        rename(&app, &person, &session, &format!("Round {round}")).await;
        nats.run().await;
        assert_complete(&app, &nats).await;
    }
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn program_starts_without_nats(db: PgPool) {
    let mut nats = NatsServer::start().await;
    nats.kill();
    let app = start(&db, &nats).await;
    let person = app.person().await;
    app.session(&person).await;
    nats.run().await;
    assert_complete(&app, &nats).await;
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn publication_that_timed_out_is_stored_once(db: PgPool) {
    let nats = NatsServer::start().await;
    let app = start(&db, &nats).await;
    let person = app.person().await;
    let session = app.session(&person).await;
    assert_complete(&app, &nats).await;
    nats.freeze();
    for round in 0..10 {
        rename(&app, &person, &session, &format!("Round {round}")).await;
    }
    // Longer than the publish timeout: the outcome of the publication is unknown.
    app.wait_until("a publication has timed out", async || app.relay_failures() > 0).await;
    nats.thaw();
    assert_complete(&app, &nats).await;
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn emptied_server_is_refilled(db: PgPool) {
    let mut nats = NatsServer::start().await;
    let app = start(&db, &nats).await;
    let person = app.person().await;
    let session = app.session(&person).await;
    assert_complete(&app, &nats).await;
    nats.kill();
    nats.empty();
    rename(&app, &person, &session, "Meanwhile").await;
    nats.run().await;
    assert_complete(&app, &nats).await;
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn purged_or_deleted_stream_is_refilled(db: PgPool) {
    let nats = NatsServer::start().await;
    let app = start(&db, &nats).await;
    let person = app.person().await;
    app.session(&person).await;
    let before = assert_complete(&app, &nats).await;
    nats.stream().await.unwrap().purge().await.unwrap();
    // Without new events the relay must notice by itself.
    let after = assert_complete(&app, &nats).await;
    assert_eq!(after[0].sequence, before.len() as u64 + 1);
    nats.jetstream().await.delete_stream("VERBATIM_EVENTS").await.unwrap();
    assert_complete(&app, &nats).await;
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn second_relay_takes_over_without_duplicates(db: PgPool) {
    let nats = NatsServer::start().await;
    let first = start(&db, &nats).await;
    let second = start(&db, &nats).await;
    let person = first.person().await;
    let session = first.session(&person).await;
    assert_complete(&second, &nats).await;
    first.stop(Duration::from_secs(10)).await;
    rename(&second, &person, &session, "Taken over").await;
    assert_complete(&second, &nats).await;
    second.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn foreign_stream_is_rejected_and_left_unchanged(db: PgPool) {
    let nats = NatsServer::start().await;
    let context = nats.jetstream().await;
    let foreign = StreamConfig {
        name: "VERBATIM_EVENTS".to_owned(),
        subjects: vec!["verbatim.events.>".to_owned()],
        max_messages: 3,
        ..StreamConfig::default()
    };
    context.create_stream(foreign).await.unwrap();
    let app = start(&db, &nats).await;
    let person = app.person().await;
    let session = app.session(&person).await;
    app.wait_until("the relay has stopped", async || app.relay_is_stopped()).await;
    assert_eq!(nats.messages().await.len(), 0);
    let stream = nats.stream().await.unwrap();
    assert_eq!(stream.cached_info().config.max_messages, 3);
    // The operator deletes the stream.
    context.delete_stream("VERBATIM_EVENTS").await.unwrap();
    rename(&app, &person, &session, "Recreated").await;
    assert_complete(&app, &nats).await;
    assert!(!app.relay_is_stopped());
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn log_behind_stream_stops_relay(db: PgPool) {
    let nats = NatsServer::start().await;
    let app = start(&db, &nats).await;
    let person = app.person().await;
    let session = app.session(&person).await;
    let sent = assert_complete(&app, &nats).await;
    app.stop(Duration::from_secs(10)).await;
    // The stream as it looks after the log was restored from an old backup.
    let mut event = sent.last().unwrap().payload.clone();
    event["position"] = json!("1000000");
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Verbatim-Position", "1000000");
    let context = nats.jetstream().await;
    let payload = event.to_string().into();
    context
        .publish_with_headers("verbatim.events.conversation.renamed", headers, payload)
        .await
        .unwrap()
        .await
        .unwrap();

    let app = start(&db, &nats).await;
    app.wait_until("the relay has stopped", async || app.relay_is_stopped()).await;
    rename(&app, &person, &session, "Kept in the log").await;
    assert_eq!(nats.messages().await.len(), sent.len() + 1, "the relay published another event");
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn foreign_messages_in_stream_do_not_confuse_relay(db: PgPool) {
    let nats = NatsServer::start().await;
    let app = start(&db, &nats).await;
    let person = app.person().await;
    let session = app.session(&person).await;
    assert_complete(&app, &nats).await;
    let context = nats.jetstream().await;
    for rubbish in ["not JSON", "{}", r#"{"position":"7"}"#] {
        context.publish("verbatim.events.reply.requested", rubbish.into()).await.unwrap().await.unwrap();
    }
    rename(&app, &person, &session, "After them").await;
    let messages = relayed(&app, &nats).await;
    let ours: Vec<Message> =
        messages.into_iter().filter(|message| message.payload["specversion"] == "1.0").collect();
    assert_eq!(positions(&ours), public_positions(&app).await);
    app.end().await;
}
