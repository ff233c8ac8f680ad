//! Names, versions and common fields of a conversation's events.

use chrono::{DateTime, Utc};
use cqrs_es::DomainEvent;

use super::ConversationEvent;
use crate::ids::{ConversationId, UserId};

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
        ("message_sent", 2),
        ("reply_requested", 2),
        ("reply_begun", 1),
        ("reply_attempt_failed", 1),
        ("reply_completed", 2),
        ("reply_failed", 1),
        ("reply_cancelled", 1),
        ("conversation_rewound", 1),
        ("branch_begun", 1),
        ("branch_switched", 1),
        ("client_tool_called", 1),
        ("client_tool_answered", 1),
        ("client_tool_dropped", 1),
        ("input_requested", 1),
        ("input_answered", 1),
        ("widget_shown", 1),
        ("note_added", 1),
        ("feedback_given", 1),
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
            Self::ConversationRewound { .. } => "conversation_rewound",
            Self::BranchBegun { .. } => "branch_begun",
            Self::BranchSwitched { .. } => "branch_switched",
            Self::ClientToolCalled { .. } => "client_tool_called",
            Self::ClientToolAnswered { .. } => "client_tool_answered",
            Self::ClientToolDropped { .. } => "client_tool_dropped",
            Self::InputRequested { .. } => "input_requested",
            Self::InputAnswered { .. } => "input_answered",
            Self::WidgetShown { .. } => "widget_shown",
            Self::NoteAdded { .. } => "note_added",
            Self::FeedbackGiven { .. } => "feedback_given",
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
            | Self::ReplyCancelled { at, .. }
            | Self::ConversationRewound { at, .. }
            | Self::BranchBegun { at, .. }
            | Self::BranchSwitched { at, .. }
            | Self::ClientToolCalled { at, .. }
            | Self::ClientToolAnswered { at, .. }
            | Self::ClientToolDropped { at, .. }
            | Self::InputRequested { at, .. }
            | Self::InputAnswered { at, .. }
            | Self::WidgetShown { at, .. }
            | Self::NoteAdded { at, .. }
            | Self::FeedbackGiven { at, .. } => *at,
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
            | Self::ReplyCancelled { conversation_id, .. }
            | Self::ConversationRewound { conversation_id, .. }
            | Self::BranchBegun { conversation_id, .. }
            | Self::BranchSwitched { conversation_id, .. }
            | Self::ClientToolCalled { conversation_id, .. }
            | Self::ClientToolAnswered { conversation_id, .. }
            | Self::ClientToolDropped { conversation_id, .. }
            | Self::InputRequested { conversation_id, .. }
            | Self::InputAnswered { conversation_id, .. }
            | Self::WidgetShown { conversation_id, .. }
            | Self::NoteAdded { conversation_id, .. }
            | Self::FeedbackGiven { conversation_id, .. } => *conversation_id,
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
            | Self::ReplyCancelled { owner, .. }
            | Self::ConversationRewound { owner, .. }
            | Self::BranchBegun { owner, .. }
            | Self::BranchSwitched { owner, .. }
            | Self::ClientToolCalled { owner, .. }
            | Self::ClientToolAnswered { owner, .. }
            | Self::ClientToolDropped { owner, .. }
            | Self::InputRequested { owner, .. }
            | Self::InputAnswered { owner, .. }
            | Self::WidgetShown { owner, .. }
            | Self::NoteAdded { owner, .. }
            | Self::FeedbackGiven { owner, .. } => *owner,
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
