//! The state of a conversation: what its decisions need to know, and no text. What may be asked of it stands in `view`.
//!
//! Cloning is cheap whatever the length: the index of messages and replies is a persistent map that clones share,
//! and beside it there are at most [`super::MAX_WAITING`] replies still owed.

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
    pub(super) started: Option<Started>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Started {
    pub(super) id: ConversationId,
    pub(super) owner: UserId,
    #[serde(flatten)]
    pub(super) settings: Settings,
    pub(super) deleted: bool,
    /// Position of the last message that its owner has read; 0 when there is none.
    pub(super) read_to: i64,
    /// Every message, and every item that can be answered, by the reply that it asks for or could have asked for: the one
    /// id follows from the other, so one map finds both. Replies that were asked for again stand here too. Ordered, not hashed: a hash map would bring random seeds into the state.
    pub(super) replies: RedBlackTreeMapSync<ReplyId, Entry>,
    /// The replies owed, in the order of their messages. Only the first one may be worked on.
    pub(super) queue: VecDeque<OpenReply>,
    /// Items that wait for an answer, on whichever branch, by their numbers.
    pub(super) pending: RedBlackTreeMapSync<u32, Pending>,
    /// The number that the next message or item gets.
    pub(super) next: u32,
    /// The branches.
    pub(super) branches: Branches,
}

/// What is known of a reply, and of the message or item that asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) state: ReplyState,
    /// Number of the message or item, in the order in which they came.
    pub(super) number: u32,
    /// The branch that it stands on of its own.
    pub(super) branch: u32,
    /// Whether an item asked, not a person's message.
    pub(super) item: bool,
    /// How often it was asked again; counted at the first reply only.
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

/// How it stands with the reply to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplyState {
    /// The message asked for none.
    NotAsked,
    /// It is owed.
    Open,
    /// It has ended.
    Ended {
        /// How.
        ending: ReplyEnding,
        /// The last attempt begun; 0 when there was none.
        attempt: u32,
    },
}

/// The three ways in which a reply ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplyEnding {
    /// With an answer.
    Completed,
    /// Without one.
    Failed,
    /// By its asker.
    Cancelled,
}

/// A reply that is owed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenReply {
    /// The message that asked.
    pub message_id: MessageId,
    /// The reply.
    pub reply_id: ReplyId,
    /// The model wished for.
    pub model: Option<String>,
    /// Whether the asker can be asked back.
    pub interactive: bool,
    /// Until when the reply must have ended.
    pub deadline: DateTime<Utc>,
    /// The last attempt begun; 0 when there was none.
    pub attempt: u32,
    /// Who is working on that attempt; none before the first and after a failed one.
    pub worker: Option<String>,
    /// Before when the queue shall not try again, after a failed attempt.
    pub not_before: Option<DateTime<Utc>>,
}

impl Started {
    /// Takes the reply out of the queue and remembers its end, and whether anything came of it.
    fn end(&mut self, reply_id: ReplyId, ending: ReplyEnding, attempt: u32, stands: bool) {
        if stands {
            self.branches.follow();
        }
        self.queue.retain(|open| open.reply_id != reply_id);
        self.set(reply_id, ReplyState::Ended { ending, attempt });
    }

    fn set(&mut self, reply_id: ReplyId, state: ReplyState) {
        if let Some(entry) = self.replies.get(&reply_id).copied() {
            self.replies.insert_mut(reply_id, Entry { state, ..entry });
        }
    }

    /// Takes in a message or item that a reply can be asked for.
    fn enter(&mut self, asker: MessageId, item: bool) -> u32 {
        let number = self.next;
        self.next = number.saturating_add(1);
        let branch = self.branches.active();
        let entry = Entry { state: ReplyState::NotAsked, number, branch, item, rounds: 0 };
        self.replies.insert_mut(ReplyId::of(asker), entry);
        self.branches.enter(number);
        number
    }

    fn wait_for(&mut self, item_id: MessageId, kind: PendingKind) {
        let number = self.enter(item_id, true);
        self.pending.insert_mut(number, Pending { item_id, kind });
    }

    /// An item waits no more.
    fn waited(&mut self, item_id: MessageId) {
        if let Some(entry) = self.entry(item_id) {
            self.pending.remove_mut(&entry.number);
        }
    }

    /// What is known of a message or item.
    pub(super) fn entry(&self, asker: MessageId) -> Option<Entry> {
        self.replies.get(&ReplyId::of(asker)).copied()
    }

    /// Whether a message or item stands on the path of the active branch.
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

    /// A branch began at a message, as `fork_position` says.
    fn branch(&mut self, message: MessageId, edited: bool, fork_position: i64) {
        let Some(entry) = self.entry(message) else { return };
        let from = if edited {
            // Where the fork is that of a branch that begins with the message, its position is not before the message.
            self.branches.before(entry, fork_position.saturating_add(1))
        } else {
            Branches::behind(entry, fork_position)
        };
        self.branches.begin(from);
    }

    fn open_mut(&mut self, reply_id: ReplyId) -> Option<&mut OpenReply> {
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
                self.enter(message_id, false);
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
                self.queue.push_back(OpenReply {
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
                if let Some(open) = self.open_mut(reply_id) {
                    open.attempt = attempt;
                    open.worker = Some(plan.worker);
                    open.not_before = None;
                }
            }
            ReplyEvent::ReplyAttemptFailed { not_before, .. } => {
                if let Some(open) = self.open_mut(reply_id) {
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
            BranchEvent::BranchSwitched { branch } => self.branches.go_to(branch),
        }
    }

    fn apply_item(&mut self, event: ItemEvent) {
        match event {
            ItemEvent::ClientToolCalled { item_id, .. } => self.wait_for(item_id, PendingKind::ClientTool),
            ItemEvent::InputRequested { item_id, .. } => self.wait_for(item_id, PendingKind::Input),
            ItemEvent::ClientToolAnswered { item_id, .. }
            | ItemEvent::ClientToolDropped { item_id }
            | ItemEvent::InputAnswered { item_id, .. } => self.waited(item_id),
            ItemEvent::WidgetShown { .. } => self.branches.follow(),
            ItemEvent::NoteAdded { item_id, .. } => {
                self.enter(item_id, true);
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
            self.started = Some(Started {
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
