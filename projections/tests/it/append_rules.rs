//! Rules that the database enforces: append-only, no gaps, no lost race, no asynchronous commit.

use event_store::TransactionalWrite;
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

use crate::support::{Append, code};

const STREAM: Uuid = Uuid::from_u128(1);

fn user_key(user: Uuid) -> Value {
    let arguments = [("user_id", json!(user)), ("master_id", json!("m")), ("wrapped", json!("AQID"))];
    TransactionalWrite::new("user_key_insert", arguments).to_json()
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn log_is_immutable_even_for_its_owner(pool: PgPool) {
    Append::pins(STREAM, 0, 2).run(&pool).await.unwrap();
    let before: Vec<String> =
        sqlx::query_scalar("SELECT e::text FROM events e ORDER BY position").fetch_all(&pool).await.unwrap();
    let mut owner = pool.acquire().await.unwrap();
    for role in ["origin", "replica"] {
        sqlx::query(&format!("SET session_replication_role = {role}")).execute(&mut *owner).await.unwrap();
        for change in [
            "UPDATE events SET payload = '{}'",
            "UPDATE events SET event_type = 'x' WHERE false",
            "DELETE FROM events",
            "TRUNCATE events",
        ] {
            let rejected = sqlx::query(change).execute(&mut *owner).await;
            assert_eq!(code(rejected), "42501", "{change} under {role}");
        }
    }
    let after: Vec<String> =
        sqlx::query_scalar("SELECT e::text FROM events e ORDER BY position").fetch_all(&pool).await.unwrap();
    assert_eq!(before, after);
    assert_eq!(before.len(), 2);
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn positions_increase_in_event_order(pool: PgPool) {
    let other = Uuid::from_u128(2);
    let appended = Append::pins(STREAM, 0, 3).and_pins(other, 0, 2).run(&pool).await.unwrap();
    assert_eq!(appended.positions, [1, 2, 3, 4, 5]);
    assert!(!appended.replayed);
    let stored: Vec<(String, i64)> =
        sqlx::query_as("SELECT aggregate_id, sequence FROM events ORDER BY position")
            .fetch_all(&pool)
            .await
            .unwrap();
    let expected: Vec<(String, i64)> = [(STREAM, 1), (STREAM, 2), (STREAM, 3), (other, 1), (other, 2)]
        .map(|(stream, sequence)| (stream.to_string(), sequence))
        .into();
    assert_eq!(stored, expected);
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn wrong_expected_version_is_a_conflict(pool: PgPool) {
    Append::pins(STREAM, 0, 2).run(&pool).await.unwrap();
    for expected in [0, 1, 3] {
        assert_eq!(
            code(Append::pins(STREAM, expected, 1).run(&pool).await),
            "VB001",
            "expected version {expected}"
        );
    }
    // A stream that is only checked counts, too, and its conflict rejects the events of the other stream.
    let other = Append::pins(Uuid::from_u128(2), 0, 1).and_pins(STREAM, 1, 0);
    assert_eq!(code(other.run(&pool).await), "VB001");
    Append::pins(Uuid::from_u128(2), 0, 1).and_pins(STREAM, 2, 0).run(&pool).await.unwrap();
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn append_with_sequence_gap_is_rejected(pool: PgPool) {
    Append::pins(STREAM, 0, 1).run(&pool).await.unwrap();
    let mut skipping = Append::pins(STREAM, 1, 2);
    skipping.events[1].sequence = 4;
    let mut first_skipped = Append::pins(STREAM, 1, 1);
    first_skipped.events[0].sequence = 3;
    let mut backwards = Append::pins(STREAM, 1, 2);
    backwards.events.reverse();
    let mut unchecked = Append::pins(STREAM, 1, 1);
    unchecked.checks.clear();
    for (name, append) in [
        ("skipping", skipping),
        ("first skipped", first_skipped),
        ("backwards", backwards),
        ("unchecked", unchecked),
    ] {
        assert_eq!(code(append.run(&pool).await), "VB005", "{name}");
    }
    let sequences: Vec<i64> =
        sqlx::query_scalar("SELECT sequence FROM events ORDER BY position").fetch_all(&pool).await.unwrap();
    assert_eq!(sequences, [1]);
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn second_of_two_open_appends_to_one_version_fails(pool: PgPool) {
    let mut first = pool.begin().await.unwrap();
    let append = Append::pins(STREAM, 0, 1);
    append.run(&mut *first).await.unwrap();
    let waiting = async {
        // The check cannot see the other append yet; the primary key makes this one wait for it.
        append.run(&pool).await
    };
    let committing = async {
        crate::support::until(
            &pool,
            "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'transactionid' AND NOT granted)",
        )
        .await;
        first.commit().await.unwrap();
    };
    let (second, ()) = tokio::join!(waiting, committing);
    let error = second.unwrap_err();
    let error = error.as_database_error().unwrap();
    assert_eq!((error.code().as_deref(), error.constraint()), (Some("23505"), Some("events_pkey")));
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn append_with_asynchronous_commit_is_rejected(pool: PgPool) {
    let mut transaction = pool.begin().await.unwrap();
    sqlx::query("SET LOCAL synchronous_commit = off").execute(&mut *transaction).await.unwrap();
    assert_eq!(code(Append::pins(STREAM, 0, 1).run(&mut *transaction).await), "VB002");
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn side_writes_commit_and_roll_back_with_events(pool: PgPool) {
    let user = Uuid::from_u128(9);
    let mut append = Append::pins(STREAM, 0, 1);
    append.side_writes = vec![user_key(user), TransactionalWrite::new("nonsense", []).to_json()];
    assert_eq!(code(append.run(&pool).await), "VB003");
    append.side_writes.pop();
    append.run(&pool).await.unwrap();
    let keys: Vec<(Uuid, String, Vec<u8>)> =
        sqlx::query_as("SELECT user_id, master_id, wrapped FROM user_keys").fetch_all(&pool).await.unwrap();
    assert_eq!(keys, [(user, "m".to_owned(), vec![1, 2, 3])]);

    // A conflict on the stream rolls the key back, and a conflict on the key rolls the events back.
    append.side_writes = vec![user_key(Uuid::from_u128(10))];
    assert_eq!(code(append.run(&pool).await), "VB001");
    let mut again = Append::pins(Uuid::from_u128(2), 0, 1);
    again.side_writes = vec![user_key(user)];
    let error = again.run(&pool).await.unwrap_err();
    assert_eq!(error.as_database_error().unwrap().constraint(), Some("user_keys_pkey"));
    let counts: (i64, i64) =
        sqlx::query_as("SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM user_keys)")
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!(counts, (1, 1));
}
