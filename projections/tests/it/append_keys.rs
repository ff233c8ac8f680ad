//! Idempotency keys in the append: every repetition returns the first outcome, concurrent ones too.

use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use crate::support::{Append, Appended, code, until};

fn first() -> Append {
    Append::pins(Uuid::from_u128(1), 0, 2).keyed("ada", "k1", b"body", json!({"status": 201}))
}

/// The same request decided on a later state; it would append other events.
fn repeated() -> Append {
    Append::pins(Uuid::from_u128(1), 2, 1).keyed("ada", "k1", b"body", json!({"status": 200}))
}

fn first_outcome() -> Appended {
    Appended {
        replayed: true,
        stored_fingerprint: Some(b"body".to_vec()),
        stored_result: Some(json!({"status": 201})),
        positions: vec![2],
    }
}

async fn events(pool: &PgPool) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM events").fetch_one(pool).await.unwrap()
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn repeated_key_returns_first_outcome_and_appends_nothing(pool: PgPool) {
    let appended = first().run(&pool).await.unwrap();
    assert_eq!(
        appended,
        Appended { replayed: false, stored_fingerprint: None, stored_result: None, positions: vec![1, 2] }
    );
    assert_eq!(repeated().run(&pool).await.unwrap(), first_outcome());
    // Also if the repetition would conflict, because it was decided on the state before the first append.
    assert_eq!(first().run(&pool).await.unwrap(), first_outcome());
    assert_eq!(events(&pool).await, 2);
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn reused_key_with_other_body_returns_stored_fingerprint(pool: PgPool) {
    first().run(&pool).await.unwrap();
    let other = Append::pins(Uuid::from_u128(2), 0, 1).keyed("ada", "k1", b"other body", json!({}));
    assert_eq!(other.run(&pool).await.unwrap(), first_outcome());
    assert_eq!(events(&pool).await, 2);
    // Keys are per owner: the same key of another owner is independent.
    let other = Append::pins(Uuid::from_u128(2), 0, 1).keyed("eve", "k1", b"other body", json!({}));
    assert!(!other.run(&pool).await.unwrap().replayed);
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn key_of_command_without_events_is_stored(pool: PgPool) {
    let nothing = Append::default().keyed("ada", "k2", b"body", json!({"status": 200}));
    assert_eq!(nothing.run(&pool).await.unwrap().positions, [0_i64; 0]);
    let again = nothing.run(&pool).await.unwrap();
    assert!(again.replayed);
    assert_eq!((again.stored_result, again.positions), (Some(json!({"status": 200})), Vec::new()));
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn failed_append_leaves_its_key_unused(pool: PgPool) {
    assert_eq!(code(repeated().run(&pool).await), "VB001");
    assert!(!first().run(&pool).await.unwrap().replayed);
}

/// Uses the key again while the first append is open; returns the outcome after the first commits or rolls back.
async fn concurrent(pool: &PgPool, commit: bool) -> Appended {
    let mut transaction = pool.begin().await.unwrap();
    first().run(&mut *transaction).await.unwrap();
    let second = first();
    let duplicate = second.run(pool);
    let ending = async {
        until(pool, "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'transactionid' AND NOT granted)")
            .await;
        if commit {
            transaction.commit().await.unwrap();
        } else {
            transaction.rollback().await.unwrap();
        }
    };
    let (duplicate, ()) = tokio::join!(duplicate, ending);
    duplicate.unwrap()
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn concurrent_duplicate_waits_and_returns_first_outcome(pool: PgPool) {
    assert_eq!(concurrent(&pool, true).await, first_outcome());
    assert_eq!(events(&pool).await, 2);
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn concurrent_duplicate_proceeds_after_rollback_of_first(pool: PgPool) {
    let second = concurrent(&pool, false).await;
    assert!(!second.replayed);
    assert_eq!(second.positions, [3, 4]);
    assert_eq!(events(&pool).await, 2);
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn key_is_reusable_after_a_day(pool: PgPool) {
    async fn age(pool: &PgPool, by: &str) {
        sqlx::query(&format!("UPDATE command_keys SET created_at = clock_timestamp() - interval '{by}'"))
            .execute(pool)
            .await
            .unwrap();
    }
    first().run(&pool).await.unwrap();
    age(&pool, "23 hours 59 minutes").await;
    assert!(repeated().run(&pool).await.unwrap().replayed);
    age(&pool, "24 hours 1 second").await;
    let taken_over = repeated().run(&pool).await.unwrap();
    assert!(!taken_over.replayed);
    assert_eq!(taken_over.positions, [3]);
    let again = repeated().run(&pool).await.unwrap();
    assert_eq!((again.stored_result, again.positions), (Some(json!({"status": 200})), vec![3]));
}
