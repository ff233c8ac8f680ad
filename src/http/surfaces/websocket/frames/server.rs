//! What clients are sent.

use chrono::{DateTime, Utc};
use projections::conversations::query::ReadMark;
use projections::messages::query::MessageRow;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::http::errors::ApiError;
use crate::http::formats::reply::{Deleted, Delta, EndFrame, Restart, event_id};
use crate::live::stream::Ended;
use crate::live::{Item, Resume};

/// A message, or the answer to one, as it stands in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StoredMessage {
    /// Its place in the log: a client that comes back names the last one it has.
    pub position: i64,
    /// The conversation.
    pub session_id: Uuid,
    /// Its id.
    pub message_id: Uuid,
    /// `user` or `assistant`.
    pub role: String,
    /// `complete`, or what became of the answer: `cancelled`, `failed`.
    pub status: String,
    /// None when it was erased.
    pub text: Option<String>,
    /// The reply it asked for, or is.
    pub reply_id: Option<Uuid>,
    /// The message it answers.
    pub in_reply_to: Option<Uuid>,
    /// The model that wrote it.
    pub model: Option<String>,
    /// When.
    pub created_at: DateTime<Utc>,
}

impl From<&MessageRow> for StoredMessage {
    fn from(row: &MessageRow) -> Self {
        Self {
            position: row.position,
            session_id: row.conversation_id,
            message_id: row.message_id,
            role: row.role.clone(),
            status: row.status.clone(),
            text: row.text.clone(),
            reply_id: row.reply_id,
            in_reply_to: row.in_reply_to,
            model: row.model.clone(),
            created_at: row.created_at,
        }
    }
}

/// Why a frame was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorFrame {
    /// The frame's own name, where it had one.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The status that a request would have been answered with.
    pub status: u16,
    /// Stable name for programs.
    pub code: String,
    /// One sentence for people.
    pub detail: String,
    /// Id under which the logs know the frame.
    pub request_id: String,
    /// Seconds after which it is worth trying again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
}

impl ErrorFrame {
    /// The failure of the frame that calls itself `reference`.
    pub fn new(reference: Option<String>, error: &ApiError, request_id: String) -> Self {
        let failure = error.error();
        Self {
            reference,
            status: error.status().as_u16(),
            code: failure.code.to_owned(),
            detail: failure.detail.clone(),
            request_id,
            retry_after: error.retry_after(),
        }
    }
}

/// How a reply was cancelled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum CancelledFrame {
    /// By its asker; what had come is kept.
    Kept {
        /// What `after` names.
        id: String,
        /// How.
        #[serde(flatten)]
        end: Box<EndFrame>,
    },
    /// With its conversation.
    Deleted(Deleted),
}

/// What a socket is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type")]
pub enum ServerFrame {
    /// The first frame.
    #[serde(rename = "hello")]
    Hello {
        /// Version of the vocabulary.
        version: u32,
        /// What is stored after this place is told; what stands before it is in the history.
        position: i64,
    },
    /// A command was carried out.
    #[serde(rename = "accepted")]
    Accepted {
        /// The command's own name.
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
        /// Place of what was done, for queries that have to see it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        position: Option<i64>,
        /// The conversation.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session_id: Option<Uuid>,
        /// The message that was sent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user_message_id: Option<Uuid>,
        /// The answer it will have.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message_id: Option<Uuid>,
        /// The reply.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reply_id: Option<Uuid>,
    },
    /// A message was stored, or an answer; each comes once, in the order of the log.
    #[serde(rename = "message")]
    Message(StoredMessage),
    /// More text of a reply that this socket follows.
    #[serde(rename = "reply.delta")]
    Delta {
        /// What `after` names.
        id: String,
        /// The text.
        #[serde(flatten)]
        delta: Delta,
    },
    /// What came of the reply so far is void.
    #[serde(rename = "reply.restart")]
    Restart(Restart),
    /// The reply has ended with an answer.
    #[serde(rename = "reply.done")]
    Done {
        /// What `after` names.
        id: String,
        /// How.
        #[serde(flatten)]
        end: EndFrame,
    },
    /// The reply has ended without one.
    #[serde(rename = "reply.failed")]
    Failed {
        /// What `after` names.
        id: String,
        /// How.
        #[serde(flatten)]
        end: EndFrame,
    },
    /// The reply was cancelled.
    #[serde(rename = "reply.cancelled")]
    Cancelled(CancelledFrame),
    /// The person has read a conversation so far.
    #[serde(rename = "read")]
    Read {
        /// Place of the mark in the log.
        position: i64,
        /// The conversation.
        session_id: Uuid,
        /// The last message that was read.
        message_id: Uuid,
    },
    /// Another branch began at a message: what stood after it is not on the path any more.
    #[serde(rename = "rewound")]
    Rewound {
        /// Place of that in the log.
        position: i64,
        /// The conversation.
        session_id: Uuid,
        /// The message that stays, with everything before it; with `edited` it goes too.
        message_id: Uuid,
        /// Whether another message takes its place.
        #[serde(default)]
        edited: bool,
        /// The branch that began, and is the active one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        branch: Option<u32>,
    },
    /// The person went on with another branch: the conversation is to be loaded from the history.
    #[serde(rename = "switched")]
    Switched {
        /// Place of that in the log.
        position: i64,
        /// The conversation.
        session_id: Uuid,
        /// The branch that is the active one now.
        branch: u32,
    },
    /// Somebody writes, or has stopped.
    #[serde(rename = "typing")]
    Typing {
        /// The conversation.
        session_id: Uuid,
        /// `user` (on another socket) or `assistant`.
        who: String,
        /// Whether they write now.
        typing: bool,
        /// The reply that the assistant writes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reply_id: Option<Uuid>,
    },
    /// More was missed than is sent: what is stored up to here is to be loaded from the history.
    #[serde(rename = "reset")]
    Reset {
        /// Up to where.
        position: i64,
    },
    /// A frame was not taken, or a reply can not be followed any more.
    #[serde(rename = "error")]
    Error(ErrorFrame),
    /// The answer to `ping`.
    #[serde(rename = "pong")]
    Pong {
        /// The question's own name.
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
}

impl ServerFrame {
    /// The end of a reply, at that place of its stream.
    pub fn end(ended: &Ended, reply: aggregates::ids::ReplyId, at: Resume) -> Self {
        let (id, end) = (event_id(reply, at), EndFrame::from(ended));
        match ended.reply.state.as_str() {
            "completed" => Self::Done { id, end },
            "cancelled" => Self::Cancelled(CancelledFrame::Kept { id, end: Box::new(end) }),
            _ => Self::Failed { id, end },
        }
    }

    /// What the socket `socket` is told of an item; none for what it told itself.
    pub fn item(item: &Item, socket: Uuid) -> Option<Self> {
        Some(match item {
            Item::Message(row) => Self::Message(row.into()),
            Item::Read(ReadMark { conversation_id, message_id, position }) => {
                Self::Read { position: *position, session_id: *conversation_id, message_id: *message_id }
            }
            Item::Rewound { conversation, message, edited, branch, position } => Self::Rewound {
                position: *position,
                session_id: *conversation,
                message_id: message.uuid(),
                edited: *edited,
                branch: *branch,
            },
            Item::Switched { conversation, branch, position } => {
                Self::Switched { position: *position, session_id: *conversation, branch: *branch }
            }
            Item::Writing { conversation, reply, writing } => Self::Typing {
                session_id: *conversation,
                who: "assistant".to_owned(),
                typing: *writing,
                reply_id: Some(reply.uuid()),
            },
            // Whoever told it knows.
            Item::Typing(typing) if typing.socket == socket => return None,
            Item::Typing(typing) => Self::Typing {
                session_id: typing.conversation,
                who: "user".to_owned(),
                typing: typing.typing,
                reply_id: None,
            },
        })
    }
}
