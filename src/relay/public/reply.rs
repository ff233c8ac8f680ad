//! Replies: asked for, tried, ended.

use aggregates::conversation::{ConversationEvent, ReplyEvent};
use aggregates::ids::{MessageId, ReplyId};
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::{KindSchema, PublicData, PublicEvent, schema};

/// Which reply.
#[derive(Serialize, JsonSchema)]
struct Which {
    /// The conversation.
    conversation_id: Uuid,
    /// The message that asked.
    message_id: Uuid,
    /// The reply.
    reply_id: Uuid,
    /// Who asked.
    owner: Uuid,
}

/// A message asked for a reply.
#[derive(Serialize, JsonSchema)]
struct Requested {
    #[serde(flatten)]
    which: Which,
    /// Until when it will have ended.
    deadline: DateTime<Utc>,
    /// When.
    at: DateTime<Utc>,
}

/// A worker began an attempt.
#[derive(Serialize, JsonSchema)]
struct Begun {
    #[serde(flatten)]
    which: Which,
    /// Its number, from 1.
    attempt: u32,
    /// The worker.
    worker: String,
    /// The provider that is asked.
    provider: String,
    /// The model that is asked.
    model: String,
    /// When.
    at: DateTime<Utc>,
}

/// An attempt failed; the reply is still owed.
#[derive(Serialize, JsonSchema)]
struct AttemptFailed {
    #[serde(flatten)]
    which: Which,
    /// The attempt that failed.
    attempt: u32,
    /// Why, by its code.
    reason: String,
    /// Not tried again before this.
    not_before: DateTime<Utc>,
    /// When.
    at: DateTime<Utc>,
}

/// A reply ended with an answer.
#[derive(Serialize, JsonSchema)]
struct Completed {
    #[serde(flatten)]
    which: Which,
    /// The message that is the answer.
    answer_id: Uuid,
    /// The attempt that brought it.
    attempt: u32,
    /// The model that answered.
    model: String,
    /// Why the provider stopped: `stop`, `length` or `content_filter`.
    finish: String,
    /// Tokens read.
    prompt_tokens: u32,
    /// Tokens written.
    completion_tokens: u32,
    /// From the call of the provider to the first text, in milliseconds.
    first_token_ms: Option<u64>,
    /// From the call of the provider to the end, in milliseconds.
    total_ms: u64,
    /// When.
    at: DateTime<Utc>,
}

/// A reply ended without an answer.
#[derive(Serialize, JsonSchema)]
struct Failed {
    #[serde(flatten)]
    which: Which,
    /// The last attempt begun; 0 when there was none.
    attempt: u32,
    /// Why, by its code.
    reason: String,
    /// When.
    at: DateTime<Utc>,
}

/// A reply ended because it is no longer wanted, or its conversation was deleted.
#[derive(Serialize, JsonSchema)]
struct Cancelled {
    #[serde(flatten)]
    which: Which,
    /// The last attempt begun; 0 when there was none.
    attempt: u32,
    /// When.
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
