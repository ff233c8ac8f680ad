//! Reply formats that surfaces share: provenance, stream frames, event ids.

use aggregates::ids::ReplyId;
use chrono::{DateTime, Utc};
use projections::replies::query::ReplyRow;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::live::Resume;
use crate::live::stream::Ended;

/// Tokens and cost of a reply.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct UsageAnswer {
    /// Total tokens.
    tokens: u64,
    prompt_tokens: u64,
    completion_tokens: u64,
    /// Cost in millionths of a dollar at the price known when the attempt began; null if no price is known.
    cost_micros: Option<u64>,
}

impl UsageAnswer {
    /// Reads the usage from the read model's row.
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
    /// Id of the message that asked for the reply.
    user_message_id: Uuid,
    /// Id of the answer, whether or not it exists yet.
    message_id: Uuid,
    /// `requested`, `begun`, `completed`, `failed` or `cancelled`.
    #[schemars(extend("enum" = ["requested", "begun", "completed", "failed", "cancelled"]))]
    status: String,
    requested_model: Option<String>,
    /// Model that answered.
    model: Option<String>,
    /// Every attempt: its start (`begun_at`), its end (`completed_at`, `cancelled_at`, or `failed_at` with `failure`
    /// and `next_not_before`), and its plan: provider, model, parameters with key number and price, prompt versions,
    /// input messages, file hashes.
    attempts: Value,
    finish_reason: Option<String>,
    /// Why the reply failed.
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

/// The last frame of a reply's stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EndFrame {
    #[serde(flatten)]
    reply: ReplyAnswer,
    /// The whole stored text.
    text: Option<String>,
    /// Log position of the reply's end, for queries that must include it.
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

/// A piece of text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Delta {
    /// Reply id.
    pub reply_id: Uuid,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// Length of the attempt's text up to the end of this piece, in bytes.
    pub offset: usize,
    /// The piece.
    pub text: String,
}

/// Voids the text so far: another attempt starts from the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Restart {
    /// Reply id.
    pub reply_id: Uuid,
    /// Number of the attempt that starts.
    pub attempt: u32,
}

/// The reply was cancelled because its conversation was deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Deleted {
    /// Reply id.
    pub reply_id: Uuid,
    /// Always `cancelled`.
    pub state: String,
    /// Always `conversation_deleted`.
    pub reason: String,
}

impl Deleted {
    /// Creates the frame for a reply.
    pub fn new(reply: ReplyId) -> Self {
        let reason = "conversation_deleted".to_owned();
        Self { reply_id: reply.uuid(), state: "cancelled".to_owned(), reason }
    }
}

/// Writes the event id of a place in a reply's stream, which clients return in `Last-Event-ID`.
pub fn event_id(reply: ReplyId, at: Resume) -> String {
    format!("{reply}:{}:{}", at.attempt, at.offset)
}

/// Parses an event id; returns `None` for any other text.
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
        fn event_id_round_trips(id in any::<u128>(), attempt in any::<u32>(), offset in any::<usize>()) {
            let reply = ReplyId::of(MessageId::new(uuid::Uuid::from_u128(id)));
            let at = Resume { attempt, offset };
            prop_assert_eq!(parse_event_id(&event_id(reply, at)), Some((reply, at)));
        }

        #[test]
        fn arbitrary_text_does_not_break_event_id_parsing(text in ".{0,200}") {
            let _ = parse_event_id(&text);
        }
    }

    #[test]
    fn malformed_event_ids_are_rejected() {
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
