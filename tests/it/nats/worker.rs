//! Reply workers on JetStream: messages only hint at pending replies; the log decides.

use async_nats::jetstream::consumer::{Info, PullConsumer};
use serde_json::{Value, json};
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use super::server::NatsServer;
use crate::support::app::TestApp;

async fn start(db: &PgPool, nats: &NatsServer) -> TestApp {
    TestApp::with(db, &[("NATS_URL", &nats.url())]).await
}

/// Returns the state of the workers' consumer if it exists.
async fn consumer(nats: &NatsServer) -> Option<Info> {
    let stream = nats.stream().await?;
    let mut consumer: PullConsumer = stream.get_consumer("verbatim-replies").await.ok()?;
    consumer.info().await.ok().cloned()
}

/// Waits until workers pull from the consumer.
async fn wait_for_workers(app: &TestApp, nats: &NatsServer) {
    app.wait_until("workers pull from the consumer", async || {
        consumer(nats).await.is_some_and(|info| info.num_waiting > 0)
    })
    .await;
}

/// Waits until every reply message is acknowledged; returns the consumer's state.
async fn wait_for_acks(app: &TestApp, nats: &NatsServer) -> Info {
    app.wait_until("every message is acknowledged", async || {
        consumer(nats).await.is_some_and(|info| info.num_ack_pending == 0 && info.num_pending == 0)
    })
    .await;
    consumer(nats).await.unwrap()
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn messages_are_acknowledged_after_their_replies_end(db: PgPool) {
    let nats = NatsServer::start().await;
    let app = start(&db, &nats).await;
    wait_for_workers(&app, &nats).await;
    let person = app.person().await;
    let session = app.session(&person).await;
    for _ in 0..5 {
        app.say(&person, Some(&session), "And again").await;
    }
    app.wait_until("every message was delivered", async || {
        consumer(&nats).await.is_some_and(|info| info.delivered.consumer_sequence >= 18)
    })
    .await;
    let info = wait_for_acks(&app, &nats).await;
    assert_eq!(info.num_redelivered, 0);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn messages_of_one_conversation_are_answered_in_order(db: PgPool) {
    let nats = NatsServer::start().await;
    let app = TestApp::with(&db, &[("NATS_URL", &nats.url()), ("REPLY_WAIT_SECONDS", "20")]).await;
    wait_for_workers(&app, &nats).await;
    let person = app.person().await;
    let session = app.session(&person).await;
    futures::future::join_all((0..8).map(async |number| {
        app.say(&person, Some(&session), &format!("Number {number}")).await;
    }))
    .await;
    let ends: Vec<i64> = sqlx::query_scalar(
        "SELECT r.position FROM replies r JOIN messages m ON m.message_id = r.message_id ORDER BY m.position",
    )
    .fetch_all(&app.db)
    .await
    .unwrap();
    assert_eq!(ends.len(), 9);
    assert!(ends.is_sorted(), "{ends:?}");
    wait_for_acks(&app, &nats).await;
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn failed_attempt_is_retried_after_backoff(db: PgPool) {
    let nats = NatsServer::start().await;
    let faults = [
        ("NATS_URL", nats.url()),
        ("SCRIPTED_FAULT", "500".to_owned()),
        ("REPLY_MAX_ATTEMPTS", "2".to_owned()),
    ];
    let faults: Vec<(&str, &str)> = faults.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let app = TestApp::with(&db, &faults).await;
    wait_for_workers(&app, &nats).await;
    let person = app.person().await;
    app.post("/api/chat").by(&person).json(&json!({"message": "Hello"})).send().await.is(500);
    let failed: i64 =
        sqlx::query_scalar("SELECT count(*) FROM events WHERE event_type = 'reply_attempt_failed'")
            .fetch_one(&app.db)
            .await
            .unwrap();
    assert_eq!(failed, 1);
    wait_for_acks(&app, &nats).await;
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn forged_messages_have_no_effect(db: PgPool) {
    let nats = NatsServer::start().await;
    let app = start(&db, &nats).await;
    wait_for_workers(&app, &nats).await;
    let person = app.person().await;
    let session = app.session(&person).await;
    let before = app.events().await;
    let context = nats.jetstream().await;
    let genuine = nats
        .messages()
        .await
        .into_iter()
        .find(|message| message.subject.ends_with("reply.requested"))
        .unwrap();
    let mut unknown = genuine.payload.clone();
    unknown["data"]["conversation_id"] = json!("01961f2a-0000-7000-8000-0000000000c1");
    for payload in [&genuine.payload, &genuine.payload, &unknown] {
        let payload = payload.to_string().into();
        context.publish("verbatim.events.reply.requested", payload).await.unwrap().await.unwrap();
    }
    wait_for_acks(&app, &nats).await;
    assert_eq!(app.events().await, before);
    app.say(&person, Some(&session), "Another message").await;
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn malformed_messages_are_dead_lettered_and_can_be_retried(db: PgPool) {
    let nats = NatsServer::start().await;
    let app = start(&db, &nats).await;
    wait_for_workers(&app, &nats).await;
    let person = app.person().await;
    let context = nats.jetstream().await;
    let big = vec![b'x'; 1024 * 1024 - 1024];
    for rubbish in [&b"not JSON"[..], b"{}", br#"{"position":"x","data":{}}"#, &[0xff, 0xfe], &big] {
        let subject = "verbatim.events.reply.unheard_of";
        context.publish(subject, rubbish.to_vec().into()).await.unwrap().await.unwrap();
    }
    // Other messages are not delayed.
    app.session(&person).await;
    let dead_letters = async || -> Vec<Value> {
        sqlx::query_scalar("SELECT to_jsonb(p) FROM dead_letters p ORDER BY sequence")
            .fetch_all(&app.db)
            .await
            .unwrap()
    };
    app.wait_until("all of them are dead-lettered", async || dead_letters().await.len() == 5).await;
    wait_for_acks(&app, &nats).await;
    assert!(
        dead_letters().await.iter().all(|message| message["deliveries"] == 5),
        "{:?}",
        dead_letters().await
    );

    sqlx::query("UPDATE dead_letters SET retry = true").execute(&app.db).await.unwrap();
    app.wait_until("they were retried", async || {
        dead_letters().await.iter().all(|message| message["retry"] == false && message["deliveries"] == 6)
    })
    .await;
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn deleted_consumer_is_recreated_and_no_reply_is_lost(db: PgPool) {
    let nats = NatsServer::start().await;
    let app = start(&db, &nats).await;
    wait_for_workers(&app, &nats).await;
    let person = app.person().await;
    let session = app.session(&person).await;
    nats.stream().await.unwrap().delete_consumer("verbatim-replies").await.unwrap();
    app.say(&person, Some(&session), "Without a consumer").await;
    wait_for_workers(&app, &nats).await;
    app.say(&person, Some(&session), "And again").await;
    app.end().await;
}
