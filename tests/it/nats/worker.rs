//! Replies by JetStream: messages say where something is owed, and whatever is said, the log decides.

use async_nats::jetstream::consumer::{Info, PullConsumer};
use serde_json::{Value, json};
use sqlx::PgPool;
use verbatim::bootstrap::database::MIGRATOR;

use super::server::NatsServer;
use crate::support::app::TestApp;

async fn start(db: &PgPool, nats: &NatsServer) -> TestApp {
    TestApp::with(db, &[("NATS_URL", &nats.url())]).await
}

/// How the workers' consumer stands, when there is one.
async fn consumer(nats: &NatsServer) -> Option<Info> {
    let stream = nats.stream().await?;
    let mut consumer: PullConsumer = stream.get_consumer("verbatim-replies").await.ok()?;
    consumer.info().await.ok().cloned()
}

/// Waits until workers listen.
async fn listens(app: &TestApp, nats: &NatsServer) {
    app.until("workers listen", async || consumer(nats).await.is_some_and(|info| info.num_waiting > 0)).await;
}

/// Waits until every message about replies is acknowledged.
async fn done(app: &TestApp, nats: &NatsServer) -> Info {
    app.until("every message is acknowledged", async || {
        consumer(nats).await.is_some_and(|info| info.num_ack_pending == 0 && info.num_pending == 0)
    })
    .await;
    consumer(nats).await.unwrap()
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn messages_bring_replies_and_are_acknowledged_when_they_have_ended(db: PgPool) {
    let nats = NatsServer::start().await;
    let app = start(&db, &nats).await;
    listens(&app, &nats).await;
    let person = app.person().await;
    let session = app.session(&person).await;
    for _ in 0..5 {
        app.say(&person, Some(&session), "And again").await;
    }
    app.until("every end was told", async || {
        consumer(&nats).await.is_some_and(|info| info.delivered.consumer_sequence >= 18)
    })
    .await;
    let info = done(&app, &nats).await;
    assert_eq!(info.num_redelivered, 0);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn messages_of_one_conversation_are_answered_in_their_order(db: PgPool) {
    let nats = NatsServer::start().await;
    let app = TestApp::with(&db, &[("NATS_URL", &nats.url()), ("REPLY_WAIT_SECONDS", "20")]).await;
    listens(&app, &nats).await;
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
    done(&app, &nats).await;
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_failed_attempt_is_tried_again_when_its_pause_is_over(db: PgPool) {
    let nats = NatsServer::start().await;
    let faults = [
        ("NATS_URL", nats.url()),
        ("SCRIPTED_FAULT", "500".to_owned()),
        ("REPLY_MAX_ATTEMPTS", "2".to_owned()),
    ];
    let faults: Vec<(&str, &str)> = faults.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let app = TestApp::with(&db, &faults).await;
    listens(&app, &nats).await;
    let person = app.person().await;
    app.post("/api/chat").by(&person).json(&json!({"message": "Hello"})).send().await.is(500);
    let failed: i64 =
        sqlx::query_scalar("SELECT count(*) FROM events WHERE event_type = 'reply_attempt_failed'")
            .fetch_one(&app.db)
            .await
            .unwrap();
    assert_eq!(failed, 1);
    done(&app, &nats).await;
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn forged_messages_change_nothing(db: PgPool) {
    let nats = NatsServer::start().await;
    let app = start(&db, &nats).await;
    listens(&app, &nats).await;
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
    done(&app, &nats).await;
    assert_eq!(app.events().await, before);
    app.say(&person, Some(&session), "Still there?").await;
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn what_makes_no_sense_is_parked_and_can_be_tried_again_or_dropped(db: PgPool) {
    let nats = NatsServer::start().await;
    let app = start(&db, &nats).await;
    listens(&app, &nats).await;
    let person = app.person().await;
    let context = nats.jetstream().await;
    let big = vec![b'x'; 1024 * 1024 - 1024];
    for rubbish in [&b"not JSON"[..], b"{}", br#"{"position":"x","data":{}}"#, &[0xff, 0xfe], &big] {
        let subject = "verbatim.events.reply.unheard_of";
        context.publish(subject, rubbish.to_vec().into()).await.unwrap().await.unwrap();
    }
    // Others do not wait for them.
    app.session(&person).await;
    let parked = async || -> Vec<Value> {
        sqlx::query_scalar("SELECT to_jsonb(p) FROM dead_letters p ORDER BY sequence")
            .fetch_all(&app.db)
            .await
            .unwrap()
    };
    app.until("all of them are parked", async || parked().await.len() == 5).await;
    done(&app, &nats).await;
    assert!(parked().await.iter().all(|message| message["deliveries"] == 5), "{:?}", parked().await);

    sqlx::query("UPDATE dead_letters SET retry = true").execute(&app.db).await.unwrap();
    app.until("they were tried once more", async || {
        parked().await.iter().all(|message| message["retry"] == false && message["deliveries"] == 6)
    })
    .await;
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_deleted_consumer_is_made_anew_and_nothing_is_lost_meanwhile(db: PgPool) {
    let nats = NatsServer::start().await;
    let app = start(&db, &nats).await;
    listens(&app, &nats).await;
    let person = app.person().await;
    let session = app.session(&person).await;
    nats.stream().await.unwrap().delete_consumer("verbatim-replies").await.unwrap();
    app.say(&person, Some(&session), "While nobody listens").await;
    listens(&app, &nats).await;
    app.say(&person, Some(&session), "And again").await;
    app.end().await;
}
