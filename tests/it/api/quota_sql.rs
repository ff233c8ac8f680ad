//! Tests the SQL that counts quotas and throttled requests, without a server: row locks, windows, clock changes.

use std::sync::Arc;
use std::time::Duration;

use event_store::{AppendCharge, AppendError, AppendOutcome, AppendRequest, CommandKey, append_all};
use futures::future::join_all;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection, PgPool};
use tokio_util::task::TaskTracker;
use uuid::Uuid;
use verbatim::schema::MIGRATOR;

const FIRST: Uuid = Uuid::from_u128(1);
const SECOND: Uuid = Uuid::from_u128(2);
const NOW: &str = "extract(epoch FROM clock_timestamp())";

/// Builds an append that has nothing but an idempotency key and a quota charge.
fn request(key: Option<&str>, user: Option<Uuid>) -> Arc<AppendRequest> {
    let key = key.map(|key| {
        let key = CommandKey { owner: FIRST.to_string(), key: key.to_owned(), fingerprint: [7; 32] };
        (key, json!({}))
    });
    let charge = user.map(|user| AppendCharge { user, entries: json!({"rates": [["user", 1_000_000]]}) });
    Arc::new(AppendRequest { key, charge, metadata: "{}".to_owned(), ..AppendRequest::default() })
}

async fn connection(db: &PgPool) -> PgConnection {
    PgConnection::connect_with(&db.connect_options()).await.unwrap()
}

/// Appends a group in one statement, on a connection of its own.
async fn append_group(
    db: &PgPool,
    requests: Vec<Arc<AppendRequest>>,
) -> Result<Vec<Result<AppendOutcome, AppendError>>, AppendError> {
    append_all(&mut connection(db).await, &requests).await
}

/// Waits until this many sessions of this database are blocked on a lock.
async fn wait_for_blocked_sessions(db: &PgPool, sessions: i64) {
    let reached = async {
        loop {
            let blocked: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
            )
            .fetch_one(db)
            .await
            .unwrap();
            if blocked >= sessions {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reached).await.expect("no session is blocked on a lock");
}

async fn create_quota_rows(db: &PgPool) {
    for user in [FIRST, SECOND] {
        append_group(db, vec![request(None, Some(user))]).await.unwrap();
    }
}

/// While a group waits for its first quota row it holds no other lock.
#[sqlx::test(migrator = "MIGRATOR")]
async fn append_group_locks_quota_rows_in_order_before_keys(db: PgPool) {
    create_quota_rows(&db).await;
    let mut holder = connection(&db).await;
    let mut held = holder.begin().await.unwrap();
    sqlx::query("SELECT FROM user_quotas WHERE user_id = $1 FOR UPDATE")
        .bind(FIRST)
        .execute(&mut *held)
        .await
        .unwrap();
    // The first append has a key and no charge, the second is charged to another user, the third blocks.
    let requests =
        vec![request(Some("a"), None), request(Some("b"), Some(SECOND)), request(Some("c"), Some(FIRST))];
    let waits = TaskTracker::new().spawn({
        let db = db.clone();
        async move { append_group(&db, requests).await }
    });
    wait_for_blocked_sessions(&db, 1).await;
    let mut other = connection(&db).await;
    sqlx::query("SET lock_timeout = '2s'").execute(&mut other).await.unwrap();
    sqlx::query("SELECT FROM user_quotas WHERE user_id = $1 FOR UPDATE NOWAIT")
        .bind(SECOND)
        .execute(&mut other)
        .await
        .expect("the later row is unlocked");
    let kept = append_all(&mut other, &[request(Some("a"), None)]).await.expect("the key is unlocked");
    assert!(matches!(kept[..], [Ok(AppendOutcome::Appended { .. })]), "{kept:?}");
    held.commit().await.unwrap();
    let outcomes = waits.await.unwrap().unwrap();
    assert!(matches!(outcomes[0], Ok(AppendOutcome::Replayed(_))), "{outcomes:?}");
    assert!(
        matches!(outcomes[1..], [Ok(AppendOutcome::Appended { .. }), Ok(AppendOutcome::Appended { .. })]),
        "{outcomes:?}"
    );
}

/// Groups that use the same keys and users in opposite order: every append is recorded or replayed, and no
/// transaction is aborted.
#[sqlx::test(migrator = "MIGRATOR")]
async fn concurrent_append_groups_never_deadlock(db: PgPool) {
    create_quota_rows(&db).await;
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
            let outcomes = append_all(&mut connection, &group).await.expect("no deadlock");
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

/// Returns whether an attempt is allowed.
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
async fn concurrent_attempts_are_counted_exactly(db: PgPool) {
    let passed = join_all((0..60).map(|_| attempt(&db, 17.0))).await;
    assert_eq!(passed.iter().filter(|passed| **passed).count(), 17);
}

/// An attempt that starts before the window moves, and blocks on the transaction that moves it, counts in the new
/// window.
#[sqlx::test(migrator = "MIGRATOR")]
async fn blocked_attempt_counts_in_current_window(db: PgPool) {
    assert!(attempt(&db, 5.0).await);
    let mut holder = connection(&db).await;
    let mut held = holder.begin().await.unwrap();
    sqlx::query("SELECT FROM rate_limit_buckets FOR UPDATE").execute(&mut *held).await.unwrap();
    let waits = TaskTracker::new().spawn({
        let db = db.clone();
        async move { attempt(&db, 5.0).await }
    });
    wait_for_blocked_sessions(&db, 1).await;
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

/// A clock set back by less than a window grants no fresh window; after a larger correction counting starts again.
#[sqlx::test(migrator = "MIGRATOR")]
async fn clock_set_back_grants_no_fresh_window(db: PgPool) {
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
