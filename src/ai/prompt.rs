//! Prompts: turns of the conversation as a provider receives them, and the tools that the model can call.

use std::sync::Arc;

use serde_json::Value;

use super::Role;

/// One turn of the conversation.
#[derive(Debug, Clone, PartialEq)]
pub enum Turn {
    /// A message of the user or an answer of the assistant.
    Message {
        /// Speaker.
        role: Role,
        /// Text.
        text: String,
        /// Attached files.
        files: Vec<Attached>,
    },
    /// A tool call of the assistant, with its output.
    ToolCall {
        /// The provider's id of the call.
        call_id: String,
        /// Name of the tool.
        name: String,
        /// Arguments of the call.
        arguments: Value,
        /// Output of the tool.
        output: Value,
    },
}

impl Turn {
    /// Creates a message without files.
    pub fn message(role: Role, text: impl Into<String>) -> Self {
        Self::Message { role, text: text.into(), files: Vec::new() }
    }

    /// Returns the speaker of a message; `None` for a tool call.
    #[must_use]
    pub fn role(&self) -> Option<Role> {
        match self {
            Self::Message { role, .. } => Some(*role),
            Self::ToolCall { .. } => None,
        }
    }

    /// Returns the text of a message; empty for a tool call.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Message { text, .. } => text,
            Self::ToolCall { .. } => "",
        }
    }
}

/// A file attached to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// File name.
    pub name: String,
    /// Media type.
    pub mime_type: String,
    /// Content.
    pub content: Content,
}

/// Content of a file.
#[derive(Clone, PartialEq, Eq)]
pub enum Content {
    /// Text, cut to its share of the prompt.
    Text(String),
    /// Bytes of an image or a document.
    Bytes(Arc<[u8]>),
}

/// Shows sizes only: a user's file does not belong in logs.
impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
        }
    }
}

/// A tool that the model can call.
#[derive(Debug, Clone, PartialEq)]
pub struct Tool {
    /// Name.
    pub name: String,
    /// Description for the model.
    pub description: String,
    /// JSON Schema of the arguments.
    pub parameters: Value,
}

/// A tool call of the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCall {
    /// The provider's id of the call.
    pub call_id: String,
    /// Name of the tool.
    pub name: String,
    /// Arguments.
    pub arguments: Value,
}
