//! What happened in a conversation.
//!
//! Every event is readable alone: it carries the ids it concerns, whose they are, and its time.

use chrono::{DateTime, Utc};
use cqrs_es::DomainEvent;
use serde::{Deserialize, Serialize};

use super::{FailureReason, FinishReason, ReplyPlan, Timings, Usage};
use crate::ids::{ConversationId, MessageId, ReplyId, UserId};
use crate::personal::Personal;
use crate::values::{MessageText, ReplyText, Title};

/// A fact about one conversation. Fields that this version does not know are refused, never dropped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ConversationEvent {
    /// The conversation was begun.
    ConversationStarted {
        /// Which conversation.
        conversation_id: ConversationId,
        /// Its owner.
        owner: UserId,
        /// Its title, where one was given.
        title: Option<Personal<Title>>,
        /// When.
        at: DateTime<Utc>,
    },
    /// It got a title.
    ConversationRenamed {
        /// Which conversation.
        conversation_id: ConversationId,
        /// Its owner.
        owner: UserId,
        /// The new title.
        title: Personal<Title>,
        /// When.
        at: DateTime<Utc>,
    },
    /// It was pinned.
    ConversationPinned {
        /// Which conversation.
        conversation_id: ConversationId,
        /// Its owner.
        owner: UserId,
        /// When.
        at: DateTime<Utc>,
    },
    /// It was unpinned.
    ConversationUnpinned {
        /// Which conversation.
        conversation_id: ConversationId,
        /// Its owner.
        owner: UserId,
        /// When.
        at: DateTime<Utc>,
    },
    /// It was put into the archive.
    ConversationArchived {
        /// Which conversation.
        conversation_id: ConversationId,
        /// Its owner.
        owner: UserId,
        /// When.
        at: DateTime<Utc>,
    },
    /// It was taken out of the archive.
    ConversationUnarchived {
        /// Which conversation.
        conversation_id: ConversationId,
        /// Its owner.
        owner: UserId,
        /// When.
        at: DateTime<Utc>,
    },
    /// Its owner has read it, up to and with a message.
    ConversationRead {
        /// Which conversation.
        conversation_id: ConversationId,
        /// Its owner.
        owner: UserId,
        /// The last message that was read; an answer is one too.
        message_id: MessageId,
        /// Position of that message in the log: marks only ever go forward.
        message_position: i64,
        /// When.
        at: DateTime<Utc>,
    },
    /// It was deleted. The replies still owed were cancelled by the events before this one.
    ConversationDeleted {
        /// Which conversation.
        conversation_id: ConversationId,
        /// Its owner.
        owner: UserId,
        /// When.
        at: DateTime<Utc>,
    },
    /// A person added a message.
    MessageSent {
        /// In which conversation.
        conversation_id: ConversationId,
        /// The message.
        message_id: MessageId,
        /// Who wrote it.
        author: UserId,
        /// What.
        text: Personal<MessageText>,
        /// When.
        at: DateTime<Utc>,
    },
    /// The message asked for a reply.
    ReplyRequested {
        /// In which conversation.
        conversation_id: ConversationId,
        /// The message that asked.
        message_id: MessageId,
        /// The reply.
        reply_id: ReplyId,
        /// Who asked and owns the conversation.
        owner: UserId,
        /// The model wished for; none leaves the choice to the worker.
        model: Option<String>,
        /// Until when the reply must have ended.
        deadline: DateTime<Utc>,
        /// When.
        at: DateTime<Utc>,
    },
    /// A worker began an attempt. Whatever an earlier attempt still brings is refused from now on.
    ReplyBegun {
        /// In which conversation.
        conversation_id: ConversationId,
        /// The message that asked.
        message_id: MessageId,
        /// The reply.
        reply_id: ReplyId,
        /// Who asked and owns the conversation.
        owner: UserId,
        /// The attempt's number, from 1.
        attempt: u32,
        /// What the worker is about to do.
        plan: ReplyPlan,
        /// When.
        at: DateTime<Utc>,
    },
    /// The attempt failed; the reply is still owed.
    ReplyAttemptFailed {
        /// In which conversation.
        conversation_id: ConversationId,
        /// The message that asked.
        message_id: MessageId,
        /// The reply.
        reply_id: ReplyId,
        /// Who asked and owns the conversation.
        owner: UserId,
        /// The attempt that failed.
        attempt: u32,
        /// Why.
        reason: FailureReason,
        /// Before when the queue shall not try again.
        not_before: DateTime<Utc>,
        /// When.
        at: DateTime<Utc>,
    },
    /// The reply ended with an answer.
    ReplyCompleted {
        /// In which conversation.
        conversation_id: ConversationId,
        /// The message that asked.
        message_id: MessageId,
        /// The reply.
        reply_id: ReplyId,
        /// Who asked and owns the conversation.
        owner: UserId,
        /// The message that is the answer.
        answer_id: MessageId,
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
    /// The reply ended without an answer.
    ReplyFailed {
        /// In which conversation.
        conversation_id: ConversationId,
        /// The message that asked.
        message_id: MessageId,
        /// The reply.
        reply_id: ReplyId,
        /// Who asked and owns the conversation.
        owner: UserId,
        /// The last attempt begun; 0 when there was none.
        attempt: u32,
        /// Why.
        reason: FailureReason,
        /// What had come until then.
        text: Option<Personal<ReplyText>>,
        /// When.
        at: DateTime<Utc>,
    },
    /// The reply ended because its asker no longer wants it, or deleted the conversation.
    ReplyCancelled {
        /// In which conversation.
        conversation_id: ConversationId,
        /// The message that asked.
        message_id: MessageId,
        /// The reply.
        reply_id: ReplyId,
        /// Who asked and owns the conversation.
        owner: UserId,
        /// The last attempt begun; 0 when there was none.
        attempt: u32,
        /// What had come until then.
        text: Option<Personal<ReplyText>>,
        /// When.
        at: DateTime<Utc>,
    },
}

impl ConversationEvent {
    /// Every event type of this aggregate with the version that this code writes.
    pub const TYPES: &[(&str, u32)] = &[
        ("conversation_started", 1),
        ("conversation_renamed", 1),
        ("conversation_pinned", 1),
        ("conversation_unpinned", 1),
        ("conversation_archived", 1),
        ("conversation_unarchived", 1),
        ("conversation_read", 1),
        ("conversation_deleted", 1),
        ("message_sent", 1),
        ("reply_requested", 1),
        ("reply_begun", 1),
        ("reply_attempt_failed", 1),
        ("reply_completed", 1),
        ("reply_failed", 1),
        ("reply_cancelled", 1),
    ];

    /// The event's name in the log.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::ConversationStarted { .. } => "conversation_started",
            Self::ConversationRenamed { .. } => "conversation_renamed",
            Self::ConversationPinned { .. } => "conversation_pinned",
            Self::ConversationUnpinned { .. } => "conversation_unpinned",
            Self::ConversationArchived { .. } => "conversation_archived",
            Self::ConversationUnarchived { .. } => "conversation_unarchived",
            Self::ConversationRead { .. } => "conversation_read",
            Self::ConversationDeleted { .. } => "conversation_deleted",
            Self::MessageSent { .. } => "message_sent",
            Self::ReplyRequested { .. } => "reply_requested",
            Self::ReplyBegun { .. } => "reply_begun",
            Self::ReplyAttemptFailed { .. } => "reply_attempt_failed",
            Self::ReplyCompleted { .. } => "reply_completed",
            Self::ReplyFailed { .. } => "reply_failed",
            Self::ReplyCancelled { .. } => "reply_cancelled",
        }
    }

    /// When it happened.
    #[must_use]
    pub const fn at(&self) -> DateTime<Utc> {
        match self {
            Self::ConversationStarted { at, .. }
            | Self::ConversationRenamed { at, .. }
            | Self::ConversationPinned { at, .. }
            | Self::ConversationUnpinned { at, .. }
            | Self::ConversationArchived { at, .. }
            | Self::ConversationUnarchived { at, .. }
            | Self::ConversationRead { at, .. }
            | Self::ConversationDeleted { at, .. }
            | Self::MessageSent { at, .. }
            | Self::ReplyRequested { at, .. }
            | Self::ReplyBegun { at, .. }
            | Self::ReplyAttemptFailed { at, .. }
            | Self::ReplyCompleted { at, .. }
            | Self::ReplyFailed { at, .. }
            | Self::ReplyCancelled { at, .. } => *at,
        }
    }

    /// In which conversation it happened.
    #[must_use]
    pub const fn conversation_id(&self) -> ConversationId {
        match self {
            Self::ConversationStarted { conversation_id, .. }
            | Self::ConversationRenamed { conversation_id, .. }
            | Self::ConversationPinned { conversation_id, .. }
            | Self::ConversationUnpinned { conversation_id, .. }
            | Self::ConversationArchived { conversation_id, .. }
            | Self::ConversationUnarchived { conversation_id, .. }
            | Self::ConversationRead { conversation_id, .. }
            | Self::ConversationDeleted { conversation_id, .. }
            | Self::MessageSent { conversation_id, .. }
            | Self::ReplyRequested { conversation_id, .. }
            | Self::ReplyBegun { conversation_id, .. }
            | Self::ReplyAttemptFailed { conversation_id, .. }
            | Self::ReplyCompleted { conversation_id, .. }
            | Self::ReplyFailed { conversation_id, .. }
            | Self::ReplyCancelled { conversation_id, .. } => *conversation_id,
        }
    }

    /// The owner of the conversation it happened in; for a message, its author.
    #[must_use]
    pub const fn owner(&self) -> UserId {
        match self {
            Self::ConversationStarted { owner, .. }
            | Self::ConversationRenamed { owner, .. }
            | Self::ConversationPinned { owner, .. }
            | Self::ConversationUnpinned { owner, .. }
            | Self::ConversationArchived { owner, .. }
            | Self::ConversationUnarchived { owner, .. }
            | Self::ConversationRead { owner, .. }
            | Self::ConversationDeleted { owner, .. }
            | Self::MessageSent { author: owner, .. }
            | Self::ReplyRequested { owner, .. }
            | Self::ReplyBegun { owner, .. }
            | Self::ReplyAttemptFailed { owner, .. }
            | Self::ReplyCompleted { owner, .. }
            | Self::ReplyFailed { owner, .. }
            | Self::ReplyCancelled { owner, .. } => *owner,
        }
    }
}

impl DomainEvent for ConversationEvent {
    fn event_type(&self) -> String {
        self.name().to_owned()
    }

    fn event_version(&self) -> String {
        crate::versions::written(Self::TYPES, self.name())
    }
}
