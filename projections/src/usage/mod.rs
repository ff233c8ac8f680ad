//! What each person has used: messages by day, replies and tokens by day and model. Days are those of UTC.
//!
//! A report, not the guard: what a message may cost is decided in its append (allowances). This follows from the events
//! alone, so that a replay gives the same figures; deleting a conversation takes nothing back.

pub mod query;

use std::sync::Arc;

use aggregates::Event;
use aggregates::conversation::{ConversationEvent, ReplyPlan, Usage as Tokens};
use aggregates::ids::{ReplyId, UserId};
use chrono::NaiveDate;
use sqlx::PgConnection;

use crate::log::Recorded;
use crate::runner::{Applied, Projection};

/// Writes the tables `usage_days`, `usage_models` and `usage_begun`.
#[derive(Debug)]
pub struct Usage;

/// What a million tokens of a model cost, in millionths of a dollar, as it stood in the plan of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
pub struct Price {
    /// For what is sent.
    pub prompt_micros_per_million: u64,
    /// For what is answered.
    pub completion_micros_per_million: u64,
}

impl Price {
    /// The price that an attempt was made at, where one was known.
    #[must_use]
    pub fn of(plan: &ReplyPlan) -> Option<Self> {
        serde_json::from_value(plan.parameters.get("price")?.clone()).ok()
    }

    /// What these tokens cost, in millionths of a dollar, rounded up.
    #[must_use]
    pub fn of_tokens(self, tokens: Tokens) -> u64 {
        let cost = u128::from(self.prompt_micros_per_million) * u128::from(tokens.prompt_tokens)
            + u128::from(self.completion_micros_per_million) * u128::from(tokens.completion_tokens);
        u64::try_from(cost.div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }
}

impl Projection for Usage {
    fn name(&self) -> &'static str {
        "usage"
    }

    fn concerns(&self, event: &Event) -> bool {
        matches!(
            event,
            Event::Conversation(
                ConversationEvent::ReplyRequested { .. }
                    | ConversationEvent::ReplyBegun { .. }
                    | ConversationEvent::ReplyCompleted { .. }
                    | ConversationEvent::ReplyFailed { .. }
                    | ConversationEvent::ReplyCancelled { .. }
            )
        )
    }

    fn tables(&self) -> &'static [&'static str] {
        &["usage_days", "usage_models", "usage_begun"]
    }

    fn apply<'a>(&'a self, connection: &'a mut PgConnection, events: &'a [Arc<Recorded>]) -> Applied<'a> {
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
    match event {
        ConversationEvent::ReplyRequested { owner, at, .. } => {
            sqlx::query(
                "INSERT INTO usage_days AS u (user_id, day, messages) VALUES ($1, $2, 1)
                 ON CONFLICT (user_id, day) DO UPDATE SET messages = u.messages + 1",
            )
            .bind(owner.uuid())
            .bind(at.date_naive())
            .execute(connection)
            .await?;
        }
        ConversationEvent::ReplyBegun { reply_id, plan, .. } => begun(connection, *reply_id, plan).await?,
        ConversationEvent::ReplyCompleted { reply_id, owner, usage, model, at, .. } => {
            let price = ended(connection, *reply_id).await?;
            let cost = price.map_or(0, |price| price.of_tokens(*usage));
            completed(connection, (*owner, at.date_naive(), model), *usage, cost).await?;
        }
        ConversationEvent::ReplyFailed { reply_id, .. }
        | ConversationEvent::ReplyCancelled { reply_id, .. } => {
            ended(connection, *reply_id).await?;
        }
        ConversationEvent::ConversationStarted { .. }
        | ConversationEvent::ConversationRenamed { .. }
        | ConversationEvent::ConversationPinned { .. }
        | ConversationEvent::ConversationUnpinned { .. }
        | ConversationEvent::ConversationArchived { .. }
        | ConversationEvent::ConversationUnarchived { .. }
        | ConversationEvent::ConversationRead { .. }
        | ConversationEvent::ConversationDeleted { .. }
        | ConversationEvent::MessageSent { .. }
        | ConversationEvent::ReplyAttemptFailed { .. }
        | ConversationEvent::ConversationRewound { .. }
        | ConversationEvent::ClientToolCalled { .. }
        | ConversationEvent::ClientToolAnswered { .. }
        | ConversationEvent::ClientToolDropped { .. }
        | ConversationEvent::InputRequested { .. }
        | ConversationEvent::InputAnswered { .. }
        | ConversationEvent::WidgetShown { .. }
        | ConversationEvent::NoteAdded { .. }
        | ConversationEvent::FeedbackGiven { .. } => {}
    }
    Ok(())
}

/// Remembers the price of an attempt until its reply ends.
async fn begun(connection: &mut PgConnection, reply: ReplyId, plan: &ReplyPlan) -> Result<(), sqlx::Error> {
    let price = Price::of(plan);
    sqlx::query(
        "INSERT INTO usage_begun (reply_id, prompt_price, completion_price) VALUES ($1, $2, $3)
         ON CONFLICT (reply_id) DO UPDATE
             SET prompt_price = excluded.prompt_price, completion_price = excluded.completion_price",
    )
    .bind(reply.uuid())
    .bind(price.map(|price| whole(price.prompt_micros_per_million)))
    .bind(price.map(|price| whole(price.completion_micros_per_million)))
    .execute(connection)
    .await?;
    Ok(())
}

/// The price of the reply's last attempt, forgotten with this.
async fn ended(connection: &mut PgConnection, reply: ReplyId) -> Result<Option<Price>, sqlx::Error> {
    let prices: Option<(Option<i64>, Option<i64>)> = sqlx::query_as(
        "DELETE FROM usage_begun WHERE reply_id = $1 RETURNING prompt_price, completion_price",
    )
    .bind(reply.uuid())
    .fetch_optional(connection)
    .await?;
    Ok(prices.and_then(|(prompt, completion)| {
        Some(Price {
            prompt_micros_per_million: u64::try_from(prompt?).ok()?,
            completion_micros_per_million: u64::try_from(completion?).ok()?,
        })
    }))
}

async fn completed(
    connection: &mut PgConnection,
    (owner, day, model): (UserId, NaiveDate, &str),
    tokens: Tokens,
    cost: u64,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO usage_models AS u (user_id, day, model, replies, prompt_tokens, completion_tokens, cost_micros)
         VALUES ($1, $2, $3, 1, $4, $5, $6)
         ON CONFLICT (user_id, day, model) DO UPDATE SET replies = u.replies + 1,
             prompt_tokens = u.prompt_tokens + excluded.prompt_tokens,
             completion_tokens = u.completion_tokens + excluded.completion_tokens,
             cost_micros = u.cost_micros + excluded.cost_micros",
    )
    .bind(owner.uuid())
    .bind(day)
    .bind(model)
    .bind(i64::from(tokens.prompt_tokens))
    .bind(i64::from(tokens.completion_tokens))
    .bind(whole(cost))
    .execute(connection)
    .await?;
    Ok(())
}

fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_cost_what_the_price_says_rounded_up() {
        let price = Price { prompt_micros_per_million: 150_000, completion_micros_per_million: 600_000 };
        let cost =
            |prompt_tokens, completion_tokens| price.of_tokens(Tokens { prompt_tokens, completion_tokens });
        assert_eq!(cost(1_000_000, 1_000_000), 750_000);
        assert_eq!(cost(1, 0), 1);
        assert_eq!(cost(0, 0), 0);
        assert_eq!(cost(u32::MAX, u32::MAX), 3_221_225_472);
    }
}
