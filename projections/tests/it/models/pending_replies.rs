//! The `pending_replies` projection.

use projections::pending_replies::query::{PendingReplyRow, backlog, due, overdue, traceparent};
use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use super::project_all;
use crate::events::{
    ADA, TALK, attempt_failed, begun, cancelled, completed, failed, message, minute, reply, requested, sent,
    started,
};
use crate::support::Log;

fn pending(n: u128, position: i64, model: Option<&str>, at: i64) -> PendingReplyRow {
    PendingReplyRow {
        reply_id: reply(n).uuid(),
        conversation_id: TALK.uuid(),
        owner: ADA.uuid(),
        message_id: message(n).uuid(),
        position,
        model: model.map(str::to_owned),
        requested_at: minute(at),
        deadline: minute(at + 3),
        attempt: 0,
        not_before: None,
        interactive: false,
    }
}

async fn all(pool: &PgPool) -> Vec<PendingReplyRow> {
    sqlx::query_as("SELECT * FROM pending_replies ORDER BY position").fetch_all(pool).await.unwrap()
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn reply_is_pending_from_request_to_end(pool: PgPool) {
    let log = Log::new(&pool);
    log.append(&[started(TALK, None, 0), sent(TALK, 1, "one", 1), requested(1, Some("big"), 1)]).await; // 1..=3
    log.append(&[sent(TALK, 2, "two", 2), requested(2, None, 2)]).await; // 4, 5
    project_all(&log).await;
    let (first, second) = (pending(1, 3, Some("big"), 1), pending(2, 5, None, 2));
    assert_eq!(all(&pool).await, [first.clone(), second.clone()]);

    log.append(&[begun(1, 1, 2)]).await;
    project_all(&log).await;
    assert_eq!(all(&pool).await, [PendingReplyRow { attempt: 1, ..first.clone() }, second.clone()]);
    log.append(&[attempt_failed(1, 1, 2)]).await;
    project_all(&log).await;
    let delayed = PendingReplyRow { attempt: 1, not_before: Some(minute(3)), ..first.clone() };
    assert_eq!(all(&pool).await, [delayed, second.clone()]);
    log.append(&[begun(1, 2, 3)]).await;
    project_all(&log).await;
    assert_eq!(all(&pool).await, [PendingReplyRow { attempt: 2, ..first }, second.clone()]);

    log.append(&[completed(1, 2, "answer", 3)]).await;
    project_all(&log).await;
    assert_eq!(all(&pool).await, [second]);
    log.append(&[failed(2, None, 3), sent(TALK, 3, "three", 4), requested(3, None, 4)]).await;
    project_all(&log).await;
    assert_eq!(backlog(&pool).await.unwrap().0, 1);
    log.append(&[cancelled(3, None, 5)]).await;
    project_all(&log).await;
    assert_eq!(all(&pool).await, []);
    assert_eq!(backlog(&pool).await.unwrap(), (0, 0.0));
}

/// Inserts a row directly, because these queries depend on the database's clock.
async fn insert(pool: &PgPool, reply: u128, conversation: u128, deadline: &str, not_before: &str) {
    sqlx::query(&format!(
        "INSERT INTO pending_replies (reply_id, conversation_id, owner, message_id, position, requested_at, deadline,
                                      attempt, not_before)
         VALUES ($1, $2, $1, $1, $3, now(), now() + interval '{deadline}', 0, now() + interval '{not_before}')"
    ))
    .bind(Uuid::from_u128(reply))
    .bind(Uuid::from_u128(conversation))
    .bind(i64::try_from(reply).unwrap())
    .execute(pool)
    .await
    .unwrap();
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn due_is_first_unleased_reply_of_each_conversation(pool: PgPool) {
    insert(&pool, 1, 100, "1 hour", "-1 second").await;
    insert(&pool, 2, 100, "1 hour", "-1 second").await; // waits for 1
    insert(&pool, 3, 200, "1 hour", "1 hour").await; // delayed
    insert(&pool, 4, 300, "-1 second", "-1 hour").await; // past its deadline
    insert(&pool, 5, 400, "1 hour", "-1 second").await; // leased
    insert(&pool, 6, 500, "1 hour", "-1 second").await; // lease expired
    for (reply, until) in [(5, "1 hour"), (6, "-1 second")] {
        sqlx::query(&format!("INSERT INTO reply_leases VALUES ($1, $1, now() + interval '{until}')"))
            .bind(Uuid::from_u128(reply))
            .execute(&pool)
            .await
            .unwrap();
    }
    let ids =
        |rows: Vec<PendingReplyRow>| rows.into_iter().map(|row| row.reply_id.as_u128()).collect::<Vec<_>>();
    assert_eq!(ids(due(&pool, 10).await.unwrap()), [1, 6]);
    assert_eq!(ids(due(&pool, 1).await.unwrap()), [1]);
    assert_eq!(ids(overdue(&pool, 10).await.unwrap()), [4]);
    sqlx::query("UPDATE pending_replies SET requested_at = now() - interval '90 seconds' WHERE position = 3")
        .execute(&pool)
        .await
        .unwrap();
    let (pending, oldest) = backlog(&pool).await.unwrap();
    assert!(pending == 6 && (90.0..100.0).contains(&oldest), "{pending} replies, the oldest {oldest} s old");
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn traceparent_is_read_from_event_metadata(pool: PgPool) {
    let log = Log::new(&pool);
    log.append(&[started(TALK, None, 0), sent(TALK, 1, "one", 1), requested(1, None, 1)]).await; // 1..=3
    let ids = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let traced = Some(json!({"traceparent": ids}));
    log.append_with(&[sent(TALK, 2, "two", 2), requested(2, None, 2)], traced).await; // 4, 5
    assert_eq!(traceparent(&pool, 3).await.unwrap(), None);
    assert_eq!(traceparent(&pool, 5).await.unwrap().as_deref(), Some(ids));
    assert_eq!(traceparent(&pool, 9).await.unwrap(), None);
    let told: Vec<_> = log.reader.read_after(0, 10).await.unwrap();
    let told: Vec<_> = told.iter().map(|recorded| recorded.metadata.traceparent.as_deref()).collect();
    assert_eq!(told, [None, None, None, Some(ids), Some(ids)]);
}
