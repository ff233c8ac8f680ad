//! Items for the open sockets of each user: stored items as they come out of the log, and who is writing.
//!
//! One task follows the log for all users. Each user with a socket here has one channel. A socket that falls behind on it,
//! or reconnects with its last position, first gets the missing items from the read models ([`UserFeed`]); so every
//! stored item arrives once and in the order of the log.

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

use super::cluster_bus::ClusterBus;
use super::envelope::Typing;
use super::feed::UserFeed;
use super::{ReadModels, next_events};

/// How many items a slow socket may lag behind before it has to read from the read models.
const CHANNEL_CAPACITY: usize = 32;

/// One item for a user's sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A message or an answer was stored.
    Message(MessageRow),
    /// The owner has read up to a message.
    Read(ReadMark),
    /// The messages after `message` are no longer on the active branch.
    Rewound {
        /// The conversation's id.
        conversation: Uuid,
        /// Last message that stays on the branch; an edited one is replaced too.
        message: MessageId,
        /// Whether an edited message replaces `message`.
        edited: bool,
        /// The branch that began; `None` from a process of an older version.
        branch: Option<u32>,
        /// Position of the event in the log.
        position: i64,
    },
    /// The conversation continues on another branch.
    Switched {
        /// The conversation's id.
        conversation: Uuid,
        /// The branch that is active now.
        branch: u32,
        /// Position of the event in the log.
        position: i64,
    },
    /// A reply started or stopped being written.
    Writing {
        /// The conversation's id.
        conversation: Uuid,
        /// The reply's id.
        reply: ReplyId,
        /// Whether the reply is being written now.
        writing: bool,
    },
    /// The user started or stopped typing on another socket.
    Typing(Typing),
}

impl Item {
    /// Returns the position in the log; `None` for items that are not stored.
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

/// The channels of users with open sockets in this process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct UserChannels {
    shared: Arc<Mutex<Shared>>,
    cluster_bus: Option<ClusterBus>,
    read_models: ReadModels,
}

#[derive(Debug)]
struct Shared {
    channels: HashMap<Uuid, Channel>,
    /// Position up to which the log has been followed.
    position: i64,
}

impl UserChannels {
    /// Creates an empty collection. `start` is where [`UserChannels::run`] begins; `bus` reaches other processes.
    pub fn new(read_models: ReadModels, start: i64, cluster_bus: Option<ClusterBus>) -> Self {
        let shared = Shared { channels: HashMap::new(), position: start };
        Self { shared: Arc::new(Mutex::new(shared)), cluster_bus, read_models }
    }

    /// Follows `user`'s items from now on, or after position `after`.
    pub fn follow(&self, user: Uuid, after: Option<i64>) -> UserFeed {
        UserFeed::new(self.clone(), user, after)
    }

    /// Returns the position up to which the log has been followed.
    pub fn position(&self) -> i64 {
        self.shared.lock().position
    }

    /// Joins a user's channel and returns the position up to which the log had been followed at that moment.
    pub(super) fn join(&self, user: Uuid) -> (broadcast::Receiver<Arc<Item>>, i64) {
        let mut shared = self.shared.lock();
        let receiver =
            shared.channels.entry(user).or_insert_with(|| Channel::new(CHANNEL_CAPACITY)).subscribe();
        (receiver, shared.position)
    }

    /// Removes the channel of a user without sockets. Called when a feed is dropped.
    pub(super) fn leave(&self, user: Uuid) {
        let mut shared = self.shared.lock();
        if shared.channels.get(&user).is_some_and(|channel| channel.receiver_count() == 0) {
            shared.channels.remove(&user);
        }
    }

    pub(super) fn read_models(&self) -> &ReadModels {
        &self.read_models
    }

    /// Sends a typing indicator to the user's other sockets, in this and other processes.
    pub async fn typing(&self, typing: Typing) {
        self.deliver_typing(typing);
        if let Some(cluster_bus) = &self.cluster_bus
            && let Err(error) = cluster_bus.publish_typing(&typing).await
        {
            tracing::debug!(%error, "failed to publish typing indicator");
        }
    }

    /// Delivers a typing indicator to the sockets in this process.
    pub fn deliver_typing(&self, typing: Typing) {
        let shared = self.shared.lock();
        if let Some(channel) = shared.channels.get(&typing.user) {
            let _ = channel.send(Arc::new(Item::Typing(typing)));
        }
    }

    /// Delivers items from the log until `stop`.
    pub async fn run(self, tail: LogTail, reader: LogReader, start: i64, stop: CancellationToken) {
        let mut subscription = tail.subscribe(start);
        while let Some(events) = next_events(&mut subscription, &stop).await {
            let requested = self.requested_replies(&reader, &events).await;
            self.deliver(&events, &requested);
        }
    }

    /// Returns the replies that messages among these events requested. The request directly follows its message in the
    /// stream, but other events may separate them in the log, up to the end of a batch.
    async fn requested_replies(&self, reader: &LogReader, events: &[Arc<RecordedEvent>]) -> HashSet<ReplyId> {
        let mut requested: HashSet<ReplyId> =
            events.iter().filter_map(|recorded| requested_reply(recorded)).collect();
        for recorded in events {
            let Event::Conversation(ConversationEvent {
                owner,
                body: EventBody::Message(MessageEvent::MessageSent { message_id, .. }),
                ..
            }) = &recorded.event
            else {
                continue;
            };
            if requested.contains(&ReplyId::of(*message_id)) || !self.is_connected(owner.uuid()) {
                continue;
            }
            let RecordedEvent { aggregate_type, aggregate_id, sequence, .. } = recorded.as_ref();
            match reader.stream(aggregate_type, aggregate_id, *sequence).await {
                Ok(following) => {
                    requested.extend(following.first().and_then(|recorded| requested_reply(recorded)))
                }
                Err(error) => tracing::warn!(%error, "failed to load reply state for message; not broadcast"),
            }
        }
        requested
    }

    fn is_connected(&self, user: Uuid) -> bool {
        self.shared.lock().channels.contains_key(&user)
    }

    fn deliver(&self, events: &[Arc<RecordedEvent>], requested: &HashSet<ReplyId>) {
        let mut shared = self.shared.lock();
        for recorded in events {
            let Event::Conversation(event) = &recorded.event else { continue };
            let Some(channel) = shared.channels.get(&event.owner.uuid()) else { continue };
            for item in items(recorded.position, event, requested) {
                // An error means that no one listens any more; the last feed is about to remove the channel.
                let _ = channel.send(Arc::new(item));
            }
        }
        if let Some(last) = events.last() {
            shared.position = last.position;
        }
        metrics::gauge!("verbatim_connected_users").set(shared.channels.len() as f64);
    }
}

/// Returns the reply that an event requests.
fn requested_reply(recorded: &RecordedEvent) -> Option<ReplyId> {
    match &recorded.event {
        Event::Conversation(event) => event.requested_reply(),
        Event::User(_) | Event::Claim(_) | Event::Quiz(_) | Event::File(_) => None,
    }
}

/// Returns the items that an event means for the conversation's owner, in order.
fn items(position: i64, event: &ConversationEvent, requested: &HashSet<ReplyId>) -> Vec<Item> {
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
                    reply_id: requested.contains(&reply).then(|| reply.uuid()),
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

/// Returns the items for an event of a reply. `answer` is the row of its answer, without content.
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
        // The answer has no text: clients that can show its items load them.
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
