//! A reply as every door shows it.

use aggregates::ids::ReplyId;
use chrono::{DateTime, Utc};
use projections::replies::query::ReplyRow;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::live::Resume;
use crate::live::stream::Ended;

/// What an answer cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct UsageAnswer {
    /// Tokens in all.
    tokens: u64,
    prompt_tokens: u64,
    completion_tokens: u64,
    /// Millionths of a dollar, at the price that the attempt was begun with; null where no price is known.
    cost_micros: Option<u64>,
}

impl UsageAnswer {
    /// What the read model kept of it.
    pub fn of(row: &ReplyRow) -> Self {
        let usage = row.usage.as_ref();
        let count = |name: &str| usage.and_then(|usage| usage.get(name)).and_then(Value::as_u64).unwrap_or(0);
        let (prompt_tokens, completion_tokens) = (count("prompt_tokens"), count("completion_tokens"));
        let (tokens, cost_micros) = (prompt_tokens + completion_tokens, row.cost_micros());
        Self { tokens, prompt_tokens, completion_tokens, cost_micros }
    }
}

/// A reply with its provenance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReplyAnswer {
    reply_id: Uuid,
    session_id: Uuid,
    /// The message that asked.
    user_message_id: Uuid,
    /// Id of the answer, whether it is there or not.
    message_id: Uuid,
    /// `requested`, `begun`, `completed`, `failed` or `cancelled`.
    #[schemars(extend("enum" = ["requested", "begun", "completed", "failed", "cancelled"]))]
    status: String,
    requested_model: Option<String>,
    /// The model that really answered.
    model: Option<String>,
    /// Every attempt: when it began (`begun_at`), and when it ended (`completed_at`, `cancelled_at`, or `failed_at` with its
    /// `failure` and `next_not_before`); and its plan: provider, model, parameters with the number of the key and the
    /// price, prompt versions, input messages, file hashes.
    attempts: Value,
    finish_reason: Option<String>,
    /// Why it failed.
    failure: Option<String>,
    usage: UsageAnswer,
    timings: Option<Value>,
    provider_reply_id: Option<String>,
    requested_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
}

impl From<ReplyRow> for ReplyAnswer {
    fn from(row: ReplyRow) -> Self {
        let usage = UsageAnswer::of(&row);
        Self {
            reply_id: row.reply_id,
            session_id: row.conversation_id,
            user_message_id: row.message_id,
            message_id: row.answer_id,
            status: row.state,
            requested_model: row.requested_model,
            model: row.model,
            attempts: row.attempts,
            finish_reason: row.finish,
            failure: row.failure,
            usage,
            timings: row.timings,
            provider_reply_id: row.provider_reply_id,
            requested_at: row.requested_at,
            ended_at: row.ended_at,
        }
    }
}

/// How a stream ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EndFrame {
    #[serde(flatten)]
    reply: ReplyAnswer,
    /// The whole text that was kept.
    text: Option<String>,
    /// Where this is in the log, for queries that have to see it.
    position: i64,
}

impl EndFrame {
    /// Returns the name of the event that ends the stream.
    pub fn event_name(&self) -> &'static str {
        match self.reply.status.as_str() {
            "completed" => "reply.done",
            "cancelled" => "reply.cancelled",
            _ => "reply.failed",
        }
    }
}

impl From<&Ended> for EndFrame {
    fn from(ended: &Ended) -> Self {
        Self {
            position: ended.reply.position,
            reply: ended.reply.clone().into(),
            text: ended.answer.as_ref().and_then(|answer| answer.text.clone()),
        }
    }
}

/// More text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Delta {
    /// The reply.
    pub reply_id: Uuid,
    /// The attempt that wrote it, from 1.
    pub attempt: u32,
    /// Bytes of the attempt's text up to the end of this piece.
    pub offset: usize,
    /// The piece.
    pub text: String,
}

/// What came so far is void.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Restart {
    /// The reply.
    pub reply_id: Uuid,
    /// The attempt whose text follows from the start.
    pub attempt: u32,
}

/// The reply was cancelled, because its conversation was deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Deleted {
    /// The reply.
    pub reply_id: Uuid,
    /// Always `cancelled`.
    pub state: String,
    /// Always `conversation_deleted`.
    pub reason: String,
}

impl Deleted {
    /// Of this reply.
    pub fn new(reply: ReplyId) -> Self {
        let reason = "conversation_deleted".to_owned();
        Self { reply_id: reply.uuid(), state: "cancelled".to_owned(), reason }
    }
}

/// The id of a place in a reply's stream: what `Last-Event-ID` brings back.
pub fn event_id(reply: ReplyId, at: Resume) -> String {
    format!("{reply}:{}:{}", at.attempt, at.offset)
}

/// Reads such an id; none when it is not one.
pub fn parse_event_id(id: &str) -> Option<(ReplyId, Resume)> {
    let mut parts = id.split(':');
    let (reply, attempt, offset) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || id.len() > 128 {
        return None;
    }
    let at = Resume { attempt: attempt.parse().ok()?, offset: offset.parse().ok()? };
    Some((reply.parse().ok()?, at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aggregates::ids::MessageId;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_event_id_reads_back(id in any::<u128>(), attempt in any::<u32>(), offset in any::<usize>()) {
            let reply = ReplyId::of(MessageId::new(uuid::Uuid::from_u128(id)));
            let at = Resume { attempt, offset };
            prop_assert_eq!(parse_event_id(&event_id(reply, at)), Some((reply, at)));
        }

        #[test]
        fn rubbish_is_no_event_id_and_does_no_harm(text in ".{0,200}") {
            let _ = parse_event_id(&text);
        }
    }

    #[test]
    fn other_forms_are_refused() {
        for id in [
            "",
            "1:2",
            "a:1:2",
            "00000000-0000-0000-0000-000000000000:1:2:3",
            "00000000-0000-0000-0000-000000000000:-1:2",
        ] {
            assert_eq!(parse_event_id(id), None, "{id}");
        }
    }
}
