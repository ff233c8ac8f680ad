//! Public events of replies: requested, attempted, ended.

use aggregates::conversation::{ConversationEvent, ReplyEvent};
use aggregates::ids::{MessageId, ReplyId};
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::{KindSchema, PublicData, PublicEvent, schema};

/// Ids of the reply.
#[derive(Serialize, JsonSchema)]
struct Which {
    /// The conversation.
    conversation_id: Uuid,
    /// Message that asked for the reply.
    message_id: Uuid,
    /// The reply.
    reply_id: Uuid,
    /// User id of the asker.
    owner: Uuid,
}

/// A message asked for a reply.
#[derive(Serialize, JsonSchema)]
struct Requested {
    #[serde(flatten)]
    which: Which,
    /// Time by which the reply will have ended.
    deadline: DateTime<Utc>,
    /// Time of the event (UTC).
    at: DateTime<Utc>,
}

/// A worker began an attempt.
#[derive(Serialize, JsonSchema)]
struct Begun {
    #[serde(flatten)]
    which: Which,
    /// Number of the attempt, from 1.
    attempt: u32,
    /// Worker that makes the attempt.
    worker: String,
    /// Provider called.
    provider: String,
    /// Model called.
    model: String,
    /// Time of the event (UTC).
    at: DateTime<Utc>,
}

/// An attempt failed; the reply is still pending.
#[derive(Serialize, JsonSchema)]
struct AttemptFailed {
    #[serde(flatten)]
    which: Which,
    /// The failed attempt.
    attempt: u32,
    /// Error code of the failure.
    reason: String,
    /// Earliest time of the next attempt.
    not_before: DateTime<Utc>,
    /// Time of the event (UTC).
    at: DateTime<Utc>,
}

/// A reply ended with an answer.
#[derive(Serialize, JsonSchema)]
struct Completed {
    #[serde(flatten)]
    which: Which,
    /// Message that holds the answer.
    answer_id: Uuid,
    /// Attempt that produced the answer.
    attempt: u32,
    /// Model that answered.
    model: String,
    /// Why the provider stopped: `stop`, `length` or `content_filter`.
    finish: String,
    /// Prompt tokens.
    prompt_tokens: u32,
    /// Completion tokens.
    completion_tokens: u32,
    /// From the call of the provider to the first text, in milliseconds.
    first_token_ms: Option<u64>,
    /// From the call of the provider to the end, in milliseconds.
    total_ms: u64,
    /// Time of the event (UTC).
    at: DateTime<Utc>,
}

/// A reply ended without an answer.
#[derive(Serialize, JsonSchema)]
struct Failed {
    #[serde(flatten)]
    which: Which,
    /// Last attempt begun; 0 if there was none.
    attempt: u32,
    /// Error code of the failure.
    reason: String,
    /// Time of the event (UTC).
    at: DateTime<Utc>,
}

/// A reply was cancelled by its user or by the deletion of its conversation.
#[derive(Serialize, JsonSchema)]
struct Cancelled {
    #[serde(flatten)]
    which: Which,
    /// Last attempt begun; 0 if there was none.
    attempt: u32,
    /// Time of the event (UTC).
    at: DateTime<Utc>,
}

macro_rules! named {
    ($($kind:ident = $name:literal),+ $(,)?) => {
        $(impl PublicData for $kind {
            const NAME: &'static str = $name;
        })+

        pub(super) fn schemas(into: &mut Vec<KindSchema>) {
            into.extend([$(schema::<$kind>()),+]);
        }
    };
}

named! {
    Requested = "reply.requested",
    Begun = "reply.begun",
    AttemptFailed = "reply.attempt_failed",
    Completed = "reply.completed",
    Failed = "reply.failed",
    Cancelled = "reply.cancelled",
}

pub(super) fn public(
    event: &ConversationEvent,
    message_id: MessageId,
    reply_id: ReplyId,
    reply: &ReplyEvent,
) -> PublicEvent {
    let which = Which {
        conversation_id: event.conversation_id.uuid(),
        message_id: message_id.uuid(),
        reply_id: reply_id.uuid(),
        owner: event.owner.uuid(),
    };
    let at = event.at;
    match reply {
        ReplyEvent::ReplyRequested { deadline, .. } => {
            PublicEvent::new(Requested { which, deadline: *deadline, at })
        }
        ReplyEvent::ReplyBegun { attempt, plan } => PublicEvent::new(Begun {
            which,
            attempt: *attempt,
            worker: plan.worker.clone(),
            provider: plan.provider.clone(),
            model: plan.model.clone(),
            at,
        }),
        ReplyEvent::ReplyAttemptFailed { attempt, reason, not_before } => PublicEvent::new(AttemptFailed {
            which,
            attempt: *attempt,
            reason: reason.as_str().to_owned(),
            not_before: *not_before,
            at,
        }),
        ReplyEvent::ReplyCompleted { answer_id, attempt, finish, usage, timings, model, .. } => {
            PublicEvent::new(Completed {
                which,
                answer_id: answer_id.uuid(),
                attempt: *attempt,
                model: model.clone(),
                finish: finish.as_str().to_owned(),
                prompt_tokens: usage.prompt_tokens,
                completion_tokens: usage.completion_tokens,
                first_token_ms: timings.first_token_ms,
                total_ms: timings.total_ms,
                at,
            })
        }
        ReplyEvent::ReplyFailed { attempt, reason, .. } => {
            PublicEvent::new(Failed { which, attempt: *attempt, reason: reason.as_str().to_owned(), at })
        }
        ReplyEvent::ReplyCancelled { attempt, .. } => {
            PublicEvent::new(Cancelled { which, attempt: *attempt, at })
        }
    }
}
