//! Open transactions of other sessions, and nodes that freeze inside one, do not delay readers.

use std::time::{Duration, Instant};

use serde_json::json;
use sqlx::{Connection as _, Executor as _, PgConnection, PgPool};
use verbatim::schema::MIGRATOR;

use super::proxied::{Proxied, events_of};
use super::proxy::CutPoint;
use crate::support::app::{Person, TestApp};

/// Maximum delay until a reader sees a change.
const MAX_LAG: Duration = Duration::from_secs(2);
/// How long the other transactions stay open.
const OPEN_TRANSACTION_DURATION: Duration = Duration::from_secs(4);

/// Number of commands at another node while one is frozen, and the bound on their 99th percentile.
const COMMANDS: usize = 200;
const MAX_P99: Duration = Duration::from_millis(500);

/// Renames the conversation; returns the time until the list shows the title.
async fn lag(app: &TestApp, person: &Person, session: &str, title: &str) -> Duration {
    let body = json!({"title": title});
    app.patch(&format!("/api/history/{session}")).by(person).json(&body).send().await.is(200);
    let begun = Instant::now();
    app.wait_until("the list shows the title", async || {
        let list = app.get("/api/history").by(person).send().await.is(200).value();
        list["items"].as_array().unwrap().iter().any(|item| item["title"] == title)
    })
    .await;
    begun.elapsed()
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn transactions_without_appends_do_not_delay_readers(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let session = app.session(&person).await;
    let options = db.connect_options().as_ref().clone();
    let mut here = PgConnection::connect_with(&options).await.unwrap();
    let mut elsewhere = PgConnection::connect_with(&options.database("postgres")).await.unwrap();
    let mut writing = here.begin().await.unwrap();
    let row = "INSERT INTO aggregate_snapshots VALUES ('conversation', 'unknown', 1, '0', '{}')";
    writing.execute(row).await.unwrap();
    let mut other = elsewhere.begin().await.unwrap();
    other.execute("CREATE TEMPORARY TABLE anything ON COMMIT DROP AS SELECT 1").await.unwrap();
    // The lock that an append of another installation on the same server holds.
    other.execute("SELECT pg_advisory_xact_lock_shared(22082::bigint << 48)").await.unwrap();

    let begun = Instant::now();
    let mut round = 0;
    while begun.elapsed() < OPEN_TRANSACTION_DURATION {
        round += 1;
        let lag = lag(&app, &person, &session, &format!("Title {round}")).await;
        assert!(lag < MAX_LAG, "readers are {lag:?} behind in round {round}");
    }
    app.session(&person).await;
    writing.rollback().await.unwrap();
    other.rollback().await.unwrap();
    here.close().await.unwrap();
    elsewhere.close().await.unwrap();
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn node_frozen_with_locked_rows_does_not_delay_others(db: PgPool) {
    let stuck = Proxied::start(&db, &[]).await;
    let person = stuck.app.person().await;
    let session = stuck.app.session(&person).await;
    stuck.app.wait_for_projections().await;
    let other = TestApp::start(&db).await;
    let held = async || {
        sqlx::query_scalar::<_, bool>(
            "SELECT EXISTS (SELECT FROM pg_stat_activity
                            WHERE datname = current_database() AND state = 'idle in transaction')",
        )
        .fetch_one(&db)
        .await
        .unwrap()
    };
    let others = async {
        stuck.app.wait_until("a projection freezes in its transaction", held).await;
        for round in 0..5 {
            let lag = lag(&other, &person, &session, &format!("Title {round}")).await;
            assert!(lag < MAX_LAG, "readers are {lag:?} behind in round {round}");
        }
        other.session(&person).await;
    };
    // One of its projections has written its rows and freezes before the commit.
    stuck.proxy.cut_at("COMMIT", CutPoint::FreezeBefore, 1);
    let body = json!({"title": "Last title"});
    let begins = stuck.app.patch(&format!("/api/history/{session}")).by(&person).json(&body).send();
    futures::join!(begins, others);
    stuck.proxy.thaw();
    stuck
        .app
        .wait_until("the node serves again", async || stuck.app.get("/health").send().await.status == 200)
        .await;
    stuck.app.session(&person).await;
    other.end().await;
    stuck.app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn node_frozen_before_commit_response_holds_no_lock(db: PgPool) {
    let stuck = Proxied::start(&db, &[]).await;
    let person = stuck.app.person().await;
    let session = stuck.app.session(&person).await;
    stuck.app.wait_for_projections().await;
    let other = TestApp::start(&db).await;
    let path = format!("/api/history/{session}");
    let rename = async |app: &TestApp, title: &str| {
        let call = app.patch(&path).by(&person).key(title).header("x-request-id", &format!("by-{title}"));
        call.json(&json!({"title": title})).send().await
    };
    // The statement reaches the server and the response is lost. A lock that needs another statement of the client to be
    // released would be held until then.
    stuck.proxy.cut_at("by-unanswered", CutPoint::FreezeAfter, 1);
    let others = async {
        let arrived = async || events_of(&db, "by-unanswered").await.len() == 1;
        other.wait_until("the command is in the log", arrived).await;
        let mut times = Vec::new();
        for number in 0..COMMANDS {
            let begun = Instant::now();
            rename(&other, &format!("title-{number}")).await.is(200);
            times.push(begun.elapsed());
        }
        times.sort();
        times[COMMANDS * 99 / 100]
    };
    let (unknown, p99) = futures::join!(rename(&stuck.app, "unanswered"), others);
    assert!(p99 < MAX_P99, "99 of 100 commands took up to {p99:?}");
    unknown.assert_error(503, "unavailable");
    stuck.proxy.thaw();
    stuck
        .app
        .wait_until("the node serves again", async || stuck.app.get("/health").send().await.status == 200)
        .await;
    rename(&stuck.app, "unanswered").await.is(200);
    assert_eq!(events_of(&db, "by-unanswered").await, ["conversation_renamed"]);
    other.end().await;
    stuck.app.end().await;
}
