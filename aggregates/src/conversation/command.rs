//! What a conversation can be asked to do.
//!
//! The commands with `by` come from a person and are refused to everybody but the owner; the others come from the
//! workers and the sweeper.

use chrono::{DateTime, Utc};

use super::{FailureReason, FinishReason, ReplyPlan, Timings, Usage};
use crate::ids::{ConversationId, MessageId, ReplyId, UserId};
use crate::personal::Personal;
use crate::values::{MessageText, ReplyText, Title};

/// That a message asks for a reply, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WantedReply {
    /// The model wished for; none leaves the choice to the worker.
    pub model: Option<String>,
}

/// A wish concerning one conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConversationCommand {
    /// Begin the conversation.
    Start {
        /// Its id, which is the stream's.
        id: ConversationId,
        /// Who begins it and will own it.
        by: UserId,
        /// Its title, where one was given.
        title: Option<Personal<Title>>,
        /// When.
        at: DateTime<Utc>,
    },
    /// Give it a title.
    Rename {
        /// Who.
        by: UserId,
        /// The new title.
        title: Personal<Title>,
        /// When.
        at: DateTime<Utc>,
    },
    /// Pin or unpin it.
    SetPinned {
        /// Who.
        by: UserId,
        /// Whether it is to be pinned.
        pinned: bool,
        /// When.
        at: DateTime<Utc>,
    },
    /// Archive it or take it out of the archive.
    SetArchived {
        /// Who.
        by: UserId,
        /// Whether it is to be archived.
        archived: bool,
        /// When.
        at: DateTime<Utc>,
    },
    /// Note that its owner has read it up to a message. A mark that is not further than the last one adds nothing.
    MarkRead {
        /// Who.
        by: UserId,
        /// The last message read; the caller knows that it is one of this conversation.
        message_id: MessageId,
        /// That message's position in the log.
        message_position: i64,
        /// When.
        at: DateTime<Utc>,
    },
    /// Delete it; replies still owed are cancelled.
    Delete {
        /// Who.
        by: UserId,
        /// When.
        at: DateTime<Utc>,
    },
    /// Add a message.
    Send {
        /// The message's id; a repeated one adds nothing.
        message_id: MessageId,
        /// Who wrote it.
        by: UserId,
        /// What.
        text: Personal<MessageText>,
        /// The reply wished for; none keeps the message only.
        reply: Option<WantedReply>,
        /// When.
        at: DateTime<Utc>,
        /// Until when the reply must have ended; counts only where one is wished for.
        deadline: DateTime<Utc>,
    },
    /// Begin an attempt at the reply whose turn it is.
    BeginReply {
        /// Which.
        reply_id: ReplyId,
        /// The attempt's number: one more than the last one's, the first is 1.
        attempt: u32,
        /// What the worker is about to do.
        plan: ReplyPlan,
        /// When.
        at: DateTime<Utc>,
    },
    /// Note that the running attempt failed and that the reply is to be tried again.
    RetryReply {
        /// Which.
        reply_id: ReplyId,
        /// The attempt that failed.
        attempt: u32,
        /// Why.
        reason: FailureReason,
        /// Before when the queue shall not try again.
        not_before: DateTime<Utc>,
        /// When.
        at: DateTime<Utc>,
    },
    /// Record what the running attempt brought: the reply is completed.
    RecordReply {
        /// Which.
        reply_id: ReplyId,
        /// The attempt that brought it.
        attempt: u32,
        /// The answer.
        text: Personal<ReplyText>,
        /// Why the provider stopped.
        finish: FinishReason,
        /// What it took.
        usage: Usage,
        /// How long it took.
        timings: Timings,
        /// The model that really answered.
        model: String,
        /// The provider's own id of the answer.
        provider_reply_id: Option<String>,
        /// When.
        at: DateTime<Utc>,
    },
    /// End the reply without an answer.
    FailReply {
        /// Which.
        reply_id: ReplyId,
        /// Only if this is the last attempt (0: only if none was begun); none: whatever attempt, as the sweeper
        /// does when the deadline has passed.
        attempt: Option<u32>,
        /// Why.
        reason: FailureReason,
        /// What had come until then.
        text: Option<Personal<ReplyText>>,
        /// When.
        at: DateTime<Utc>,
    },
    /// End the reply because its asker no longer wants it.
    CancelReply {
        /// Which.
        reply_id: ReplyId,
        /// Who.
        by: UserId,
        /// What had come until then.
        text: Option<Personal<ReplyText>>,
        /// When.
        at: DateTime<Utc>,
    },
}
