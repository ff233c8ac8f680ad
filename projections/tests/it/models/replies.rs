//! The `replies` projection: replies and their provenance.

use aggregates::conversation::FailureReason;
use aggregates::ids::MessageId;
use projections::replies::query::{ReplyRow, attempts, by_id};
use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use super::project_all;
use crate::events::{
    ADA, TALK, attempt_failed, begun, begun_with, cancelled, completed, deleted, failed, message, minute,
    plan, reply, requested, sent, started,
};
use crate::support::Log;

async fn row(pool: &PgPool, n: u128) -> ReplyRow {
    by_id(pool, ADA.uuid(), reply(n).uuid()).await.unwrap().unwrap()
}

fn requested_reply(n: u128, position: i64, model: Option<&str>, at: i64) -> ReplyRow {
    ReplyRow {
        reply_id: reply(n).uuid(),
        conversation_id: TALK.uuid(),
        owner: ADA.uuid(),
        message_id: message(n).uuid(),
        answer_id: MessageId::answering(reply(n)).uuid(),
        state: "requested".to_owned(),
        requested_model: model.map(str::to_owned),
        model: None,
        attempts: json!([]),
        finish: None,
        failure: None,
        usage: None,
        timings: None,
        provider_reply_id: None,
        requested_at: minute(at),
        ended_at: None,
        position,
        items: sqlx::types::Json(Vec::new()),
    }
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn reply_row_has_every_attempt_and_outcome(pool: PgPool) {
    let log = Log::new(&pool);
    log.append(&[started(TALK, None, 0), sent(TALK, 1, "one", 1), requested(1, Some("big"), 1)]).await; // 1..=3
    project_all(&log).await;
    let requested_row = requested_reply(1, 3, Some("big"), 1);
    assert_eq!(row(&pool, 1).await, requested_row);
    assert!(!requested_row.has_ended());

    log.append(&[begun(1, 1, 1)]).await; // 4
    project_all(&log).await;
    let first = json!({"attempt": 1, "begun_at": "2026-01-01T00:01:00Z", "plan": plan()});
    let begun_row = ReplyRow {
        state: "begun".to_owned(),
        attempts: json!([first]),
        position: 4,
        ..requested_row.clone()
    };
    assert_eq!(row(&pool, 1).await, begun_row);

    log.append(&[attempt_failed(1, 1, 2), begun(1, 2, 3)]).await; // 5, 6
    project_all(&log).await;
    let first = json!({
        "attempt": 1, "begun_at": "2026-01-01T00:01:00Z", "plan": plan(), "failed_at": "2026-01-01T00:02:00Z",
        "failure": "rate_limited", "next_not_before": "2026-01-01T00:03:00Z",
    });
    let second = json!({"attempt": 2, "begun_at": "2026-01-01T00:03:00Z", "plan": plan()});
    let again = ReplyRow { attempts: json!([first, second]), position: 6, ..begun_row };
    assert_eq!(row(&pool, 1).await, again);

    log.append(&[completed(1, 2, "answer", 4)]).await; // 7
    project_all(&log).await;
    let mut last = again.attempts[1].clone();
    last["completed_at"] = json!("2026-01-01T00:04:00Z");
    let ended = ReplyRow {
        state: "completed".to_owned(),
        attempts: json!([again.attempts[0], last]),
        model: Some("scripted-1b".to_owned()),
        finish: Some("stop".to_owned()),
        usage: Some(json!({"prompt_tokens": 3, "completion_tokens": 5})),
        timings: Some(json!({"first_token_ms": 7, "total_ms": 70})),
        provider_reply_id: Some("resp-1".to_owned()),
        ended_at: Some(minute(4)),
        position: 7,
        ..again
    };
    assert_eq!(row(&pool, 1).await, ended);
    assert!(ended.has_ended());
    assert_eq!(ended.cost_micros(), None, "the price is unknown");
    let read = attempts(&pool, reply(1).uuid()).await.unwrap();
    assert_eq!((read[0].failure, read[1].failure), (Some(FailureReason::RateLimited), None));
    assert_eq!((read[0].next_not_before, &read[1].plan), (Some(minute(3)), &plan()));
    assert_eq!(attempts(&pool, Uuid::nil()).await.unwrap(), []);
    assert_eq!(
        by_id(&pool, Uuid::from_u128(0xE7E), reply(1).uuid()).await.unwrap(),
        None,
        "of another owner"
    );
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn reply_can_fail_or_be_cancelled_and_is_deleted(pool: PgPool) {
    let log = Log::new(&pool);
    log.append(&[started(TALK, None, 0), requested(1, None, 1), failed(1, Some("half"), 2)]).await; // 1, 2, 3
    log.append(&[requested(2, None, 3), begun(2, 1, 4), cancelled(2, None, 5)]).await; // 4, 5, 6
    project_all(&log).await;
    let state = |state: &str| state.to_owned();
    assert_eq!(
        row(&pool, 1).await,
        ReplyRow {
            state: state("failed"),
            failure: Some("deadline".to_owned()),
            ended_at: Some(minute(2)),
            position: 3,
            ..requested_reply(1, 2, None, 1)
        }
    );
    let cancelled_row = row(&pool, 2).await;
    assert_eq!(
        cancelled_row,
        ReplyRow {
            state: state("cancelled"),
            ended_at: Some(minute(5)),
            position: 6,
            attempts: json!([{"attempt": 1, "begun_at": "2026-01-01T00:04:00Z", "plan": plan(),
                              "cancelled_at": "2026-01-01T00:05:00Z"}]),
            ..requested_reply(2, 4, None, 3)
        }
    );
    log.append(&[deleted(TALK, 6)]).await;
    project_all(&log).await;
    assert_eq!(by_id(&pool, ADA.uuid(), reply(1).uuid()).await.unwrap(), None);
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn reply_end_is_recorded_on_last_open_attempt(pool: PgPool) {
    let log = Log::new(&pool);
    log.append(&[started(TALK, None, 0), requested(1, None, 1), begun(1, 1, 1), failed(1, None, 2)]).await;
    log.append(&[requested(2, None, 3), begun(2, 1, 4), attempt_failed(2, 1, 5), failed(2, None, 6)]).await;
    project_all(&log).await;
    let ended = row(&pool, 1).await.attempts;
    assert_eq!(
        (&ended[0]["failure"], &ended[0]["failed_at"]),
        (&json!("deadline"), &json!("2026-01-01T00:02:00Z"))
    );
    let ended = row(&pool, 2).await;
    assert_eq!(ended.failure.as_deref(), Some("deadline"));
    assert_eq!(ended.attempts[0]["failure"], json!("rate_limited"));
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn cost_is_computed_from_the_replys_events(pool: PgPool) {
    let log = Log::new(&pool);
    let at = |prompt: u64| json!({"price": {"prompt": prompt, "completion": 2_000_000}});
    log.append(&[started(TALK, None, 0), requested(1, None, 1), begun_with(1, 1, at(9_000_000), 1)]).await;
    log.append(&[attempt_failed(1, 1, 2), begun_with(1, 2, at(1_000_000), 3), completed(1, 2, "answer", 4)])
        .await;
    project_all(&log).await;
    // Three prompt and five completion tokens, at the price of the successful attempt.
    assert_eq!(row(&pool, 1).await.cost_micros(), Some(13));
}
