//! State of a conversation: what the decisions depend on, and no text. `view` holds the queries.
//!
//! Cloning is cheap at any length: the index of messages and replies is a persistent map that clones share,
//! and there are at most [`super::MAX_PENDING_REPLIES`] pending replies.

use std::collections::VecDeque;

use chrono::{DateTime, Utc};
use cqrs_es::Aggregate;
use cqrs_es::event_sink::EventSink;
use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize};

use super::branches::Branches;
use super::event::Settings;
use super::{
    BranchEvent, ConversationCommand, ConversationError, ConversationEvent, EventBody, ItemEvent,
    LifecycleEvent, MessageEvent, ReplyEvent, decide,
};
use crate::ids::{ConversationId, MessageId, ReplyId, UserId};

/// One conversation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Conversation {
    pub(super) started: Option<ConversationState>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct ConversationState {
    pub(super) id: ConversationId,
    pub(super) owner: UserId,
    #[serde(flatten)]
    pub(super) settings: Settings,
    pub(super) deleted: bool,
    /// Position of the last message that the owner has read; 0 if there is none.
    pub(super) read_to: i64,
    /// Every message and answerable item, by the reply that it asks for or could ask for: the reply's id is derived from the
    /// message's, so one map finds both. Includes regenerated replies. Ordered, not hashed: a hash map would bring random seeds
    /// into the state.
    pub(super) replies: RedBlackTreeMapSync<ReplyId, Entry>,
    /// Pending replies in the order of their messages. Only the first may be worked on.
    pub(super) queue: VecDeque<PendingReply>,
    /// Items of all branches that wait for an answer, by number.
    pub(super) pending: RedBlackTreeMapSync<u32, Pending>,
    /// Number of the next message or item.
    pub(super) next: u32,
    /// The branches.
    pub(super) branches: Branches,
}

/// State of a reply and of the message or item that asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) state: ReplyState,
    /// Number of the message or item, in order of arrival.
    pub(super) number: u32,
    /// Branch that it was added to.
    pub(super) branch: u32,
    /// Whether an item asked, not a user's message.
    pub(super) item: bool,
    /// Number of regenerations; counted at the first reply only.
    pub(super) rounds: u32,
}

/// An item that waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pending {
    pub(super) item_id: MessageId,
    pub(super) kind: PendingKind,
}

/// What an item waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum PendingKind {
    ClientTool,
    Input,
}

/// State of the reply to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplyState {
    /// The message did not ask for a reply.
    NotAsked,
    /// The reply is pending.
    Open,
    /// The reply has ended.
    Ended {
        /// How it ended.
        ending: ReplyEnding,
        /// Last attempt begun; 0 if there was none.
        attempt: u32,
    },
}

/// The three ways in which a reply ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplyEnding {
    /// With an answer.
    Completed,
    /// Without an answer.
    Failed,
    /// By the user.
    Cancelled,
}

/// A reply that has not ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingReply {
    /// Message that asked for the reply.
    pub message_id: MessageId,
    /// The reply.
    pub reply_id: ReplyId,
    /// Requested model.
    pub model: Option<String>,
    /// Whether the client can run tools, answer questions and show widgets.
    pub interactive: bool,
    /// Time by which the reply must have ended.
    pub deadline: DateTime<Utc>,
    /// Last attempt begun; 0 if there was none.
    pub attempt: u32,
    /// Worker of that attempt; `None` before the first attempt and after a failed one.
    pub worker: Option<String>,
    /// Earliest time of the next attempt, after a failed one.
    pub not_before: Option<DateTime<Utc>>,
}

impl ConversationState {
    /// Removes the reply from the queue and records its end and whether it produced output.
    fn end(&mut self, reply_id: ReplyId, ending: ReplyEnding, attempt: u32, produced_output: bool) {
        if produced_output {
            self.branches.add_other();
        }
        self.queue.retain(|open| open.reply_id != reply_id);
        self.set(reply_id, ReplyState::Ended { ending, attempt });
    }

    fn set(&mut self, reply_id: ReplyId, state: ReplyState) {
        if let Some(entry) = self.replies.get(&reply_id).copied() {
            self.replies.insert_mut(reply_id, Entry { state, ..entry });
        }
    }

    /// Adds a message or item that a reply can be asked for.
    fn add(&mut self, asker: MessageId, item: bool) -> u32 {
        let number = self.next;
        self.next = number.saturating_add(1);
        let branch = self.branches.active();
        let entry = Entry { state: ReplyState::NotAsked, number, branch, item, rounds: 0 };
        self.replies.insert_mut(ReplyId::of(asker), entry);
        self.branches.add(number);
        number
    }

    fn add_pending(&mut self, item_id: MessageId, kind: PendingKind) {
        let number = self.add(item_id, true);
        self.pending.insert_mut(number, Pending { item_id, kind });
    }

    /// Marks an item as no longer pending.
    fn remove_pending(&mut self, item_id: MessageId) {
        if let Some(entry) = self.entry(item_id) {
            self.pending.remove_mut(&entry.number);
        }
    }

    /// Returns the entry of a message or item.
    pub(super) fn entry(&self, asker: MessageId) -> Option<Entry> {
        self.replies.get(&ReplyId::of(asker)).copied()
    }

    /// Whether a message or item is on the path of the active branch.
    pub(super) fn is_shown(&self, entry: Entry) -> bool {
        self.branches.shows(entry.branch, entry.number)
    }

    fn requested(&mut self, asker: MessageId, reply_id: ReplyId) {
        let Some(first) = self.entry(asker) else { return };
        if reply_id == ReplyId::of(asker) {
            self.replies.insert_mut(reply_id, Entry { state: ReplyState::Open, ..first });
        } else {
            let rounds = first.rounds.saturating_add(1);
            self.replies.insert_mut(ReplyId::of(asker), Entry { rounds, ..first });
            self.replies.insert_mut(reply_id, Entry { state: ReplyState::Open, rounds: 0, ..first });
        }
    }

    /// Begins a branch at a message.
    fn branch(&mut self, message: MessageId, edited: bool, fork_position: i64) {
        let Some(entry) = self.entry(message) else { return };
        let from = if edited {
            // If an existing branch begins with the message, the fork is that branch's, which lies before the message.
            self.branches.before(entry, fork_position.saturating_add(1))
        } else {
            Branches::behind(entry, fork_position)
        };
        self.branches.begin(from);
    }

    fn pending_mut(&mut self, reply_id: ReplyId) -> Option<&mut PendingReply> {
        self.queue.iter_mut().find(|open| open.reply_id == reply_id)
    }

    fn apply(&mut self, body: EventBody) {
        match body {
            // `Conversation::apply` handles the start.
            EventBody::Lifecycle(LifecycleEvent::ConversationStarted { .. }) => {}
            EventBody::Lifecycle(LifecycleEvent::ConversationDeleted {}) => self.deleted = true,
            EventBody::Settings(event) => self.settings.apply(event),
            EventBody::Message(event) => self.apply_message(event),
            EventBody::Reply { message_id, reply_id, event } => self.apply_reply(message_id, reply_id, event),
            EventBody::Branch(event) => self.apply_branch(event),
            EventBody::Item(event) => self.apply_item(event),
        }
    }

    fn apply_message(&mut self, event: MessageEvent) {
        match event {
            MessageEvent::MessageSent { message_id, .. } => {
                self.add(message_id, false);
            }
            // No decision depends on feedback.
            MessageEvent::FeedbackGiven { .. } => {}
            MessageEvent::ConversationRead { message_position, .. } => self.read_to = message_position,
        }
    }

    fn apply_reply(&mut self, message_id: MessageId, reply_id: ReplyId, event: ReplyEvent) {
        match event {
            ReplyEvent::ReplyRequested { model, interactive, deadline } => {
                self.requested(message_id, reply_id);
                self.queue.push_back(PendingReply {
                    message_id,
                    reply_id,
                    model,
                    interactive,
                    deadline,
                    attempt: 0,
                    worker: None,
                    not_before: None,
                });
            }
            ReplyEvent::ReplyBegun { attempt, plan } => {
                if let Some(open) = self.pending_mut(reply_id) {
                    open.attempt = attempt;
                    open.worker = Some(plan.worker);
                    open.not_before = None;
                }
            }
            ReplyEvent::ReplyAttemptFailed { not_before, .. } => {
                if let Some(open) = self.pending_mut(reply_id) {
                    open.worker = None;
                    open.not_before = Some(not_before);
                }
            }
            ReplyEvent::ReplyCompleted { attempt, .. } => {
                self.end(reply_id, ReplyEnding::Completed, attempt, true);
            }
            ReplyEvent::ReplyFailed { attempt, text, .. } => {
                self.end(reply_id, ReplyEnding::Failed, attempt, text.is_some());
            }
            ReplyEvent::ReplyCancelled { attempt, text } => {
                self.end(reply_id, ReplyEnding::Cancelled, attempt, text.is_some());
            }
        }
    }

    fn apply_branch(&mut self, event: BranchEvent) {
        match event {
            BranchEvent::ConversationRewound { message_id, message_position } => {
                self.branch(message_id, false, message_position);
            }
            BranchEvent::BranchBegun { message_id, edited, fork_position, .. } => {
                self.branch(message_id, edited, fork_position);
            }
            BranchEvent::BranchSwitched { branch } => self.branches.activate(branch),
        }
    }

    fn apply_item(&mut self, event: ItemEvent) {
        match event {
            ItemEvent::ClientToolCalled { item_id, .. } => self.add_pending(item_id, PendingKind::ClientTool),
            ItemEvent::InputRequested { item_id, .. } => self.add_pending(item_id, PendingKind::Input),
            ItemEvent::ClientToolAnswered { item_id, .. }
            | ItemEvent::ClientToolDropped { item_id }
            | ItemEvent::InputAnswered { item_id, .. } => self.remove_pending(item_id),
            ItemEvent::WidgetShown { .. } => self.branches.add_other(),
            ItemEvent::NoteAdded { item_id, .. } => {
                self.add(item_id, true);
            }
        }
    }
}

impl Aggregate for Conversation {
    const TYPE: &'static str = "conversation";
    type Command = ConversationCommand;
    type Event = ConversationEvent;
    type Error = ConversationError;
    type Services = ();

    async fn handle(
        &mut self,
        command: Self::Command,
        (): &Self::Services,
        sink: &EventSink<Self>,
    ) -> Result<(), Self::Error> {
        for event in decide(self, command)? {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: Self::Event) {
        if let Some(started) = &mut self.started {
            started.apply(event.body);
        } else if let EventBody::Lifecycle(LifecycleEvent::ConversationStarted { title }) = event.body {
            self.started = Some(ConversationState {
                id: event.conversation_id,
                owner: event.owner,
                settings: Settings { titled: title.is_some(), ..Settings::default() },
                deleted: false,
                read_to: 0,
                replies: RedBlackTreeMapSync::new_sync(),
                queue: VecDeque::new(),
                pending: RedBlackTreeMapSync::new_sync(),
                next: 0,
                branches: Branches::default(),
            });
        }
    }
}
