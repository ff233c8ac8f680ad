//! Conversations and what people write in them.

use aggregates::conversation::{
    BranchEvent, ConversationEvent, EventBody, LifecycleEvent, MessageEvent, SettingsEvent,
};
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::{KindSchema, PublicData, PublicEvent, reply, schema};

macro_rules! about_a_conversation {
    ($($(#[$doc:meta])* $kind:ident = $name:literal),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Serialize, JsonSchema)]
        struct $kind {
            /// The conversation.
            conversation_id: Uuid,
            /// Whose it is.
            owner: Uuid,
            /// When it happened.
            at: DateTime<Utc>,
        }

        impl PublicData for $kind {
            const NAME: &'static str = $name;
        }

        impl $kind {
            fn of(event: &ConversationEvent) -> PublicEvent {
                PublicEvent::new(Self {
                    conversation_id: event.conversation_id.uuid(),
                    owner: event.owner.uuid(),
                    at: event.at,
                })
            }
        }
    )+

        pub(super) fn schemas(into: &mut Vec<KindSchema>) {
            into.extend([$(schema::<$kind>()),+, schema::<Sent>(), schema::<Rewound>(), schema::<Feedback>()]);
            into.extend([schema::<BranchBegun>(), schema::<BranchSwitched>()]);
        }
    };
}

about_a_conversation! {
    /// A conversation was begun.
    Started = "conversation.started",
    /// It got a title.
    Renamed = "conversation.renamed",
    /// It was pinned.
    Pinned = "conversation.pinned",
    /// It was unpinned.
    Unpinned = "conversation.unpinned",
    /// It was put into the archive.
    Archived = "conversation.archived",
    /// It was taken out of the archive.
    Unarchived = "conversation.unarchived",
    /// Its owner has read it, up to some message.
    Read = "conversation.read",
    /// It was deleted.
    Deleted = "conversation.deleted",
}

/// A person wrote a message. Its text is read from the API or the log, by whoever may.
#[derive(Serialize, JsonSchema)]
struct Sent {
    /// The conversation.
    conversation_id: Uuid,
    /// The message.
    message_id: Uuid,
    /// Who wrote it.
    author: Uuid,
    /// When.
    at: DateTime<Utc>,
}

impl PublicData for Sent {
    const NAME: &'static str = "message.sent";
}

/// A person went back to a message; what stood after it is shown no more. In old logs only: now it is `branch.begun`.
#[derive(Serialize, JsonSchema)]
struct Rewound {
    /// The conversation.
    conversation_id: Uuid,
    /// Whose it is.
    owner: Uuid,
    /// The message that stays, with everything before it.
    message_id: Uuid,
    /// When.
    at: DateTime<Utc>,
}

impl PublicData for Rewound {
    const NAME: &'static str = "conversation.rewound";
}

/// Another branch of a conversation began: a message gets another reply, or another one takes its place. It is the active one.
#[derive(Serialize, JsonSchema)]
struct BranchBegun {
    /// The conversation.
    conversation_id: Uuid,
    /// Whose it is.
    owner: Uuid,
    /// The branch's number; the first branch of a conversation is 0.
    branch: u32,
    /// The branch that it forks from, whose beginning it shares.
    parent: u32,
    /// The message at which it forks.
    message_id: Uuid,
    /// Whether another message takes its place.
    edited: bool,
    /// When.
    at: DateTime<Utc>,
}

impl PublicData for BranchBegun {
    const NAME: &'static str = "branch.begun";
}

/// A person went on with another branch of a conversation.
#[derive(Serialize, JsonSchema)]
struct BranchSwitched {
    /// The conversation.
    conversation_id: Uuid,
    /// Whose it is.
    owner: Uuid,
    /// The branch that is the active one now.
    branch: u32,
    /// When.
    at: DateTime<Utc>,
}

impl PublicData for BranchSwitched {
    const NAME: &'static str = "branch.switched";
}

/// A person said what they think of messages, answers or other items.
#[derive(Serialize, JsonSchema)]
struct Feedback {
    /// The conversation.
    conversation_id: Uuid,
    /// Whose it is.
    owner: Uuid,
    /// Which.
    item_ids: Vec<Uuid>,
    /// `positive` or `negative`.
    verdict: String,
    /// When.
    at: DateTime<Utc>,
}

impl PublicData for Feedback {
    const NAME: &'static str = "feedback.given";
}

/// The public form of an event; `None` if it is not public.
pub(super) fn public(event: &ConversationEvent) -> Option<PublicEvent> {
    Some(match &event.body {
        EventBody::Lifecycle(LifecycleEvent::ConversationStarted { .. }) => Started::of(event),
        EventBody::Lifecycle(LifecycleEvent::ConversationDeleted {}) => Deleted::of(event),
        EventBody::Settings(settings) => match settings {
            SettingsEvent::ConversationRenamed { .. } => Renamed::of(event),
            SettingsEvent::ConversationPinned {} => Pinned::of(event),
            SettingsEvent::ConversationUnpinned {} => Unpinned::of(event),
            SettingsEvent::ConversationArchived {} => Archived::of(event),
            SettingsEvent::ConversationUnarchived {} => Unarchived::of(event),
        },
        EventBody::Message(message) => message_event(event, message),
        EventBody::Reply { message_id, reply_id, event: reply } => {
            reply::public(event, *message_id, *reply_id, reply)
        }
        EventBody::Branch(branch) => branch_event(event, branch),
        // Calls, questions, widgets and notes are between the client and the model.
        EventBody::Item(_) => return None,
    })
}

fn message_event(event: &ConversationEvent, message: &MessageEvent) -> PublicEvent {
    let (conversation_id, owner, at) = (event.conversation_id.uuid(), event.owner.uuid(), event.at);
    match message {
        MessageEvent::MessageSent { message_id, .. } => {
            PublicEvent::new(Sent { conversation_id, message_id: message_id.uuid(), author: owner, at })
        }
        MessageEvent::FeedbackGiven { item_ids, verdict } => PublicEvent::new(Feedback {
            conversation_id,
            owner,
            item_ids: item_ids.iter().map(|id| id.uuid()).collect(),
            verdict: verdict.as_str().to_owned(),
            at,
        }),
        MessageEvent::ConversationRead { .. } => Read::of(event),
    }
}

fn branch_event(event: &ConversationEvent, branch: &BranchEvent) -> PublicEvent {
    let (conversation_id, owner, at) = (event.conversation_id.uuid(), event.owner.uuid(), event.at);
    match branch {
        BranchEvent::ConversationRewound { message_id, .. } => {
            PublicEvent::new(Rewound { conversation_id, owner, message_id: message_id.uuid(), at })
        }
        BranchEvent::BranchBegun { branch, parent, message_id, edited, .. } => {
            PublicEvent::new(BranchBegun {
                conversation_id,
                owner,
                branch: *branch,
                parent: *parent,
                message_id: message_id.uuid(),
                edited: *edited,
                at,
            })
        }
        BranchEvent::BranchSwitched { branch } => {
            PublicEvent::new(BranchSwitched { conversation_id, owner, branch: *branch, at })
        }
    }
}
