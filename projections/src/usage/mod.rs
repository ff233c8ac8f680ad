//! Read model of each user's usage: messages by day, replies and tokens by day and model. Days are UTC.
//!
//! A report, not a limit: the append enforces the quotas. It is derived from the events
//! alone, so that a replay yields the same figures; deleting a conversation changes nothing.

pub mod query;

use std::sync::Arc;

use aggregates::Event;
use aggregates::conversation::{ConversationEvent, EventBody, Price, ReplyEvent, ReplyPlan, Usage as Tokens};
use aggregates::ids::{ReplyId, UserId};
use chrono::NaiveDate;
use sqlx::PgConnection;

use crate::runner::{ApplyFuture, Projection};
use event_store::RecordedEvent;

/// Writes the tables `usage_days`, `usage_models` and `usage_pending_prices`.
#[derive(Debug)]
pub struct Usage;

impl Projection for Usage {
    fn name(&self) -> &'static str {
        "usage"
    }

    fn handles(&self, event: &Event) -> bool {
        match event {
            Event::Conversation(event) => matches!(
                event.body,
                EventBody::Reply {
                    event: ReplyEvent::ReplyRequested { .. }
                        | ReplyEvent::ReplyBegun { .. }
                        | ReplyEvent::ReplyCompleted { .. }
                        | ReplyEvent::ReplyFailed { .. }
                        | ReplyEvent::ReplyCancelled { .. },
                    ..
                }
            ),
            Event::User(_) | Event::Claim(_) | Event::Quiz(_) | Event::File(_) => false,
        }
    }

    fn tables(&self) -> &'static [&'static str] {
        &["usage_days", "usage_models", "usage_pending_prices"]
    }

    fn apply<'a>(
        &'a self,
        connection: &'a mut PgConnection,
        events: &'a [Arc<RecordedEvent>],
    ) -> ApplyFuture<'a> {
        Box::pin(async move {
            for recorded in events {
                match &recorded.event {
                    Event::Conversation(event) => apply(connection, event).await?,
                    Event::User(_) | Event::Claim(_) | Event::Quiz(_) | Event::File(_) => {}
                }
            }
            Ok(())
        })
    }
}

async fn apply(connection: &mut PgConnection, event: &ConversationEvent) -> Result<(), sqlx::Error> {
    let &ConversationEvent { owner, at, .. } = event;
    let EventBody::Reply { reply_id, event, .. } = &event.body else { return Ok(()) };
    match event {
        ReplyEvent::ReplyRequested { .. } => {
            sqlx::query(
                "INSERT INTO usage_days AS u (user_id, day, messages) VALUES ($1, $2, 1)
                 ON CONFLICT (user_id, day) DO UPDATE SET messages = u.messages + 1",
            )
            .bind(owner.uuid())
            .bind(at.date_naive())
            .execute(connection)
            .await?;
        }
        ReplyEvent::ReplyBegun { plan, .. } => begun(connection, *reply_id, plan).await?,
        ReplyEvent::ReplyCompleted { usage, model, .. } => {
            let price = ended(connection, *reply_id).await?;
            let cost = price.and_then(|price| price.cost_micros(*usage));
            completed(connection, (owner, at.date_naive(), model), *usage, cost).await?;
        }
        ReplyEvent::ReplyFailed { .. } | ReplyEvent::ReplyCancelled { .. } => {
            ended(connection, *reply_id).await?;
        }
        ReplyEvent::ReplyAttemptFailed { .. } => {}
    }
    Ok(())
}

/// Stores the price of an attempt until its reply ends.
async fn begun(connection: &mut PgConnection, reply: ReplyId, plan: &ReplyPlan) -> Result<(), sqlx::Error> {
    let price = Price::of(&plan.parameters);
    sqlx::query(
        "INSERT INTO usage_pending_prices (reply_id, prompt_price, completion_price) VALUES ($1, $2, $3)
         ON CONFLICT (reply_id) DO UPDATE
             SET prompt_price = excluded.prompt_price, completion_price = excluded.completion_price",
    )
    .bind(reply.uuid())
    .bind(price.map(|price| whole(price.prompt)))
    .bind(price.map(|price| whole(price.completion)))
    .execute(connection)
    .await?;
    Ok(())
}

/// Removes and returns the price of the reply's last attempt.
async fn ended(connection: &mut PgConnection, reply: ReplyId) -> Result<Option<Price>, sqlx::Error> {
    let prices: Option<(Option<i64>, Option<i64>)> = sqlx::query_as(
        "DELETE FROM usage_pending_prices WHERE reply_id = $1 RETURNING prompt_price, completion_price",
    )
    .bind(reply.uuid())
    .fetch_optional(connection)
    .await?;
    Ok(prices.and_then(|(prompt, completion)| {
        Some(Price { prompt: u64::try_from(prompt?).ok()?, completion: u64::try_from(completion?).ok()? })
    }))
}

async fn completed(
    connection: &mut PgConnection,
    (owner, day, model): (UserId, NaiveDate, &str),
    tokens: Tokens,
    cost: Option<u64>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO usage_models AS u (user_id, day, model, replies, prompt_tokens, completion_tokens, cost_micros)
         VALUES ($1, $2, $3, 1, $4, $5, $6)
         ON CONFLICT (user_id, day, model) DO UPDATE SET replies = u.replies + 1,
             prompt_tokens = u.prompt_tokens + excluded.prompt_tokens,
             completion_tokens = u.completion_tokens + excluded.completion_tokens,
             cost_micros = coalesce(u.cost_micros + excluded.cost_micros, u.cost_micros, excluded.cost_micros)",
    )
    .bind(owner.uuid())
    .bind(day)
    .bind(model)
    .bind(i64::from(tokens.prompt_tokens))
    .bind(i64::from(tokens.completion_tokens))
    .bind(cost.map(whole))
    .execute(connection)
    .await?;
    Ok(())
}

fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
