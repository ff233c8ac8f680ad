//! Public events of conversations, messages and branches.

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
            /// User id of the owner.
            owner: Uuid,
            /// Time of the event (UTC).
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
    /// A conversation was started.
    Started = "conversation.started",
    /// A conversation got a title.
    Renamed = "conversation.renamed",
    /// A conversation was pinned.
    Pinned = "conversation.pinned",
    /// A conversation was unpinned.
    Unpinned = "conversation.unpinned",
    /// A conversation was moved to the archive.
    Archived = "conversation.archived",
    /// A conversation was taken out of the archive.
    Unarchived = "conversation.unarchived",
    /// The owner read a conversation up to a message.
    Read = "conversation.read",
    /// A conversation was deleted.
    Deleted = "conversation.deleted",
}

/// A user sent a message. Authorized consumers load its text from the API or the log.
#[derive(Serialize, JsonSchema)]
struct Sent {
    /// The conversation.
    conversation_id: Uuid,
    /// The message.
    message_id: Uuid,
    /// User id of the author.
    author: Uuid,
    /// Time of the event (UTC).
    at: DateTime<Utc>,
}

impl PublicData for Sent {
    const NAME: &'static str = "message.sent";
}

/// A user went back to a message; later messages are no longer visible. Only in old logs: `branch.begun` replaces it.
#[derive(Serialize, JsonSchema)]
struct Rewound {
    /// The conversation.
    conversation_id: Uuid,
    /// User id of the owner.
    owner: Uuid,
    /// Last message that stays visible.
    message_id: Uuid,
    /// Time of the event (UTC).
    at: DateTime<Utc>,
}

impl PublicData for Rewound {
    const NAME: &'static str = "conversation.rewound";
}

/// A branch of a conversation began and is active: a message gets another reply or is replaced.
#[derive(Serialize, JsonSchema)]
struct BranchBegun {
    /// The conversation.
    conversation_id: Uuid,
    /// User id of the owner.
    owner: Uuid,
    /// Number of the branch; the first branch of a conversation is 0.
    branch: u32,
    /// Branch that it forks from and shares the beginning with.
    parent: u32,
    /// Message at which the branch forks.
    message_id: Uuid,
    /// Whether another message replaces it.
    edited: bool,
    /// Time of the event (UTC).
    at: DateTime<Utc>,
}

impl PublicData for BranchBegun {
    const NAME: &'static str = "branch.begun";
}

/// A user switched to another branch of a conversation.
#[derive(Serialize, JsonSchema)]
struct BranchSwitched {
    /// The conversation.
    conversation_id: Uuid,
    /// User id of the owner.
    owner: Uuid,
    /// The branch that is now active.
    branch: u32,
    /// Time of the event (UTC).
    at: DateTime<Utc>,
}

impl PublicData for BranchSwitched {
    const NAME: &'static str = "branch.switched";
}

/// A user rated messages, answers or other items.
#[derive(Serialize, JsonSchema)]
struct Feedback {
    /// The conversation.
    conversation_id: Uuid,
    /// User id of the owner.
    owner: Uuid,
    /// The rated messages and items.
    item_ids: Vec<Uuid>,
    /// `positive` or `negative`.
    verdict: String,
    /// Time of the event (UTC).
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
