//! Queries on replies and their provenance.

use aggregates::conversation::{FailureReason, Price, ReplyPlan, Usage};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;
use sqlx::PgExecutor;
use uuid::Uuid;

/// A reply with its provenance.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct ReplyRow {
    /// Id of the reply.
    pub reply_id: Uuid,
    /// Conversation of the reply.
    pub conversation_id: Uuid,
    /// User who asked.
    pub owner: Uuid,
    /// Message that asked for the reply.
    pub message_id: Uuid,
    /// Id of the answer, known from the start.
    pub answer_id: Uuid,
    /// `requested`, `begun`, `completed`, `failed` or `cancelled`.
    pub state: String,
    /// Requested model.
    pub requested_model: Option<String>,
    /// Model that answered.
    pub model: Option<String>,
    /// Every attempt: number, plan (provider, model, parameters with the key's number and the price, prompt versions,
    /// inputs), begin and end.
    pub attempts: Value,
    /// Why the provider stopped.
    pub finish: Option<String>,
    /// Reason of the failure.
    pub failure: Option<String>,
    /// Prompt and completion tokens.
    pub usage: Option<Value>,
    /// Time taken, in milliseconds.
    pub timings: Option<Value>,
    /// The provider's own id of the answer.
    pub provider_reply_id: Option<String>,
    /// Time of the request.
    pub requested_at: DateTime<Utc>,
    /// Time of the end.
    pub ended_at: Option<DateTime<Utc>>,
    /// Position of its last event.
    pub position: i64,
    /// Ids of the answer's items.
    pub items: sqlx::types::Json<Vec<Uuid>>,
}

impl ReplyRow {
    /// Whether it has ended, in any way.
    pub fn has_ended(&self) -> bool {
        self.ended_at.is_some()
    }

    /// Returns the cost of the answer in millionths of a dollar, at the price its attempt was begun with. `None` if there is no
    /// answer, no known price or no reported usage.
    pub fn cost_micros(&self) -> Option<u64> {
        let usage = Usage::deserialize(self.usage.as_ref()?).ok()?;
        let last = self.attempts.as_array()?.last()?;
        Price::of(&last["plan"]["parameters"])?.cost_micros(usage)
    }
}

/// A past attempt, as far as the next one depends on it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct AttemptRow {
    /// Number of the attempt.
    pub attempt: u32,
    /// Plan of the attempt.
    pub plan: ReplyPlan,
    /// Reason of the failure, if it is known to have failed.
    pub failure: Option<FailureReason>,
    /// Time of the event (UTC).
    pub failed_at: Option<DateTime<Utc>>,
    /// Earliest time of the next attempt.
    pub next_not_before: Option<DateTime<Utc>>,
}

/// Returns the attempts at a reply, in order.
///
/// # Errors
/// Fails if the database does, or if a row cannot be decoded.
pub async fn attempts(pool: impl PgExecutor<'_>, reply: Uuid) -> Result<Vec<AttemptRow>, sqlx::Error> {
    let attempts: Option<sqlx::types::Json<Vec<AttemptRow>>> =
        sqlx::query_scalar("SELECT attempts FROM replies WHERE reply_id = $1")
            .bind(reply)
            .fetch_optional(pool)
            .await?;
    Ok(attempts.map(|attempts| attempts.0).unwrap_or_default())
}

/// Returns one reply if this user asked for it.
///
/// # Errors
/// Fails if the database does.
pub async fn by_id(
    pool: impl PgExecutor<'_>,
    owner: Uuid,
    reply: Uuid,
) -> Result<Option<ReplyRow>, sqlx::Error> {
    sqlx::query_as(
        "SELECT reply_id, conversation_id, owner, message_id, answer_id, state, requested_model, model, attempts,
                finish, failure, usage, timings, provider_reply_id, requested_at, ended_at, position, items
         FROM replies WHERE reply_id = $1 AND owner = $2",
    )
    .bind(reply)
    .bind(owner)
    .fetch_optional(pool)
    .await
}
