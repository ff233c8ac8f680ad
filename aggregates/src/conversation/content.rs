//! Content of messages and items besides plain text: mentions, quotes, files, tool calls, questions.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::ids::{FileId, MessageId};
use crate::personal::Personal;

/// What is sent with the text of a message. Stored as `enclosed`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MessageContext {
    /// Files in the order chosen.
    pub files: Vec<FileId>,
    /// The message as composed; `None` if it is plain text only.
    pub composed: Option<Personal<Composed>>,
    /// Name of the tool chosen in the composer.
    pub tool_choice: Option<String>,
}

/// A message as composed. Its plain text is the concatenation of the parts, a mention as `@` and its text.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Composed {
    /// Text and mentions, in order.
    pub parts: Vec<Part>,
    /// Quote from an earlier message.
    pub quoted: Option<String>,
}

/// Shows the type only: personal text must not reach the logs.
impl std::fmt::Debug for Composed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Composed(..)")
    }
}

/// A part of a composed message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Part {
    /// Text as typed.
    Text {
        /// The text.
        text: String,
    },
    /// A mention of one of the client's entities.
    Mention {
        /// The client's id of the entity.
        id: String,
        /// Text shown.
        text: String,
        /// Data that the client attached.
        data: Map<String, Value>,
        /// Group that it is shown in.
        group: Option<String>,
        /// Whether it can be clicked.
        interactive: bool,
    },
}

/// An item that an answer contains besides its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplyItem {
    /// A call of a client tool.
    ClientToolCall {
        /// Id of the item.
        item_id: MessageId,
        /// Id that the model gave the call.
        call_id: String,
        /// Name of the tool.
        name: String,
        /// Arguments of the call.
        arguments: Personal<Value>,
    },
    /// Questions to the user.
    InputRequest {
        /// Id of the item.
        item_id: MessageId,
        /// The question.
        questions: Personal<Vec<InputQuestion>>,
    },
    /// A widget to show.
    Widget {
        /// Id of the item.
        item_id: MessageId,
        /// The widget.
        widget: Personal<Value>,
        /// Text for the copy button.
        copy_text: Option<Personal<String>>,
    },
    /// A quiz, which starts in the same append.
    Quiz {
        /// Id of the item and of the quiz.
        item_id: MessageId,
    },
}

impl ReplyItem {
    /// Id of the item.
    #[must_use]
    pub const fn item_id(&self) -> MessageId {
        match self {
            Self::ClientToolCall { item_id, .. }
            | Self::InputRequest { item_id, .. }
            | Self::Widget { item_id, .. }
            | Self::Quiz { item_id } => *item_id,
        }
    }
}

/// A question to the user.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputQuestion {
    /// Name of the question, unique in its item.
    pub id: String,
    /// The question.
    pub question: String,
    /// How to answer it.
    pub form: InputForm,
}

/// Shows the type only: the question may quote personal text.
impl std::fmt::Debug for InputQuestion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("InputQuestion(..)")
    }
}

/// How a question can be answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum InputForm {
    /// By choosing an option, or with another answer.
    Choice {
        /// The options.
        options: Vec<String>,
        /// Whether more than one may be chosen.
        multiple: bool,
    },
    /// With free text.
    Freeform {
        /// A line of explanation.
        description: Option<String>,
    },
}

/// The answer to one question.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputAnswer {
    /// Name of the question.
    pub id: String,
    /// The answers; empty if the question was skipped.
    pub values: Vec<String>,
    /// Whether it was skipped.
    pub skipped: bool,
}

/// Shows the type only: personal text must not reach the logs.
impl std::fmt::Debug for InputAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("InputAnswer(..)")
    }
}

/// A user's rating of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Good.
    Positive,
    /// Not good.
    Negative,
}

impl Verdict {
    /// The name in events and APIs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Positive => "positive",
            Self::Negative => "negative",
        }
    }
}
