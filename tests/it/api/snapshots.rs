//! Tests snapshots of long conversations: written outside the write path, used when an aggregate is not cached,
//! ignored if another code version wrote them.

use std::sync::Arc;

use aggregates::Personal;
use aggregates::conversation::{Conversation, ConversationCommand};
use aggregates::ids::{ConversationId, UserId};
use aggregates::values::Title;
use event_store::{CommandBatch, Executor, KeyStore, LogReader, LogTail, MasterKey, Metadata};
use serde_json::json;
use sqlx::PgPool;
use tokio_util::task::TaskTracker;
use verbatim::clock::Clock;
use verbatim::config::SecretSource;
use verbatim::schema::MIGRATOR;

use crate::support::app::TestApp;

/// Returns an executor with an empty cache, and the tracker of its snapshot tasks.
fn executor(app: &TestApp) -> (Executor, TaskTracker) {
    let SecretSource::Given(key) = &app.config.auth.master_key else { panic!("the tests set a master key") };
    let key_store = Arc::new(KeyStore::new(app.db.clone(), MasterKey::new(key.expose()).unwrap()));
    let tail = LogTail::new(LogReader::new(app.db.clone(), Arc::clone(&key_store)));
    let tasks = TaskTracker::new();
    (Executor::new(app.db.clone(), key_store, tail, 1 << 20, tasks.clone()), tasks)
}

async fn load_uncached(app: &TestApp, session: &str) -> Conversation {
    executor(app).0.state::<Conversation>(session).await.unwrap()
}

async fn snapshot(db: &PgPool) -> Option<(i64, String)> {
    sqlx::query_as(
        "SELECT sequence, code_version FROM aggregate_snapshots WHERE aggregate_type = 'conversation'",
    )
    .fetch_optional(db)
    .await
    .unwrap()
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn snapshot_load_equals_full_replay(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let session = app.session(&person).await;
    assert_eq!(snapshot(&db).await, None);

    // About five hundred events in one append, and a few more over the API.
    let (writer, tasks) = executor(&app);
    let clock = Clock::system();
    let conversation: ConversationId = session.parse().unwrap();
    let mut batch = CommandBatch::new(person.id, Metadata::default());
    for number in 0..510 {
        let title = Personal::Known(Title::parse(&format!("Title {number}")).unwrap());
        let by = UserId::new(person.id);
        batch = batch.command::<Conversation>(
            conversation,
            ConversationCommand::Rename { by, title, at: clock.now() },
        );
    }
    writer.run(batch).await.unwrap();
    tasks.close();
    tasks.wait().await;
    let (sequence, version) = snapshot(&db).await.expect("a snapshot");
    assert!(sequence > 500, "{sequence}");
    app.say(&person, Some(&session), "After the snapshot").await;
    let pin = app.patch(&format!("/api/history/{session}")).by(&person).json(&json!({"pinned": true}));
    pin.send().await.is(200);

    let loaded = load_uncached(&app, &session).await;
    assert!(loaded.is_pinned() && !loaded.is_deleted());
    // A flag set only in the snapshot shows that the snapshot is read: no later event clears it.
    let set_archived_in_snapshot = |version: &str| {
        sqlx::query(
            "UPDATE aggregate_snapshots SET code_version = $1,
                    state = jsonb_set(state::jsonb, '{started,archived}', 'true')::json",
        )
        .bind(version.to_owned())
        .execute(&db)
    };
    set_archived_in_snapshot(&version).await.unwrap();
    assert!(load_uncached(&app, &session).await.is_archived(), "the snapshot was not read");
    // A snapshot of another code version is not read.
    set_archived_in_snapshot("of another version").await.unwrap();
    assert_eq!(load_uncached(&app, &session).await, loaded);
    sqlx::query("DELETE FROM aggregate_snapshots").execute(&db).await.unwrap();
    assert_eq!(load_uncached(&app, &session).await, loaded, "the replay gives another state");
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn snapshot_of_other_version_is_replaced(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let session = app.session(&person).await;
    sqlx::query(
        "INSERT INTO aggregate_snapshots (aggregate_type, aggregate_id, sequence, code_version, state)
         VALUES ('conversation', $1, 900, 'of another version', '{\"nonsense\": true}')",
    )
    .bind(&session)
    .execute(&db)
    .await
    .unwrap();
    let (writer, tasks) = executor(&app);
    let clock = Clock::system();
    let conversation: ConversationId = session.parse().unwrap();
    let mut batch = CommandBatch::new(person.id, Metadata::default());
    for number in 0..500 {
        let (by, at) = (UserId::new(person.id), clock.now());
        let pinned = number % 2 == 0;
        batch =
            batch.command::<Conversation>(conversation, ConversationCommand::SetPinned { by, pinned, at });
    }
    writer.run(batch).await.unwrap();
    tasks.close();
    tasks.wait().await;
    let (sequence, version) = snapshot(&db).await.expect("a snapshot");
    assert!((500..600).contains(&sequence) && version != "of another version", "{sequence} {version}");
    app.say(&person, Some(&session), "Still there").await;
    app.end().await;
}
