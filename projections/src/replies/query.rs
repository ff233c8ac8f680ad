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
    /// Its id.
    pub reply_id: Uuid,
    /// The conversation it belongs to.
    pub conversation_id: Uuid,
    /// Who asked.
    pub owner: Uuid,
    /// The message that asked.
    pub message_id: Uuid,
    /// The id of the answer, from the beginning on.
    pub answer_id: Uuid,
    /// `requested`, `begun`, `completed`, `failed` or `cancelled`.
    pub state: String,
    /// The model wished for.
    pub requested_model: Option<String>,
    /// The model that really answered.
    pub model: Option<String>,
    /// Every attempt: number, plan (provider, model, parameters with the key's number and the price, prompt versions,
    /// inputs), when it began and how and when it ended.
    pub attempts: Value,
    /// Why the provider stopped.
    pub finish: Option<String>,
    /// Why it failed.
    pub failure: Option<String>,
    /// Tokens read and written.
    pub usage: Option<Value>,
    /// How long it took, in milliseconds.
    pub timings: Option<Value>,
    /// The provider's own id of the answer.
    pub provider_reply_id: Option<String>,
    /// When it was asked for.
    pub requested_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// Position of its last event.
    pub position: i64,
    /// Ids of what the answer brought besides its text.
    pub items: sqlx::types::Json<Vec<Uuid>>,
}

impl ReplyRow {
    /// Whether it has ended, in whichever way.
    pub fn has_ended(&self) -> bool {
        self.ended_at.is_some()
    }

    /// What the answer cost, in millionths of a dollar, at the price that its attempt was begun with. None: there is no
    /// answer, no price was known, or nobody counted.
    pub fn cost_micros(&self) -> Option<u64> {
        let usage = Usage::deserialize(self.usage.as_ref()?).ok()?;
        let last = self.attempts.as_array()?.last()?;
        Price::of(&last["plan"]["parameters"])?.cost_micros(usage)
    }
}

/// An attempt at a reply, as far as it matters for the next one.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct AttemptRow {
    /// Its number.
    pub attempt: u32,
    /// What was planned.
    pub plan: ReplyPlan,
    /// Why it failed, if it is known to have.
    pub failure: Option<FailureReason>,
    /// When.
    pub failed_at: Option<DateTime<Utc>>,
    /// Before when the next one was not to begin.
    pub next_not_before: Option<DateTime<Utc>>,
}

/// The attempts at a reply so far, in order.
///
/// # Errors
/// Those of the database; also for rows that are none of ours.
pub async fn attempts(pool: impl PgExecutor<'_>, reply: Uuid) -> Result<Vec<AttemptRow>, sqlx::Error> {
    let attempts: Option<sqlx::types::Json<Vec<AttemptRow>>> =
        sqlx::query_scalar("SELECT attempts FROM replies WHERE reply_id = $1")
            .bind(reply)
            .fetch_optional(pool)
            .await?;
    Ok(attempts.map(|attempts| attempts.0).unwrap_or_default())
}

/// One reply, if this user asked for it.
///
/// # Errors
/// Those of the database.
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
