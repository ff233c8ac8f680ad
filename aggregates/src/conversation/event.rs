//! What happened in a conversation.
//!
//! Every event is readable alone: it carries the ids it concerns, whose they are, and its time.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Enclosed, FailureReason, FinishReason, InputAnswer, InputQuestion, ReplyPlan, Timings, Usage, Verdict,
};
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
        /// What was sent with the text.
        enclosed: Enclosed,
        /// When.
        at: DateTime<Utc>,
    },
    /// The message asked for a reply, or the answered item did.
    ReplyRequested {
        /// In which conversation.
        conversation_id: ConversationId,
        /// The message or item that asked.
        message_id: MessageId,
        /// The reply.
        reply_id: ReplyId,
        /// Who asked and owns the conversation.
        owner: UserId,
        /// The model wished for; none leaves the choice to the worker.
        model: Option<String>,
        /// Whether the asker can be asked back: can run tools, answer questions and see widgets.
        interactive: bool,
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
        /// The answer. May be empty when it brought something else.
        text: Personal<ReplyText>,
        /// What it brought besides, by id; the events of these stand right after this one.
        items: Vec<MessageId>,
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
    /// What stands after a message was left behind: another branch began there. Not written any more; [`Self::BranchBegun`]
    /// is. The branch gets the next number, and forks from the one that the message stands on.
    ConversationRewound {
        /// In which conversation.
        conversation_id: ConversationId,
        /// Its owner.
        owner: UserId,
        /// The message that stays, and everything before it.
        message_id: MessageId,
        /// Position of that message in the log.
        message_position: i64,
        /// When.
        at: DateTime<Utc>,
    },
    /// Another branch began, and is the active one: what comes next stands on it. What the others hold stays there.
    BranchBegun {
        /// In which conversation.
        conversation_id: ConversationId,
        /// Its owner.
        owner: UserId,
        /// The branch's number; they are counted from 0, which is the first.
        branch: u32,
        /// The branch that it forks from, and shares the beginning with.
        parent: u32,
        /// The message at which it forks: that gets another reply, or another message takes its place.
        message_id: MessageId,
        /// Whether another message takes its place.
        edited: bool,
        /// It shares what stands on the parent's path up to this position in the log.
        fork_position: i64,
        /// How many messages and answers that are.
        messages: u32,
        /// When.
        at: DateTime<Utc>,
    },
    /// The conversation goes on with another branch, as that stands.
    BranchSwitched {
        /// In which conversation.
        conversation_id: ConversationId,
        /// Its owner.
        owner: UserId,
        /// The branch that is the active one now.
        branch: u32,
        /// When.
        at: DateTime<Utc>,
    },
    /// An answer called a tool of the page.
    ClientToolCalled {
        /// In which conversation.
        conversation_id: ConversationId,
        /// Its owner.
        owner: UserId,
        /// The item.
        item_id: MessageId,
        /// The answer.
        reply_id: ReplyId,
        /// The model's name for the call.
        call_id: String,
        /// The tool.
        name: String,
        /// What it is called with.
        arguments: Personal<Value>,
        /// When.
        at: DateTime<Utc>,
    },
    /// The page told what its tool came to.
    ClientToolAnswered {
        /// In which conversation.
        conversation_id: ConversationId,
        /// Its owner.
        owner: UserId,
        /// The item.
        item_id: MessageId,
        /// What it came to.
        output: Personal<Value>,
        /// When.
        at: DateTime<Utc>,
    },
    /// A call was dropped: another one was answered first.
    ClientToolDropped {
        /// In which conversation.
        conversation_id: ConversationId,
        /// Its owner.
        owner: UserId,
        /// The item.
        item_id: MessageId,
        /// When.
        at: DateTime<Utc>,
    },
    /// An answer asked the person something.
    InputRequested {
        /// In which conversation.
        conversation_id: ConversationId,
        /// Its owner.
        owner: UserId,
        /// The item.
        item_id: MessageId,
        /// The answer.
        reply_id: ReplyId,
        /// What is asked.
        questions: Personal<Vec<InputQuestion>>,
        /// When.
        at: DateTime<Utc>,
    },
    /// The person answered, or skipped it.
    InputAnswered {
        /// In which conversation.
        conversation_id: ConversationId,
        /// Its owner.
        owner: UserId,
        /// The item.
        item_id: MessageId,
        /// Whether all of it was skipped.
        skipped: bool,
        /// One answer for each question.
        answers: Personal<Vec<InputAnswer>>,
        /// When.
        at: DateTime<Utc>,
    },
    /// An answer showed a widget.
    WidgetShown {
        /// In which conversation.
        conversation_id: ConversationId,
        /// Its owner.
        owner: UserId,
        /// The item.
        item_id: MessageId,
        /// The answer.
        reply_id: ReplyId,
        /// The widget.
        widget: Personal<Value>,
        /// What the copy button gives.
        copy_text: Option<Personal<String>>,
        /// When.
        at: DateTime<Utc>,
    },
    /// A note for the model was added, which nobody is shown.
    NoteAdded {
        /// In which conversation.
        conversation_id: ConversationId,
        /// Its owner.
        owner: UserId,
        /// The item.
        item_id: MessageId,
        /// The note.
        note: Personal<String>,
        /// When.
        at: DateTime<Utc>,
    },
    /// The person said what they think of some items.
    FeedbackGiven {
        /// In which conversation.
        conversation_id: ConversationId,
        /// Its owner.
        owner: UserId,
        /// Which.
        item_ids: Vec<MessageId>,
        /// What.
        verdict: Verdict,
        /// When.
        at: DateTime<Utc>,
    },
}
