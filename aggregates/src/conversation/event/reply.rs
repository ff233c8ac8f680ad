//! Progress of a reply, from the request to its one end.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::super::{FailureReason, FinishReason, ReplyPlan, Timings, Usage};
use super::event_types;
use crate::ids::MessageId;
use crate::personal::Personal;
use crate::values::ReplyText;

/// A reply was requested, attempted or ended. The ids of the message and of the reply are in
/// [`EventBody::Reply`](super::EventBody::Reply).

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ReplyEvent {
    /// A message, or an answered item, asked for a reply.
    ReplyRequested {
        /// Requested model; `None` lets the worker choose.
        model: Option<String>,
        /// Whether the client can run tools, answer questions and show widgets.
        interactive: bool,
        /// Time by which the reply must have ended.
        deadline: DateTime<Utc>,
    },
    /// A worker began an attempt. Results of earlier attempts are rejected from now on.
    ReplyBegun {
        /// Number of the attempt, from 1.
        attempt: u32,
        /// Provenance: what the worker is about to send.
        plan: ReplyPlan,
    },
    /// The attempt failed; the reply is still pending.
    ReplyAttemptFailed {
        /// The failed attempt.
        attempt: u32,
        /// Reason of the failure.
        reason: FailureReason,
        /// Earliest time of the next attempt.
        not_before: DateTime<Utc>,
    },
    /// The reply ended with an answer.
    ReplyCompleted {
        /// Message that holds the answer.
        answer_id: MessageId,
        /// Attempt that produced the answer.
        attempt: u32,
        /// Text of the answer. Empty if the answer consists of items only.
        text: Personal<ReplyText>,
        /// Items of the answer; their own events follow directly after this one.
        items: Vec<MessageId>,
        /// Why the provider stopped.
        finish: FinishReason,
        /// Tokens used.
        usage: Usage,
        /// Time taken.
        timings: Timings,
        /// Model that answered.
        model: String,
        /// The provider's own id of the answer.
        provider_reply_id: Option<String>,
    },
    /// The reply ended without an answer.
    ReplyFailed {
        /// Last attempt begun; 0 if there was none.
        attempt: u32,
        /// Reason of the failure.
        reason: FailureReason,
        /// Partial text received until then.
        text: Option<Personal<ReplyText>>,
    },
    /// The user cancelled the reply or deleted the conversation.
    ReplyCancelled {
        /// Last attempt begun; 0 if there was none.
        attempt: u32,
        /// Partial text received until then.
        text: Option<Personal<ReplyText>>,
    },
}

event_types! {
    ReplyEvent {
        ReplyRequested = "reply_requested", 2;
        ReplyBegun = "reply_begun", 1;
        ReplyAttemptFailed = "reply_attempt_failed", 1;
        ReplyCompleted = "reply_completed", 2;
        ReplyFailed = "reply_failed", 1;
        ReplyCancelled = "reply_cancelled", 1;
    }
}
