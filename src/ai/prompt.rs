//! What a provider is told of a conversation, turn by turn, and the tools that it may call.

use std::sync::Arc;

use serde_json::Value;

use super::Role;

/// One turn of the conversation as the provider is to see it.
#[derive(Debug, Clone, PartialEq)]
pub enum Turn {
    /// Somebody said something.
    Message {
        /// Who said it.
        role: Role,
        /// What was said.
        text: String,
        /// Files that came with it.
        files: Vec<Attached>,
    },
    /// The provider called a tool, and this is what it came to.
    ToolCall {
        /// The provider's name for the call.
        call_id: String,
        /// The tool.
        name: String,
        /// What it was called with.
        arguments: Value,
        /// What it came to.
        output: Value,
    },
}

impl Turn {
    /// Plain text.
    pub fn message(role: Role, text: impl Into<String>) -> Self {
        Self::Message { role, text: text.into(), files: Vec::new() }
    }

    /// Who said it, when somebody did.
    #[must_use]
    pub fn role(&self) -> Option<Role> {
        match self {
            Self::Message { role, .. } => Some(*role),
            Self::ToolCall { .. } => None,
        }
    }

    /// What was said; nothing for a call.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Message { text, .. } => text,
            Self::ToolCall { .. } => "",
        }
    }
}

/// A file that came with a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// Its name.
    pub name: String,
    /// Its type.
    pub mime_type: String,
    /// What is in it.
    pub content: Content,
}

/// What is in a file.
#[derive(Clone, PartialEq, Eq)]
pub enum Content {
    /// Text, cut to what may be sent.
    Text(String),
    /// Bytes of an image or a document, for a provider that can read them.
    Bytes(Arc<[u8]>),
}

/// Shows sizes only: a person's file does not belong in logs.
impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
        }
    }
}

/// A tool that the provider may call.
#[derive(Debug, Clone, PartialEq)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// What it does, for the model.
    pub description: String,
    /// JSON Schema of what it is called with.
    pub parameters: Value,
}

/// A call that the provider wants made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCall {
    /// The provider's name for the call.
    pub call_id: String,
    /// The tool.
    pub name: String,
    /// What it is called with.
    pub arguments: Value,
}
