//! Others' open transactions, and nodes that stand still in the middle of one, do not hold readers up.

use std::time::{Duration, Instant};

use serde_json::json;
use sqlx::{Connection as _, Executor as _, PgConnection, PgPool};
use verbatim::bootstrap::database::MIGRATOR;

use super::proxied::{Proxied, events_of};
use super::proxy::When;
use crate::support::app::{Person, TestApp};

/// How far readers may be behind.
const LAG: Duration = Duration::from_secs(2);
/// How long the others' transactions stay open.
const OPEN: Duration = Duration::from_secs(4);

/// Commands at another node while one stands still, and how long 99 of 100 of them may take.
const COMMANDS: usize = 200;
const P99: Duration = Duration::from_millis(500);

/// Renames the conversation; gives the time until the list shows it.
async fn lag(app: &TestApp, person: &Person, session: &str, title: &str) -> Duration {
    let body = json!({"title": title});
    app.patch(&format!("/api/history/{session}")).by(person).json(&body).send().await.is(200);
    let begun = Instant::now();
    app.until("the list shows it", async || {
        let list = app.get("/api/history").by(person).send().await.is(200).value();
        list["items"].as_array().unwrap().iter().any(|item| item["title"] == title)
    })
    .await;
    begun.elapsed()
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn transactions_that_append_nothing_do_not_hold_readers_up(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let session = app.session(&person).await;
    let options = db.connect_options().as_ref().clone();
    let mut here = PgConnection::connect_with(&options).await.unwrap();
    let mut elsewhere = PgConnection::connect_with(&options.database("postgres")).await.unwrap();
    let mut writing = here.begin().await.unwrap();
    let row = "INSERT INTO aggregate_snapshots VALUES ('conversation', 'of nobody', 1, '0', '{}')";
    writing.execute(row).await.unwrap();
    let mut other = elsewhere.begin().await.unwrap();
    other.execute("CREATE TEMPORARY TABLE anything ON COMMIT DROP AS SELECT 1").await.unwrap();
    // What an append of another installation on the same server holds.
    other.execute("SELECT pg_advisory_xact_lock_shared(22082::bigint << 48)").await.unwrap();

    let begun = Instant::now();
    let mut round = 0;
    while begun.elapsed() < OPEN {
        round += 1;
        let lag = lag(&app, &person, &session, &format!("Title {round}")).await;
        assert!(lag < LAG, "readers are {lag:?} behind in round {round}");
    }
    app.session(&person).await;
    writing.rollback().await.unwrap();
    other.rollback().await.unwrap();
    here.close().await.unwrap();
    elsewhere.close().await.unwrap();
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_node_that_stands_still_with_rows_locked_is_passed_over(db: PgPool) {
    let stuck = Proxied::start(&db, &[]).await;
    let person = stuck.app.person().await;
    let session = stuck.app.session(&person).await;
    stuck.app.caught_up().await;
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
    let passed_over = async {
        stuck.app.until("a read model stands still in its transaction", held).await;
        for round in 0..5 {
            let lag = lag(&other, &person, &session, &format!("Title {round}")).await;
            assert!(lag < LAG, "readers are {lag:?} behind in round {round}");
        }
        other.session(&person).await;
    };
    // One of its read models has written its rows and does not come to the commit.
    stuck.proxy.cut_at("COMMIT", When::StandsStill, 1);
    let body = json!({"title": "The last word"});
    let begins = stuck.app.patch(&format!("/api/history/{session}")).by(&person).json(&body).send();
    futures::join!(begins, passed_over);
    stuck.proxy.thaw();
    stuck.app.until("it serves again", async || stuck.app.get("/health").send().await.status == 200).await;
    stuck.app.session(&person).await;
    other.end().await;
    stuck.app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_node_that_stands_still_before_it_learns_of_its_commit_holds_no_lock(db: PgPool) {
    let stuck = Proxied::start(&db, &[]).await;
    let person = stuck.app.person().await;
    let session = stuck.app.session(&person).await;
    stuck.app.caught_up().await;
    let other = TestApp::start(&db).await;
    let path = format!("/api/history/{session}");
    let rename = async |app: &TestApp, title: &str| {
        let call = app.patch(&path).by(&person).key(title).header("x-request-id", &format!("by-{title}"));
        call.json(&json!({"title": title})).send().await
    };
    // Its statement comes to the server, and no answer comes back: a lock that is given back by a later word of the
    // client would be held until then.
    stuck.proxy.cut_at("by-unanswered", When::ThenStandsStill, 1);
    let others = async {
        let arrived = async || events_of(&db, "by-unanswered").await.len() == 1;
        other.until("the command is in the log", arrived).await;
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
    assert!(p99 < P99, "99 of 100 commands took up to {p99:?}");
    unknown.refused(503, "unavailable");
    stuck.proxy.thaw();
    stuck.app.until("it serves again", async || stuck.app.get("/health").send().await.status == 200).await;
    rename(&stuck.app, "unanswered").await.is(200);
    assert_eq!(events_of(&db, "by-unanswered").await, ["conversation_renamed"]);
    other.end().await;
    stuck.app.end().await;
}
