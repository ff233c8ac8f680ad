//! What a conversation can be asked to do.
//!
//! The commands with `by` come from a person and are refused to everybody but the owner; the others come from the
//! workers and the sweeper.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{
    Brought, Enclosed, FailureReason, FinishReason, InputAnswer, ReplyPlan, Timings, Usage, Verdict,
};
use crate::ids::{ConversationId, MessageId, ReplyId, UserId};
use crate::personal::Personal;
use crate::values::{MessageText, ReplyText, Title};

/// That a message asks for a reply, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WantedReply {
    /// The model wished for; none leaves the choice to the worker.
    pub model: Option<String>,
    /// Whether the asker can be asked back: can run tools, answer questions and see widgets.
    pub interactive: bool,
}

/// A message and where it stands on its path. None of that ever changes, so it holds whenever it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The message.
    pub message_id: MessageId,
    /// Its position in the log.
    pub position: i64,
    /// How many messages and answers stand before it.
    pub before: u32,
}

/// What has come of a reply that is being written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SoFar {
    /// Which.
    pub reply_id: ReplyId,
    /// What has come.
    pub text: Personal<ReplyText>,
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
        /// What is sent with it.
        enclosed: Enclosed,
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
        /// The answer. May be empty when it brings something else.
        text: Personal<ReplyText>,
        /// What it brings besides.
        brought: Vec<Brought>,
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
        /// A note for the model that goes with the end, under this id.
        note: Option<(MessageId, Personal<String>)>,
        /// When.
        at: DateTime<Utc>,
    },
    /// Ask for another reply to a message of a person's on the active path. What stands behind it stays on its branch, and
    /// another one begins; replies that are owed to it and to what stands behind are cancelled. While such a reply waits to be
    /// begun and nothing stands behind, it adds nothing.
    AskAgain {
        /// Who.
        by: UserId,
        /// The message.
        place: Place,
        /// What had come until then of replies that are owed. What is cancelled keeps it, and it stands behind its message.
        so_far: Vec<SoFar>,
        /// The reply wished for.
        reply: WantedReply,
        /// When.
        at: DateTime<Utc>,
        /// Until when the reply must have ended.
        deadline: DateTime<Utc>,
    },
    /// Put another message in the place of a person's on the active path, on a branch that begins with it, and ask for a reply.
    /// Replies that are owed to the old one and to what stands behind are cancelled. A repeated id adds nothing.
    EditMessage {
        /// Who.
        by: UserId,
        /// The message that it takes the place of.
        place: Place,
        /// The new message's id.
        message_id: MessageId,
        /// What it says.
        text: Personal<MessageText>,
        /// What is sent with it.
        enclosed: Enclosed,
        /// What had come until then of replies that are owed.
        so_far: Vec<SoFar>,
        /// The reply wished for.
        reply: WantedReply,
        /// When.
        at: DateTime<Utc>,
        /// Until when the reply must have ended.
        deadline: DateTime<Utc>,
    },
    /// Go on with another branch. Refused while replies are owed.
    SwitchBranch {
        /// Who.
        by: UserId,
        /// The branch.
        branch: u32,
        /// When.
        at: DateTime<Utc>,
    },
    /// Tell what a call of a tool of the page came to, and ask for a reply. Other calls that wait are dropped.
    AnswerClientTool {
        /// Who.
        by: UserId,
        /// The item that holds the call.
        item_id: MessageId,
        /// What it came to.
        output: Personal<Value>,
        /// The reply wished for.
        reply: WantedReply,
        /// When.
        at: DateTime<Utc>,
        /// Until when the reply must have ended.
        deadline: DateTime<Utc>,
    },
    /// Answer the questions of an item, or skip them, and ask for a reply.
    AnswerInput {
        /// Who.
        by: UserId,
        /// The item that asks.
        item_id: MessageId,
        /// Whether all of it is skipped.
        skipped: bool,
        /// One answer for each question.
        answers: Personal<Vec<InputAnswer>>,
        /// The reply wished for.
        reply: WantedReply,
        /// When.
        at: DateTime<Utc>,
        /// Until when the reply must have ended.
        deadline: DateTime<Utc>,
    },
    /// Add a note for the model, which nobody is shown. A repeated id adds nothing.
    AddNote {
        /// Who has it added.
        by: UserId,
        /// The note's id.
        item_id: MessageId,
        /// The note.
        note: Personal<String>,
        /// When.
        at: DateTime<Utc>,
    },
    /// Say what one thinks of some items; the caller knows that they are of this conversation.
    GiveFeedback {
        /// Who.
        by: UserId,
        /// Which.
        item_ids: Vec<MessageId>,
        /// What.
        verdict: Verdict,
        /// When.
        at: DateTime<Utc>,
    },
    /// Give it a title that nobody chose, unless it has one.
    SuggestTitle {
        /// The title.
        title: Personal<Title>,
        /// When.
        at: DateTime<Utc>,
    },
}
