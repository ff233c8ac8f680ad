//! Frames that clients send.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::http::errors::ApiError;
use crate::http::extract::{parse_json, unprocessable};

/// Maximum length of `ref`, in characters.
const MAX_REF: usize = 128;

/// A client's frame with its reference and idempotency key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClientEnvelope {
    /// The client's name for this frame, 1 to 128 characters; `accepted` and `error` repeat it.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Idempotency key of a command, as in the `Idempotency-Key` header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The frame.
    #[serde(flatten)]
    pub frame: ClientFrame,
}

/// A text that is not a valid frame.
#[derive(Debug)]
pub struct MalformedFrame {
    /// Its `ref`, if that could be parsed.
    pub reference: Option<String>,
    /// What is wrong with the frame.
    pub error: Box<ApiError>,
}

/// A frame that clients send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ClientFrame {
    /// Sends a message and follows its reply. A frame without a `type` is one of these.
    Message {
        /// Text: 1 to 32,000 characters.
        message: String,
        /// Conversation of the message. If absent, a new one starts.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session_id: Option<String>,
        /// Requested model, one of those at `/api/models`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model: Option<String>,
    },
    /// Follows a reply, from the beginning or from the last received id.
    Follow {
        /// Reply id.
        reply_id: String,
        /// Id of the last received frame of this reply.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<String>,
    },
    /// Cancels a reply; its text so far is stored.
    Cancel {
        /// Reply id.
        reply_id: String,
    },
    /// Regenerates the reply to a message and follows it. Later messages stay on their branch.
    Regenerate {
        /// Conversation id.
        session_id: String,
        /// Id of the message or of its answer.
        message_id: String,
        /// Requested model.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model: Option<String>,
    },
    /// Replaces a message by an edited one, on a new branch, and follows the reply.
    Edit {
        /// Conversation id.
        session_id: String,
        /// Id of the message to replace.
        message_id: String,
        /// Text: 1 to 32,000 characters.
        message: String,
        /// Requested model.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model: Option<String>,
    },
    /// Switches to another branch.
    Switch {
        /// Conversation id.
        session_id: String,
        /// Branch number.
        branch: u32,
    },
    /// Marks a conversation as read up to a message.
    Read {
        /// Conversation id.
        session_id: String,
        /// Id of the last message that was read.
        message_id: String,
    },
    /// Tells the user's other sockets that the user is typing, or has stopped.
    Typing {
        /// Conversation id.
        session_id: String,
        /// Whether the user is typing.
        typing: bool,
    },
    /// Continues with a new access token of the same user before the old one expires.
    Auth {
        /// Access token.
        token: String,
    },
    /// Requests a `pong`.
    Ping {},
}

impl ClientFrame {
    /// Returns the frame's type, for traces.
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
    /// Parses a frame.
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

    /// Returns what the idempotency key's fingerprint covers: the frame without its reference and key.
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
    fn frame_without_type_is_a_message() {
        let envelope = ClientEnvelope::parse(r#"{"message": "hi", "session_id": "s", "other": 1}"#).unwrap();
        let (message, session_id) = ("hi".to_owned(), Some("s".to_owned()));
        let frame = ClientFrame::Message { message, session_id, model: None };
        assert_eq!(envelope, ClientEnvelope { reference: None, key: None, frame });
    }

    #[test]
    fn malformed_frame_is_rejected_with_its_ref() {
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
    fn fingerprint_excludes_ref_and_key() {
        let bytes = |text: &str| ClientEnvelope::parse(text).unwrap().fingerprint_input();
        let one = bytes(r#"{"ref": "a", "key": "k", "message": "hi"}"#);
        assert_eq!(one, bytes(r#"{"type": "message", "message": "hi", "ref": "b"}"#));
        assert_ne!(one, bytes(r#"{"message": "ho"}"#));
    }
}
