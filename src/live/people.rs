//! What each person's open sockets are told: stored items as they come out of the log, and who is writing.
//!
//! One task follows the log for all of them. Each person with a socket here has one channel; whoever falls behind on it, or
//! comes back with the position of the last item that arrived, is given what is missing out of the read models first
//! ([`UserFeed`]), so that every stored item comes once and in the order of the log.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use aggregates::conversation::{BranchEvent, ConversationEvent, EventBody, MessageEvent, ReplyEvent};
use aggregates::ids::{MessageId, ReplyId};
use aggregates::values::ReplyText;
use aggregates::{Event, Personal};
use event_store::{LogReader, LogTail, RecordedEvent};
use parking_lot::Mutex;
use projections::conversations::query::ReadMark;
use projections::messages::query::MessageRow;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::between::Between;
use super::feed::UserFeed;
use super::sealed::Typing;
use super::{Stored, next_events};

/// How many items a slow socket may be behind before it is sent back to the read models.
const CHANNEL: usize = 32;

/// Something that a person's sockets are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A message was stored, or an answer.
    Message(MessageRow),
    /// The owner has read so far.
    Read(ReadMark),
    /// What stood after a message is not on the active branch any more.
    Rewound {
        /// In which conversation.
        conversation: Uuid,
        /// The message that stays, with everything before it; or that goes too.
        message: MessageId,
        /// Whether another message takes its place.
        edited: bool,
        /// The branch that began; none from a process of an older version.
        branch: Option<u32>,
        /// Place of the event in the log.
        position: i64,
    },
    /// The conversation goes on with another branch.
    Switched {
        /// Which conversation.
        conversation: Uuid,
        /// The branch.
        branch: u32,
        /// Place of the event in the log.
        position: i64,
    },
    /// A reply begins to be written, or has stopped.
    Writing {
        /// In which conversation.
        conversation: Uuid,
        /// The reply.
        reply: ReplyId,
        /// Whether it is being written now.
        writing: bool,
    },
    /// The person types on another socket, or has stopped.
    Typing(Typing),
}

impl Item {
    /// Its place in the log; none for what is not stored.
    pub fn position(&self) -> Option<i64> {
        match self {
            Self::Message(row) => Some(row.position),
            Self::Read(mark) => Some(mark.position),
            Self::Rewound { position, .. } | Self::Switched { position, .. } => Some(*position),
            Self::Writing { .. } | Self::Typing(_) => None,
        }
    }
}

type Channel = broadcast::Sender<Arc<Item>>;

/// The people with open sockets on this node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct People {
    shared: Arc<Mutex<Shared>>,
    between: Option<Between>,
    stored: Stored,
}

#[derive(Debug)]
struct Shared {
    channels: HashMap<Uuid, Channel>,
    /// The log has been followed up to here.
    position: i64,
}

impl People {
    /// Nobody yet. `start` is where [`People::run`] begins; `between` reaches other processes.
    pub fn new(stored: Stored, start: i64, between: Option<Between>) -> Self {
        let shared = Shared { channels: HashMap::new(), position: start };
        Self { shared: Arc::new(Mutex::new(shared)), between, stored }
    }

    /// What `user` is told from now on; with `after`, also what came after that position.
    pub fn follow(&self, user: Uuid, after: Option<i64>) -> UserFeed {
        UserFeed::new(self.clone(), user, after)
    }

    /// The log has been followed up to here.
    pub fn position(&self) -> i64 {
        self.shared.lock().position
    }

    /// Joins a person's channel, and tells up to where the log had been followed at that moment.
    pub(super) fn join(&self, user: Uuid) -> (broadcast::Receiver<Arc<Item>>, i64) {
        let mut shared = self.shared.lock();
        let receiver = shared.channels.entry(user).or_insert_with(|| Channel::new(CHANNEL)).subscribe();
        (receiver, shared.position)
    }

    /// Forgets a person without sockets. To be called by whoever leaves.
    pub(super) fn leave(&self, user: Uuid) {
        let mut shared = self.shared.lock();
        if shared.channels.get(&user).is_some_and(|channel| channel.receiver_count() == 0) {
            shared.channels.remove(&user);
        }
    }

    pub(super) fn stored(&self) -> &Stored {
        &self.stored
    }

    /// Tells the person's other sockets, here and elsewhere, that they type or have stopped.
    pub async fn typing(&self, typing: Typing) {
        self.hear(typing);
        if let Some(between) = &self.between
            && let Err(error) = between.tell(&typing).await
        {
            tracing::debug!(%error, "other nodes are not told who types");
        }
    }

    /// Hands on what another socket or process tells.
    pub fn hear(&self, typing: Typing) {
        let shared = self.shared.lock();
        if let Some(channel) = shared.channels.get(&typing.user) {
            let _ = channel.send(Arc::new(Item::Typing(typing)));
        }
    }

    /// Takes items from the log until `stop`.
    pub async fn run(self, tail: LogTail, reader: LogReader, start: i64, stop: CancellationToken) {
        let mut subscription = tail.subscribe(start);
        while let Some(events) = next_events(&mut subscription, &stop).await {
            let asked = self.asked(&reader, &events).await;
            self.take(&events, &asked);
        }
    }

    /// The replies that messages among these events asked for. The request stands right behind its message in their stream,
    /// but others may stand between them in the log, up to the end of a batch.
    async fn asked(&self, reader: &LogReader, events: &[Arc<RecordedEvent>]) -> HashSet<ReplyId> {
        let mut asked: HashSet<ReplyId> = events.iter().filter_map(|recorded| request(recorded)).collect();
        for recorded in events {
            let Event::Conversation(ConversationEvent {
                owner,
                body: EventBody::Message(MessageEvent::MessageSent { message_id, .. }),
                ..
            }) = &recorded.event
            else {
                continue;
            };
            if asked.contains(&ReplyId::of(*message_id)) || !self.is_connected(owner.uuid()) {
                continue;
            }
            let RecordedEvent { aggregate_type, aggregate_id, sequence, .. } = recorded.as_ref();
            match reader.stream(aggregate_type, aggregate_id, *sequence).await {
                Ok(behind) => asked.extend(behind.first().and_then(|recorded| request(recorded))),
                Err(error) => tracing::warn!(%error, "whether a message asked for a reply is not told"),
            }
        }
        asked
    }

    fn is_connected(&self, user: Uuid) -> bool {
        self.shared.lock().channels.contains_key(&user)
    }

    fn take(&self, events: &[Arc<RecordedEvent>], asked: &HashSet<ReplyId>) {
        let mut shared = self.shared.lock();
        for recorded in events {
            let Event::Conversation(event) = &recorded.event else { continue };
            let Some(channel) = shared.channels.get(&event.owner.uuid()) else { continue };
            for item in items(recorded.position, event, asked) {
                // Nobody listens any more: the last one forgets the channel in a moment.
                let _ = channel.send(Arc::new(item));
            }
        }
        if let Some(last) = events.last() {
            shared.position = last.position;
        }
        metrics::gauge!("verbatim_people_connected").set(shared.channels.len() as f64);
    }
}

/// The reply that an event asks for.
fn request(recorded: &RecordedEvent) -> Option<ReplyId> {
    match &recorded.event {
        Event::Conversation(event) => event.requested_reply(),
        Event::User(_) | Event::Claim(_) | Event::Quiz(_) | Event::File(_) => None,
    }
}

/// What the owner of the conversation is told of an event, in order.
fn items(position: i64, event: &ConversationEvent, asked: &HashSet<ReplyId>) -> Vec<Item> {
    let conversation = event.conversation_id.uuid();
    let row = |message_id: &MessageId, role: &str, status: &str| MessageRow {
        message_id: message_id.uuid(),
        conversation_id: conversation,
        position,
        role: role.to_owned(),
        status: status.to_owned(),
        text: None,
        reply_id: None,
        in_reply_to: None,
        model: None,
        created_at: event.at,
    };
    match &event.body {
        EventBody::Message(event) => match event {
            MessageEvent::MessageSent { message_id, text, .. } => {
                let reply = ReplyId::of(*message_id);
                vec![Item::Message(MessageRow {
                    text: text.as_ref().known().map(|text| text.as_str().to_owned()),
                    reply_id: asked.contains(&reply).then(|| reply.uuid()),
                    ..row(message_id, "user", "complete")
                })]
            }
            MessageEvent::ConversationRead { message_id, .. } => vec![Item::Read(ReadMark {
                conversation_id: conversation,
                message_id: message_id.uuid(),
                position,
            })],
            MessageEvent::FeedbackGiven { .. } => Vec::new(),
        },
        EventBody::Branch(event) => vec![match event {
            BranchEvent::ConversationRewound { message_id, .. } => {
                Item::Rewound { conversation, message: *message_id, edited: false, branch: None, position }
            }
            BranchEvent::BranchBegun { branch, message_id, edited, .. } => {
                let (message, branch) = (*message_id, Some(*branch));
                Item::Rewound { conversation, message, edited: *edited, branch, position }
            }
            BranchEvent::BranchSwitched { branch } => {
                Item::Switched { conversation, branch: *branch, position }
            }
        }],
        EventBody::Reply { message_id, reply_id, event } => {
            let answer = MessageRow {
                reply_id: Some(reply_id.uuid()),
                in_reply_to: Some(message_id.uuid()),
                ..row(&MessageId::answering(*reply_id), "assistant", "complete")
            };
            reply_items(conversation, *reply_id, event, answer)
        }
        EventBody::Lifecycle(_) | EventBody::Settings(_) | EventBody::Item(_) => Vec::new(),
    }
}

/// The items for an event of a reply. `answer` is the row of its answer, without content.
fn reply_items(conversation: Uuid, reply: ReplyId, event: &ReplyEvent, answer: MessageRow) -> Vec<Item> {
    let writing = |writing| Item::Writing { conversation, reply, writing };
    let ended = |status: &str, text: Option<&Personal<ReplyText>>, model: Option<&String>| {
        let mut items = vec![writing(false)];
        items.extend(text.map(|text| {
            Item::Message(MessageRow {
                status: status.to_owned(),
                text: text.as_ref().known().map(|text| text.as_str().to_owned()),
                model: model.cloned(),
                ..answer
            })
        }));
        items
    };
    match event {
        ReplyEvent::ReplyBegun { .. } => vec![writing(true)],
        // The answer has no text: surfaces that can show its items load them.
        ReplyEvent::ReplyCompleted { text: Personal::Known(text), items, .. }
            if text.as_str().is_empty() && !items.is_empty() =>
        {
            ended("complete", None, None)
        }
        ReplyEvent::ReplyCompleted { text, model, .. } => ended("complete", Some(text), Some(model)),
        ReplyEvent::ReplyFailed { text, .. } => ended("failed", text.as_ref(), None),
        ReplyEvent::ReplyCancelled { text, .. } => ended("cancelled", text.as_ref(), None),
        ReplyEvent::ReplyRequested { .. } | ReplyEvent::ReplyAttemptFailed { .. } => Vec::new(),
    }
}
