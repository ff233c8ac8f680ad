//! Tests failing providers: the client's response, the log, and that the message is kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use aggregates::Personal;
use aggregates::conversation::{Conversation, ConversationCommand, ReplyOptions};
use aggregates::ids::{ConversationId, MessageId, ReplyId, UserId};
use aggregates::values::MessageText;
use event_store::{CommandBatch, Executor, KeyStore, LogReader, LogTail, MasterKey, Metadata};
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio_util::task::TaskTracker;
use uuid::Uuid;
use verbatim::clock::Clock;
use verbatim::config::SecretSource;
use verbatim::schema::MIGRATOR;

use crate::support::app::{Person, TestApp};

/// Returns the number of events of each type for a reply, and the reasons of its failed attempts.
async fn log_of(app: &TestApp, reply: &str) -> (BTreeMap<String, usize>, Vec<String>) {
    let events = app.reply_events(reply).await;
    let mut counts = BTreeMap::new();
    for event in &events {
        *counts.entry(event.clone()).or_default() += 1;
    }
    (counts, events)
}

/// Returns a user's newest conversation with its messages.
async fn newest(app: &TestApp, person: &Person) -> Value {
    let list = app.get("/api/history").by(person).send().await.is(200).value();
    let session = list["items"][0]["session_id"].as_str().unwrap().to_owned();
    app.get(&format!("/api/history/{session}")).by(person).send().await.is(200).value()
}

/// Runs one message whose attempts all fail: the waiting request gets the reason, the log has one end, the message
/// stays.
async fn assert_reply_fails(
    db: &PgPool,
    settings: &[(&str, &str)],
    reason: &str,
    attempts: usize,
    kept: bool,
) {
    let app = TestApp::with(db, settings).await;
    let person = app.person().await;
    let answer = app.post("/api/chat").by(&person).json(&json!({"message": "Hello"})).send().await;
    answer.assert_error(500, "reply_failed");
    assert!(answer.value()["detail"].as_str().unwrap().contains(reason), "{}", answer.text);

    let page = newest(&app, &person).await;
    let items = page["items"].as_array().unwrap();
    assert_eq!((&items[0]["role"], &items[0]["text"]), (&json!("user"), &json!("Hello")));
    let named = json!({"session_id": page["session_id"], "user_message_id": items[0]["message_id"], "reply_id": items[0]["reply_id"]});
    assert_eq!(answer.value()["kept"], named, "the client can continue with these ids");
    assert_eq!(answer.header("location"), format!("/api/replies/{}", items[0]["reply_id"].as_str().unwrap()));
    assert!(answer.position() > 0);
    assert_eq!(items.len(), if kept { 2 } else { 1 }, "{page}");
    if kept {
        assert_eq!((&items[1]["role"], &items[1]["status"]), (&json!("assistant"), &json!("failed")));
        assert!(!items[1]["text"].as_str().unwrap().is_empty());
    }
    let reply = items[0]["reply_id"].as_str().unwrap();
    let provenance = app.get(&format!("/api/replies/{reply}")).by(&person).send().await.is(200).value();
    assert_eq!((&provenance["status"], &provenance["failure"]), (&json!("failed"), &json!(reason)));
    assert_eq!(provenance["attempts"].as_array().unwrap().len(), attempts, "{provenance}");
    let (counts, events) = log_of(&app, reply).await;
    assert_eq!(events.last().unwrap(), "reply_failed");
    assert_eq!((counts["reply_begun"], counts["reply_failed"]), (attempts, 1));
    assert_eq!(counts.get("reply_attempt_failed").copied().unwrap_or_default(), attempts - 1);

    // The reply's stream ends with the same failure, every time it is opened.
    let events = app.get(&format!("/api/chat/stream/{reply}")).by(&person).stream().await.rest().await;
    let last = events.last().unwrap();
    assert_eq!((last.name.as_str(), &last.data["failure"]), ("reply.failed", &json!(reason)));
    assert_eq!(last.data["text"].is_string(), kept);
    app.end().await;
}

/// Runs one message whose first attempts fail: the reply completes, and its provenance lists the failures.
async fn assert_reply_recovers(db: &PgPool, fault: &str, reason: &str, failed: usize) {
    let app = TestApp::with(db, &[("SCRIPTED_FAULT", fault)]).await;
    let person = app.person().await;
    let answer = app.say(&person, None, "Hello").await;
    let reply = answer["reply_id"].as_str().unwrap();
    let provenance = app.get(&format!("/api/replies/{reply}")).by(&person).send().await.is(200).value();
    assert_eq!((&provenance["status"], &provenance["failure"]), (&json!("completed"), &Value::Null));
    let attempts = provenance["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), failed + 1, "{provenance}");
    for (index, attempt) in attempts.iter().enumerate() {
        assert_eq!(attempt["attempt"], index + 1);
        assert!(attempt["plan"]["provider"].is_string() && attempt["begun_at"].is_string());
        let failure = if index < failed { json!(reason) } else { Value::Null };
        assert_eq!(attempt["failure"], failure, "{provenance}");
        assert_eq!(attempt["next_not_before"].is_string(), index < failed);
    }
    assert_eq!(provenance["provider_reply_id"], format!("scripted-{reply}-{}", failed + 1));
    let (counts, _) = log_of(&app, reply).await;
    assert_eq!((counts["reply_attempt_failed"], counts["reply_completed"]), (failed, 1));
    assert_eq!(newest(&app, &person).await["items"].as_array().unwrap().len(), 2);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn permanent_rate_limit_fails_reply(db: PgPool) {
    assert_reply_fails(
        &db,
        &[("SCRIPTED_FAULT", "429"), ("REPLY_MAX_ATTEMPTS", "2")],
        "rate_limited",
        2,
        false,
    )
    .await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn permanent_outage_fails_reply(db: PgPool) {
    assert_reply_fails(
        &db,
        &[("SCRIPTED_FAULT", "500"), ("REPLY_MAX_ATTEMPTS", "2")],
        "provider_unavailable",
        2,
        false,
    )
    .await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn always_truncated_reply_fails_and_keeps_partial_text(db: PgPool) {
    assert_reply_fails(
        &db,
        &[("SCRIPTED_FAULT", "cut"), ("REPLY_MAX_ATTEMPTS", "2")],
        "provider_unavailable",
        2,
        true,
    )
    .await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn always_empty_reply_fails(db: PgPool) {
    assert_reply_fails(&db, &[("SCRIPTED_FAULT", "empty"), ("REPLY_MAX_ATTEMPTS", "2")], "empty", 2, false)
        .await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn endless_reply_is_cut_at_limit_and_not_retried(db: PgPool) {
    assert_reply_fails(&db, &[("SCRIPTED_FAULT", "over-long")], "too_long", 1, true).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn hanging_provider_times_out_and_is_not_retried(db: PgPool) {
    assert_reply_fails(
        &db,
        &[("SCRIPTED_FAULT", "hang"), ("PROVIDER_TOTAL_SECONDS", "1")],
        "timeout",
        1,
        false,
    )
    .await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn short_deadline_leaves_time_for_provider(db: PgPool) {
    let settings = [
        ("REPLY_DEADLINE_SECONDS", "3"),
        ("PROVIDER_TOTAL_SECONDS", "2"),
        ("SCRIPTED_WORDS_PER_SECOND", "40"),
    ];
    let app = TestApp::with(&db, &settings).await;
    let person = app.person().await;
    app.say(&person, None, "Hello").await;
    app.end().await;
    // A hanging provider times out before the deadline.
    let hanging = [settings[0], settings[1], ("SCRIPTED_FAULT", "hang")];
    assert_reply_fails(&db, &hanging, "timeout", 1, false).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn reply_recovers_after_two_rate_limits(db: PgPool) {
    assert_reply_recovers(&db, "429:2", "rate_limited", 2).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn reply_recovers_after_one_server_error(db: PgPool) {
    assert_reply_recovers(&db, "500:1", "provider_unavailable", 1).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn reply_recovers_after_one_empty_attempt(db: PgPool) {
    assert_reply_recovers(&db, "empty:1", "empty", 1).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn reply_recovers_after_one_truncated_attempt(db: PgPool) {
    assert_reply_recovers(&db, "cut:1", "provider_unavailable", 1).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn failed_reply_unblocks_next_message(db: PgPool) {
    let app = TestApp::with(&db, &[("SCRIPTED_FAULT", "cut"), ("REPLY_MAX_ATTEMPTS", "1")]).await;
    let person = app.person().await;
    app.post("/api/chat")
        .by(&person)
        .json(&json!({"message": "One"}))
        .send()
        .await
        .assert_error(500, "reply_failed");
    let session = newest(&app, &person).await["session_id"].clone();
    app.end().await;
    let healthy = TestApp::start(&db).await;
    // The failed reply's partial text is part of the context.
    let answer = healthy.say(&person, session.as_str(), "Two").await;
    assert!(answer["reply"].as_str().unwrap().contains("(2 from you, 1 from me)"), "{answer}");
    healthy.end().await;
}

/// A reply whose deadline passes before any worker sees it.
#[sqlx::test(migrator = "MIGRATOR")]
async fn sweeper_fails_expired_reply_once(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let SecretSource::Given(key) = &app.config.auth.master_key else { panic!("the tests set a master key") };
    let key_store = Arc::new(KeyStore::new(db.clone(), MasterKey::new(key.expose()).unwrap()));
    let tail = LogTail::new(LogReader::new(db.clone(), Arc::clone(&key_store)));
    let executor = Executor::new(db.clone(), key_store, tail, 1 << 20, TaskTracker::new());
    let clock = Clock::system();
    let (owner, now) = (UserId::new(person.id), clock.now());
    let conversation = ConversationId::new(clock.id());
    let message = MessageId::new(clock.id());
    let batch = CommandBatch::new(person.id, Metadata::default())
        .command::<Conversation>(
            conversation,
            ConversationCommand::Start { id: conversation, by: owner, title: None, at: now },
        )
        .command::<Conversation>(
            conversation,
            ConversationCommand::Send {
                message_id: message,
                by: owner,
                text: Personal::Known(MessageText::parse("Too late").unwrap()),
                enclosed: aggregates::conversation::MessageContext::default(),
                reply: Some(ReplyOptions::default()),
                at: now,
                deadline: now,
            },
        );
    executor.run(batch).await.unwrap();
    let reply = ReplyId::of(message).to_string();
    // Two nodes sweep; the reply ends once.
    let other = TestApp::start(&db).await;
    let path = format!("/api/replies/{reply}");
    app.wait_until("the sweeper has ended the reply", async || app.reply_events(&reply).await.len() > 1)
        .await;
    app.wait_for_projections().await;
    let provenance = app.get(&path).by(&person).send().await.is(200).value();
    assert_eq!((&provenance["status"], &provenance["failure"]), (&json!("failed"), &json!("deadline")));
    assert_eq!(app.reply_events(&reply).await, ["reply_requested", "reply_failed"]);
    assert_eq!(newest(&app, &person).await["items"][0]["text"], "Too late");
    assert!(reply.parse::<Uuid>().is_ok());
    other.end().await;
    app.end().await;
}
