//! Frames that the server sends.

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

/// A stored message or answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StoredMessage {
    /// Log position; a client that reconnects names the last one it has.
    pub position: i64,
    /// Conversation id.
    pub session_id: Uuid,
    /// Message id.
    pub message_id: Uuid,
    /// `user` or `assistant`.
    pub role: String,
    /// `complete`, or how the answer ended: `cancelled`, `failed`.
    pub status: String,
    /// Text; null if it was erased.
    pub text: Option<String>,
    /// Reply that the message asked for, or is.
    pub reply_id: Option<Uuid>,
    /// Message that the answer belongs to.
    pub in_reply_to: Option<Uuid>,
    /// Model that wrote the answer.
    pub model: Option<String>,
    /// Creation time (UTC).
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

/// A rejected frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorFrame {
    /// `ref` of the frame, if it had one.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Status that an HTTP request would have received.
    pub status: u16,
    /// Stable code for programs.
    pub code: String,
    /// One sentence for users.
    pub detail: String,
    /// Request id of the frame in the logs.
    pub request_id: String,
    /// Seconds after which a retry makes sense.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
}

impl ErrorFrame {
    /// Creates the error for the frame with this `ref`.
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

/// The end of a cancelled reply.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum CancelledFrame {
    /// Cancelled by the user; the text so far is stored.
    Kept {
        /// Id that `after` takes.
        id: String,
        /// The last frame.
        #[serde(flatten)]
        end: Box<EndFrame>,
    },
    /// Cancelled because the conversation was deleted.
    Deleted(Deleted),
}

/// A frame that the server sends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type")]
pub enum ServerFrame {
    /// First frame of a connection.
    #[serde(rename = "hello")]
    Hello {
        /// Version of the frames.
        version: u32,
        /// Log position. Later items follow on this socket; earlier ones are in the history.
        position: i64,
    },
    /// A command succeeded.
    #[serde(rename = "accepted")]
    Accepted {
        /// `ref` of the command.
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
        /// Log position of the command, for queries that must include it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        position: Option<i64>,
        /// Conversation id.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session_id: Option<Uuid>,
        /// Id of the message that was sent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user_message_id: Option<Uuid>,
        /// Id of the future answer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message_id: Option<Uuid>,
        /// Reply id.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reply_id: Option<Uuid>,
    },
    /// A message or answer was stored. Each is sent once, in log order.
    #[serde(rename = "message")]
    Message(StoredMessage),
    /// A piece of text of a followed reply.
    #[serde(rename = "reply.delta")]
    Delta {
        /// Id that `after` takes.
        id: String,
        /// The piece.
        #[serde(flatten)]
        delta: Delta,
    },
    /// Voids the text of a reply so far.
    #[serde(rename = "reply.restart")]
    Restart(Restart),
    /// A reply ended with an answer.
    #[serde(rename = "reply.done")]
    Done {
        /// Id that `after` takes.
        id: String,
        /// The last frame.
        #[serde(flatten)]
        end: EndFrame,
    },
    /// A reply failed.
    #[serde(rename = "reply.failed")]
    Failed {
        /// Id that `after` takes.
        id: String,
        /// The last frame.
        #[serde(flatten)]
        end: EndFrame,
    },
    /// A reply was cancelled.
    #[serde(rename = "reply.cancelled")]
    Cancelled(CancelledFrame),
    /// The user has read a conversation up to a message.
    #[serde(rename = "read")]
    Read {
        /// Log position.
        position: i64,
        /// Conversation id.
        session_id: Uuid,
        /// Id of the last message that was read.
        message_id: Uuid,
    },
    /// A new branch started at a message; later messages are no longer on the active path.
    #[serde(rename = "rewound")]
    Rewound {
        /// Log position.
        position: i64,
        /// Conversation id.
        session_id: Uuid,
        /// Last message that stays on the path; with `edited`, the message that was replaced.
        message_id: Uuid,
        /// Whether an edited message replaces this one.
        #[serde(default)]
        edited: bool,
        /// Number of the new, active branch.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        branch: Option<u32>,
    },
    /// Another branch became active: reload the conversation from the history.
    #[serde(rename = "switched")]
    Switched {
        /// Log position.
        position: i64,
        /// Conversation id.
        session_id: Uuid,
        /// Number of the active branch.
        branch: u32,
    },
    /// The user or the assistant is typing, or has stopped.
    #[serde(rename = "typing")]
    Typing {
        /// Conversation id.
        session_id: Uuid,
        /// `user` (on another socket) or `assistant`.
        who: String,
        /// Whether they are typing.
        typing: bool,
        /// Reply that the assistant writes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reply_id: Option<Uuid>,
    },
    /// Too many items were missed: load everything up to here from the history.
    #[serde(rename = "reset")]
    Reset {
        /// Log position.
        position: i64,
    },
    /// A frame was rejected, or a reply can no longer be followed.
    #[serde(rename = "error")]
    Error(ErrorFrame),
    /// Response to `ping`.
    #[serde(rename = "pong")]
    Pong {
        /// `ref` of the ping.
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
}

impl ServerFrame {
    /// Creates the frame for the end of a reply, at a place in its stream.
    pub fn end(ended: &Ended, reply: aggregates::ids::ReplyId, at: Resume) -> Self {
        let (id, end) = (event_id(reply, at), EndFrame::from(ended));
        match ended.reply.state.as_str() {
            "completed" => Self::Done { id, end },
            "cancelled" => Self::Cancelled(CancelledFrame::Kept { id, end: Box::new(end) }),
            _ => Self::Failed { id, end },
        }
    }

    /// Creates the frame for an item; returns `None` for typing that this socket itself reported.
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
            // The sender already knows.
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
