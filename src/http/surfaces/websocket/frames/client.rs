//! What clients send.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::http::errors::ApiError;
use crate::http::extract::{parse_json, unprocessable};

/// The longest `ref`, in characters.
const MAX_REF: usize = 128;

/// A frame with what stands around it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClientEnvelope {
    /// The client's own name for this frame, 1 to 128 characters; `accepted` and `error` repeat it.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Idempotency key of a command, as the header of that name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The frame.
    #[serde(flatten)]
    pub frame: ClientFrame,
}

/// A text that is no frame.
#[derive(Debug)]
pub struct MalformedFrame {
    /// Its `ref`, when that much could be read.
    pub reference: Option<String>,
    /// What is wrong with it.
    pub error: Box<ApiError>,
}

/// What a client may say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ClientFrame {
    /// Send a message and follow its reply. A frame without a `type` is one of these.
    Message {
        /// The text: 1 to 32,000 characters.
        message: String,
        /// The conversation to go on with; none begins a new one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session_id: Option<String>,
        /// The model wished for: one of those at `/api/models`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model: Option<String>,
    },
    /// Follow a reply, from the beginning or from the last id that has arrived.
    Follow {
        /// The reply.
        reply_id: String,
        /// Id of the last frame of this reply that has arrived.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<String>,
    },
    /// Cancel a reply; what has come so far is kept.
    Cancel {
        /// The reply.
        reply_id: String,
    },
    /// Ask for another reply to a message, and follow it. What stands after the message stays on its branch.
    Regenerate {
        /// The conversation.
        session_id: String,
        /// The message, or its answer.
        message_id: String,
        /// The model to ask.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model: Option<String>,
    },
    /// Put another text in the place of a message, on a branch of its own, and follow the reply.
    Edit {
        /// The conversation.
        session_id: String,
        /// The message whose place it takes.
        message_id: String,
        /// The text: 1 to 32,000 characters.
        message: String,
        /// The model to ask.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model: Option<String>,
    },
    /// Go on with another branch.
    Switch {
        /// The conversation.
        session_id: String,
        /// The branch's number.
        branch: u32,
    },
    /// Note that a conversation was read, up to and with a message.
    Read {
        /// The conversation.
        session_id: String,
        /// The last message that was read.
        message_id: String,
    },
    /// Tell the person's other sockets that they type, or have stopped.
    Typing {
        /// The conversation.
        session_id: String,
        /// Whether they type now.
        typing: bool,
    },
    /// Go on with a new access token of the same person, before the old one ends.
    Auth {
        /// The token.
        token: String,
    },
    /// Ask for a `pong`.
    Ping {},
}

impl ClientFrame {
    /// Its type, as it stands in traces.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Message { .. } => "message",
            Self::Follow { .. } => "follow",
            Self::Cancel { .. } => "cancel",
            Self::Regenerate { .. } => "regenerate",
            Self::Edit { .. } => "edit",
            Self::Switch { .. } => "switch",
            Self::Read { .. } => "read",
            Self::Typing { .. } => "typing",
            Self::Auth { .. } => "auth",
            Self::Ping {} => "ping",
        }
    }
}

impl ClientEnvelope {
    /// Reads a frame.
    ///
    /// # Errors
    /// 400 and 422, as for the body of a request.
    pub fn parse(text: &str) -> Result<Self, MalformedFrame> {
        let malformed = |reference, error| MalformedFrame { reference, error: Box::new(error) };
        let mut value: Value = parse_json(text.as_bytes()).map_err(|error| malformed(None, error))?;
        let reference =
            value.get("ref").and_then(Value::as_str).map(|text| text.chars().take(MAX_REF).collect());
        let rejected = |error| malformed(reference.clone(), error);
        let Some(object) = value.as_object_mut() else {
            return Err(rejected(unprocessable(".", "must be an object")));
        };
        object.entry("type").or_insert_with(|| Value::from("message"));
        let envelope: Self = serde_json::from_value(value)
            .map_err(|error| rejected(unprocessable(".", &error.to_string())))?;
        match &envelope.reference {
            Some(text) if text.is_empty() || text.chars().count() > MAX_REF => {
                Err(rejected(unprocessable("ref", "must have 1 to 128 characters")))
            }
            _ => Ok(envelope),
        }
    }

    /// What the idempotency key stands for: the frame itself, without its names.
    pub fn fingerprint_input(&self) -> Vec<u8> {
        let mut bytes = b"frame\n".to_vec();
        bytes.extend(serde_json::to_vec(&self.frame).unwrap_or_default());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_without_a_type_is_a_message() {
        let envelope = ClientEnvelope::parse(r#"{"message": "hi", "session_id": "s", "other": 1}"#).unwrap();
        let (message, session_id) = ("hi".to_owned(), Some("s".to_owned()));
        let frame = ClientFrame::Message { message, session_id, model: None };
        assert_eq!(envelope, ClientEnvelope { reference: None, key: None, frame });
    }

    #[test]
    fn what_is_no_frame_is_refused_with_its_ref() {
        let rejected = |text: &str| ClientEnvelope::parse(text).unwrap_err().reference;
        for text in ["", "{", "[]", "1", "null", r#""hi""#, r#"{"message": "a\u0000b"}"#] {
            assert_eq!(rejected(text), None, "{text}");
        }
        for text in [
            r#"{"ref": "r", "type": "dance"}"#,
            r#"{"ref": "r", "type": 1}"#,
            r#"{"ref": "r"}"#,
            r#"{"ref": "r", "message": 5}"#,
            r#"{"ref": "r", "type": "follow"}"#,
        ] {
            assert_eq!(rejected(text).as_deref(), Some("r"), "{text}");
        }
        assert!(ClientEnvelope::parse(r#"{"ref": "", "type": "ping"}"#).is_err());
        assert!(
            ClientEnvelope::parse(&format!(r#"{{"ref": "{}", "type": "ping"}}"#, "x".repeat(129))).is_err()
        );
    }

    #[test]
    fn a_key_stands_for_the_frame_and_not_for_its_names() {
        let bytes = |text: &str| ClientEnvelope::parse(text).unwrap().fingerprint_input();
        let one = bytes(r#"{"ref": "a", "key": "k", "message": "hi"}"#);
        assert_eq!(one, bytes(r#"{"type": "message", "message": "hi", "ref": "b"}"#));
        assert_ne!(one, bytes(r#"{"message": "ho"}"#));
    }
}
