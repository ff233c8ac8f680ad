//! What the database itself keeps of the log: append-only, no holes, no lost race, no asynchronous commit.

use event_store::append::transactional_write;
use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use crate::support::{Append, code};

const STREAM: Uuid = Uuid::from_u128(1);

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn the_log_cannot_be_changed_even_by_its_owner(pool: PgPool) {
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
            let refused = sqlx::query(change).execute(&mut *owner).await;
            assert_eq!(code(refused), "42501", "{change} under {role}");
        }
    }
    let after: Vec<String> =
        sqlx::query_scalar("SELECT e::text FROM events e ORDER BY position").fetch_all(&pool).await.unwrap();
    assert_eq!(before, after);
    assert_eq!(before.len(), 2);
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn positions_rise_in_the_order_of_the_events(pool: PgPool) {
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
async fn a_stream_that_stands_elsewhere_is_a_conflict(pool: PgPool) {
    Append::pins(STREAM, 0, 2).run(&pool).await.unwrap();
    for stands in [0, 1, 3] {
        assert_eq!(code(Append::pins(STREAM, stands, 1).run(&pool).await), "VB001", "at {stands}");
    }
    // A stream that is only looked at counts as well, and takes the other one's events with it.
    let other = Append::pins(Uuid::from_u128(2), 0, 1).and_pins(STREAM, 1, 0);
    assert_eq!(code(other.run(&pool).await), "VB001");
    Append::pins(Uuid::from_u128(2), 0, 1).and_pins(STREAM, 2, 0).run(&pool).await.unwrap();
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn an_append_that_would_leave_a_hole_is_refused(pool: PgPool) {
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
async fn of_two_open_appends_to_one_place_one_loses(pool: PgPool) {
    let mut first = pool.begin().await.unwrap();
    let append = Append::pins(STREAM, 0, 1);
    append.run(&mut *first).await.unwrap();
    let waiting = async {
        // The check cannot see the other one yet; the primary key makes this one wait for it.
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
async fn an_append_never_commits_asynchronously(pool: PgPool) {
    let mut transaction = pool.begin().await.unwrap();
    sqlx::query("SET LOCAL synchronous_commit = off").execute(&mut *transaction).await.unwrap();
    assert_eq!(code(Append::pins(STREAM, 0, 1).run(&mut *transaction).await), "VB002");
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn what_stands_beside_the_log_lives_and_dies_with_the_events(pool: PgPool) {
    let user = Uuid::from_u128(9);
    let mut append = Append::pins(STREAM, 0, 1);
    append.beside = vec![
        transactional_write(
            "user_key_insert",
            &json!({"user_id": user, "master_id": "m", "wrapped": "AQID"}),
        ),
        transactional_write("nonsense", &json!({})),
    ];
    assert_eq!(code(append.run(&pool).await), "VB003");
    append.beside.pop();
    append.run(&pool).await.unwrap();
    let keys: Vec<(Uuid, String, Vec<u8>)> =
        sqlx::query_as("SELECT user_id, master_id, wrapped FROM user_keys").fetch_all(&pool).await.unwrap();
    assert_eq!(keys, [(user, "m".to_owned(), vec![1, 2, 3])]);

    // A lost race for the stream takes the key back, and a lost race for the key the events.
    append.beside[0]["arguments"]["user_id"] = json!(Uuid::from_u128(10));
    assert_eq!(code(append.run(&pool).await), "VB001");
    let mut again = Append::pins(Uuid::from_u128(2), 0, 1);
    again.beside = vec![transactional_write(
        "user_key_insert",
        &json!({"user_id": user, "master_id": "m", "wrapped": "AQID"}),
    )];
    let error = again.run(&pool).await.unwrap_err();
    assert_eq!(error.as_database_error().unwrap().constraint(), Some("user_keys_pkey"));
    let counts: (i64, i64) =
        sqlx::query_as("SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM user_keys)")
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!(counts, (1, 1));
}
