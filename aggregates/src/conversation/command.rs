//! Commands of a conversation.
//!
//! Commands with `by` come from a user and are rejected for everyone but the owner; the others come from the
//! workers and the sweeper.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{
    FailureReason, FinishReason, InputAnswer, MessageContext, ReplyItem, ReplyPlan, Timings, Usage, Verdict,
};
use crate::ids::{ConversationId, MessageId, ReplyId, UserId};
use crate::personal::Personal;
use crate::values::{MessageText, ReplyText, Title};

/// Options of the reply that a message asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplyOptions {
    /// Requested model; `None` lets the worker choose.
    pub model: Option<String>,
    /// Whether the client can run tools, answer questions and show widgets.
    pub interactive: bool,
}

/// A message and its place on its path. Immutable, so a value read earlier stays correct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageRef {
    /// The message.
    pub message_id: MessageId,
    /// Position of the message in the log.
    pub position: i64,
    /// Number of messages and answers before it on its path.
    pub before: u32,
}

/// Partial text of a reply that is being generated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartialText {
    /// The reply.
    pub reply_id: ReplyId,
    /// Text received so far.
    pub text: Personal<ReplyText>,
}

/// A command for one conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConversationCommand {
    /// Starts the conversation.
    Start {
        /// Id of the conversation and of its stream.
        id: ConversationId,
        /// User who starts and owns it.
        by: UserId,
        /// Its title, if one was given.
        title: Option<Personal<Title>>,
        /// Time of the command (UTC).
        at: DateTime<Utc>,
    },
    /// Sets the title.
    Rename {
        /// Acting user.
        by: UserId,
        /// The new title.
        title: Personal<Title>,
        /// Time of the command (UTC).
        at: DateTime<Utc>,
    },
    /// Pins or unpins the conversation.
    SetPinned {
        /// Acting user.
        by: UserId,
        /// Whether to pin it.
        pinned: bool,
        /// Time of the command (UTC).
        at: DateTime<Utc>,
    },
    /// Moves the conversation to the archive or out of it.
    SetArchived {
        /// Acting user.
        by: UserId,
        /// Whether to archive it.
        archived: bool,
        /// Time of the command (UTC).
        at: DateTime<Utc>,
    },
    /// Records that the owner has read up to a message. No event unless that is further than before.
    MarkRead {
        /// Acting user.
        by: UserId,
        /// Last message read. The caller has checked that it belongs to the conversation.
        message_id: MessageId,
        /// Position of that message in the log.
        message_position: i64,
        /// Time of the command (UTC).
        at: DateTime<Utc>,
    },
    /// Deletes the conversation and cancels its pending replies.
    Delete {
        /// Acting user.
        by: UserId,
        /// Time of the command (UTC).
        at: DateTime<Utc>,
    },
    /// Adds a message.
    Send {
        /// Id of the message. A repeated id adds no event.
        message_id: MessageId,
        /// Author of the message.
        by: UserId,
        /// Text of the message.
        text: Personal<MessageText>,
        /// What is sent with the text.
        enclosed: MessageContext,
        /// Reply to request; `None` only stores the message.
        reply: Option<ReplyOptions>,
        /// Time of the command (UTC).
        at: DateTime<Utc>,
        /// Time by which the reply must have ended. Ignored if no reply is requested.
        deadline: DateTime<Utc>,
    },
    /// Begins an attempt at the first pending reply.
    BeginReply {
        /// The reply.
        reply_id: ReplyId,
        /// Number of the attempt: 1, or one more than the last.
        attempt: u32,
        /// Provenance: what the worker is about to send.
        plan: ReplyPlan,
        /// Time of the command (UTC).
        at: DateTime<Utc>,
    },
    /// Records that the running attempt failed and that the reply will be retried.
    RetryReply {
        /// The reply.
        reply_id: ReplyId,
        /// The failed attempt.
        attempt: u32,
        /// Reason of the failure.
        reason: FailureReason,
        /// Earliest time of the next attempt.
        not_before: DateTime<Utc>,
        /// Time of the command (UTC).
        at: DateTime<Utc>,
    },
    /// Completes the reply with the output of the running attempt.
    RecordReply {
        /// The reply.
        reply_id: ReplyId,
        /// Attempt that produced it.
        attempt: u32,
        /// Text of the answer. May be empty if the answer has items.
        text: Personal<ReplyText>,
        /// Items of the answer.
        items: Vec<ReplyItem>,
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
        /// Time of the command (UTC).
        at: DateTime<Utc>,
    },
    /// Ends the reply without an answer.
    FailReply {
        /// The reply.
        reply_id: ReplyId,
        /// Ends the reply only if this is the last attempt (0: only if none was begun). `None` matches any attempt; the sweeper
        /// uses it after the deadline.
        attempt: Option<u32>,
        /// Reason of the failure.
        reason: FailureReason,
        /// Partial text received until then.
        text: Option<Personal<ReplyText>>,
        /// Time of the command (UTC).
        at: DateTime<Utc>,
    },
    /// Cancels the reply at the user's request.
    CancelReply {
        /// The reply.
        reply_id: ReplyId,
        /// Acting user.
        by: UserId,
        /// Partial text received until then.
        text: Option<Personal<ReplyText>>,
        /// Note for the model to add with the cancellation, and its id.
        note: Option<(MessageId, Personal<String>)>,
        /// Time of the command (UTC).
        at: DateTime<Utc>,
    },
    /// Asks for another reply to a user's message on the active path. Later messages stay on their branch, and another branch
    /// begins. Pending replies to the message and to later ones are cancelled. No event if the message is the newest and its
    /// reply has not begun.
    Regenerate {
        /// Acting user.
        by: UserId,
        /// The message.
        place: MessageRef,
        /// Partial text of pending replies. A cancelled reply keeps its text, which counts as an answer to its message.
        partial_texts: Vec<PartialText>,
        /// Options of the reply to request.
        reply: ReplyOptions,
        /// Time of the command (UTC).
        at: DateTime<Utc>,
        /// Time by which the reply must have ended.
        deadline: DateTime<Utc>,
    },
    /// Replaces a user's message on the active path, on a new branch that begins with the replacement, and asks for a reply.
    /// Pending replies to the old message and to later ones are cancelled. A repeated id adds no event.
    EditMessage {
        /// Acting user.
        by: UserId,
        /// Message to replace.
        place: MessageRef,
        /// Id of the new message.
        message_id: MessageId,
        /// Text of the new message.
        text: Personal<MessageText>,
        /// What is sent with the text.
        enclosed: MessageContext,
        /// Partial text of pending replies.
        partial_texts: Vec<PartialText>,
        /// Options of the reply to request.
        reply: ReplyOptions,
        /// Time of the command (UTC).
        at: DateTime<Utc>,
        /// Time by which the reply must have ended.
        deadline: DateTime<Utc>,
    },
    /// Switches to another branch. Rejected while replies are pending.
    SwitchBranch {
        /// Acting user.
        by: UserId,
        /// The branch.
        branch: u32,
        /// Time of the command (UTC).
        at: DateTime<Utc>,
    },
    /// Records the output of a client tool and asks for a reply. Other pending calls are dropped.
    AnswerClientTool {
        /// Acting user.
        by: UserId,
        /// Item of the call.
        item_id: MessageId,
        /// Output of the tool.
        output: Personal<Value>,
        /// Options of the reply to request.
        reply: ReplyOptions,
        /// Time of the command (UTC).
        at: DateTime<Utc>,
        /// Time by which the reply must have ended.
        deadline: DateTime<Utc>,
    },
    /// Answers or skips the questions of an item, and asks for a reply.
    AnswerInput {
        /// Acting user.
        by: UserId,
        /// Item with the questions.
        item_id: MessageId,
        /// Whether all questions are skipped.
        skipped: bool,
        /// One answer for each question.
        answers: Personal<Vec<InputAnswer>>,
        /// Options of the reply to request.
        reply: ReplyOptions,
        /// Time of the command (UTC).
        at: DateTime<Utc>,
        /// Time by which the reply must have ended.
        deadline: DateTime<Utc>,
    },
    /// Adds a note for the model. Users do not see it. A repeated id adds no event.
    AddNote {
        /// Acting user.
        by: UserId,
        /// Id of the note.
        item_id: MessageId,
        /// The note.
        note: Personal<String>,
        /// Time of the command (UTC).
        at: DateTime<Utc>,
    },
    /// Rates items. The caller has checked that they belong to the conversation.
    GiveFeedback {
        /// Acting user.
        by: UserId,
        /// The reply.
        item_ids: Vec<MessageId>,
        /// Text of the message.
        verdict: Verdict,
        /// Time of the command (UTC).
        at: DateTime<Utc>,
    },
    /// Sets a generated title, unless there is a title already.
    SuggestTitle {
        /// The title.
        title: Personal<Title>,
        /// Time of the command (UTC).
        at: DateTime<Utc>,
    },
}
