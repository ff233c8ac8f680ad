//! Allowances and attempts as the database counts them, without a node: locks, windows, clocks.

use std::sync::Arc;
use std::time::Duration;

use event_store::{AppendError, AppendOutcome, AppendRequest, CommandKey, QuotaEntries, append_all};
use futures::future::join_all;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection, PgPool};
use tokio_util::task::TaskTracker;
use uuid::Uuid;
use verbatim::bootstrap::database::MIGRATOR;

const FIRST: Uuid = Uuid::from_u128(1);
const SECOND: Uuid = Uuid::from_u128(2);
const NOW: &str = "extract(epoch FROM clock_timestamp())";

/// An append with nothing but a key and a charge.
fn request(key: Option<&str>, user: Option<Uuid>) -> Arc<AppendRequest> {
    let key = key.map(|key| {
        let key = CommandKey { owner: FIRST.to_string(), key: key.to_owned(), fingerprint: [7; 32] };
        (key, json!({}))
    });
    let charge = user.map(|user| QuotaEntries { user, entries: json!({"rates": [["user", 1_000_000]]}) });
    Arc::new(AppendRequest { key, charge, metadata: "{}".to_owned(), ..AppendRequest::default() })
}

async fn connection(db: &PgPool) -> PgConnection {
    PgConnection::connect_with(&db.connect_options()).await.unwrap()
}

/// One statement's group, on a connection of its own.
async fn group(
    db: &PgPool,
    requests: Vec<Arc<AppendRequest>>,
) -> Result<Vec<Result<AppendOutcome, AppendError>>, AppendError> {
    append_all(&mut connection(db).await, &requests).await
}

/// Waits until so many sessions of this database wait for a lock.
async fn waiting(db: &PgPool, sessions: i64) {
    let reached = async {
        loop {
            let waiting: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
            )
            .fetch_one(db)
            .await
            .unwrap();
            if waiting >= sessions {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reached).await.expect("nobody waits");
}

async fn make_rows(db: &PgPool) {
    for user in [FIRST, SECOND] {
        group(db, vec![request(None, Some(user))]).await.unwrap();
    }
}

/// A group waits for its rows with nothing else in its hands.
#[sqlx::test(migrator = "MIGRATOR")]
async fn a_group_locks_all_rows_in_one_order_before_any_key(db: PgPool) {
    make_rows(&db).await;
    let mut holder = connection(&db).await;
    let mut held = holder.begin().await.unwrap();
    sqlx::query("SELECT FROM user_quotas WHERE user_id = $1 FOR UPDATE")
        .bind(FIRST)
        .execute(&mut *held)
        .await
        .unwrap();
    // Its first append has a key and is charged nothing, its second one is charged to somebody else, its third waits.
    let requests =
        vec![request(Some("a"), None), request(Some("b"), Some(SECOND)), request(Some("c"), Some(FIRST))];
    let waits = TaskTracker::new().spawn({
        let db = db.clone();
        async move { group(&db, requests).await }
    });
    waiting(&db, 1).await;
    let mut other = connection(&db).await;
    sqlx::query("SET lock_timeout = '2s'").execute(&mut other).await.unwrap();
    sqlx::query("SELECT FROM user_quotas WHERE user_id = $1 FOR UPDATE NOWAIT")
        .bind(SECOND)
        .execute(&mut other)
        .await
        .expect("the later row is free");
    let kept = append_all(&mut other, &[request(Some("a"), None)]).await.expect("the key is free");
    assert!(matches!(kept[..], [Ok(AppendOutcome::Appended { .. })]), "{kept:?}");
    held.commit().await.unwrap();
    let outcomes = waits.await.unwrap().unwrap();
    assert!(matches!(outcomes[0], Ok(AppendOutcome::Replayed(_))), "{outcomes:?}");
    assert!(
        matches!(outcomes[1..], [Ok(AppendOutcome::Appended { .. }), Ok(AppendOutcome::Appended { .. })]),
        "{outcomes:?}"
    );
}

/// Two groups with the same keys and people, in turns: each is written or told that its key was used, and none is given up.
#[sqlx::test(migrator = "MIGRATOR")]
async fn groups_never_wait_for_each_other_in_a_circle(db: PgPool) {
    make_rows(&db).await;
    let run = async |forward: bool| {
        let mut connection = connection(&db).await;
        for round in 0..100 {
            let (first, second) = (format!("{round} a"), format!("{round} b"));
            let group = if forward {
                vec![
                    request(None, Some(FIRST)),
                    request(Some(&first), None),
                    request(Some(&second), Some(SECOND)),
                ]
            } else {
                vec![
                    request(None, Some(SECOND)),
                    request(Some(&first), None),
                    request(Some(&second), Some(FIRST)),
                ]
            };
            let outcomes = append_all(&mut connection, &group).await.expect("no circle");
            assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
        }
    };
    tokio::join!(run(true), run(false), run(true), run(false));
    let deadlocks: i64 =
        sqlx::query_scalar("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
            .fetch_one(&db)
            .await
            .unwrap();
    assert_eq!(deadlocks, 0);
}

/// Whether an attempt is let through.
async fn attempt(db: &PgPool, quota: f64) -> bool {
    let wait: f64 =
        sqlx::query_scalar("SELECT rate_limit_consume(ARRAY['here'], ARRAY[$1], ARRAY[60.0::float8])")
            .bind(quota)
            .fetch_one(&mut connection(db).await)
            .await
            .unwrap();
    wait <= 0.0
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn attempts_of_many_connections_are_counted_exactly(db: PgPool) {
    let passed = join_all((0..60).map(|_| attempt(&db, 17.0))).await;
    assert_eq!(passed.iter().filter(|passed| **passed).count(), 17);
}

/// Who came before a window moved, and waited for whoever moved it, is counted in the new one.
#[sqlx::test(migrator = "MIGRATOR")]
async fn an_attempt_that_waited_is_no_older_than_the_window(db: PgPool) {
    assert!(attempt(&db, 5.0).await);
    let mut holder = connection(&db).await;
    let mut held = holder.begin().await.unwrap();
    sqlx::query("SELECT FROM rate_limit_buckets FOR UPDATE").execute(&mut *held).await.unwrap();
    let waits = TaskTracker::new().spawn({
        let db = db.clone();
        async move { attempt(&db, 5.0).await }
    });
    waiting(&db, 1).await;
    sqlx::query(&format!("UPDATE rate_limit_buckets SET window_start = {NOW}, current_count = 5"))
        .execute(&mut *held)
        .await
        .unwrap();
    held.commit().await.unwrap();
    assert!(!waits.await.unwrap(), "the window is full");
    let taken: f64 =
        sqlx::query_scalar("SELECT current_count FROM rate_limit_buckets").fetch_one(&db).await.unwrap();
    assert!((taken - 5.0).abs() < f64::EPSILON, "{taken}");
}

/// A clock that is put back a little gives nobody a fresh window; one that was wrong by more begins anew.
#[sqlx::test(migrator = "MIGRATOR")]
async fn a_clock_that_is_put_back_gives_nothing_away(db: PgPool) {
    let rate = async || -> Option<Value> {
        sqlx::query_scalar("SELECT rejection FROM quota_consume($1, '{\"rates\": [[\"user\", 3]]}')")
            .bind(FIRST)
            .fetch_one(&db)
            .await
            .unwrap()
    };
    assert!(attempt(&db, 3.0).await);
    assert_eq!(rate().await, None);
    for (ahead, passes) in [(30, false), (59, false), (300, true)] {
        let row = format!(
            "UPDATE rate_limit_buckets SET window_start = {NOW} + {ahead}, current_count = 3, previous_count = 0"
        );
        sqlx::query(&row).execute(&db).await.unwrap();
        let row = format!(
            "UPDATE user_quotas SET window_starts = ARRAY[{NOW} + {ahead}], current_counts = '{{3}}', previous_counts = '{{0}}'"
        );
        sqlx::query(&row).execute(&db).await.unwrap();
        assert_eq!(attempt(&db, 3.0).await, passes, "{ahead}");
        assert_eq!(rate().await.is_none(), passes, "{ahead}");
    }
}
