//! The `usage` projection.

use aggregates::Event;
use aggregates::conversation::{ConversationEvent, EventBody, ReplyEvent};
use projections::usage::query::{UsageRow, since};
use serde_json::json;
use sqlx::PgPool;

use super::project_all;
use crate::events::{ADA, TALK, begun, cancelled, completed, deleted, minute, requested, sent, started};
use crate::support::Log;

/// Sets the price of an attempt.
fn priced(mut event: Event, prompt: u64, completion: u64) -> Event {
    if let Event::Conversation(event) = &mut event
        && let EventBody::Reply { event: ReplyEvent::ReplyBegun { plan, .. }, .. } = &mut event.body
    {
        plan.parameters = json!({
            "price": {"prompt": prompt, "completion": completion},
        });
    }
    event
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn messages_replies_tokens_and_cost_are_summed_by_day_and_model(pool: PgPool) {
    const NEXT_DAY: i64 = 24 * 60;
    let log = Log::new(&pool);
    log.append(&[started(TALK, None, 0), sent(TALK, 1, "one", 1), requested(1, None, 1)]).await;
    log.append(&[begun(1, 1, 1)]).await;
    // The second attempt has another price.
    log.append(&[priced(begun(1, 2, 1), 1_000_000, 2_000_000)]).await;
    log.append(&[completed(1, 2, "answer", 2)]).await;
    log.append(&[sent(TALK, 2, "two", 3), requested(2, None, 3), cancelled(2, None, 3)]).await;
    log.append(&[sent(TALK, 3, "three", NEXT_DAY), requested(3, None, NEXT_DAY), begun(3, 1, NEXT_DAY)])
        .await;
    log.append(&[completed(3, 1, "answer", NEXT_DAY)]).await;
    log.append(&[deleted(TALK, NEXT_DAY)]).await;
    project_all(&log).await;

    let Event::Conversation(ConversationEvent {
        body: EventBody::Reply { event: ReplyEvent::ReplyCompleted { usage, model, .. }, .. },
        ..
    }) = completed(1, 2, "answer", 2)
    else {
        panic!("no completed reply")
    };
    let (prompt, completion) = (i64::from(usage.prompt_tokens), i64::from(usage.completion_tokens));
    assert!(prompt > 0 && completion > 0, "the test events have usage");
    let day = minute(0).date_naive();
    let first = UsageRow {
        day,
        messages: 2,
        model: Some(model),
        replies: 1,
        prompt_tokens: prompt,
        completion_tokens: completion,
        cost_micros: Some(prompt + 2 * completion),
    };
    let next =
        UsageRow { day: minute(NEXT_DAY).date_naive(), messages: 1, cost_micros: None, ..first.clone() };
    let expected = vec![next.clone(), first];
    assert_eq!(since(&pool, ADA.uuid(), day).await.unwrap(), expected);
    assert_eq!(since(&pool, ADA.uuid(), next.day).await.unwrap(), [next]);
    let open: i64 =
        sqlx::query_scalar("SELECT count(*) FROM usage_pending_prices").fetch_one(&pool).await.unwrap();
    assert_eq!(open, 0, "rows of an ended reply are left");

    sqlx::query("DELETE FROM usage_models").execute(&pool).await.unwrap();
    sqlx::query("DELETE FROM usage_days").execute(&pool).await.unwrap();
    sqlx::query("UPDATE checkpoints SET position = 0 WHERE projection = 'usage'")
        .execute(&pool)
        .await
        .unwrap();
    project_all(&log).await;
    assert_eq!(since(&pool, ADA.uuid(), day).await.unwrap(), expected);
}
