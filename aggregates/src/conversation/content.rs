//! What messages and items hold besides plain text: mentions, quotes, files, calls, questions to the person.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::ids::{FileId, MessageId};
use crate::personal::Personal;

/// What is sent with the text of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enclosed {
    /// Files, in the order in which they were chosen.
    pub files: Vec<FileId>,
    /// The message as it was composed; none when it is its plain text and nothing else.
    pub composed: Option<Personal<Composed>>,
    /// The tool that the person chose in the composer, by its name.
    pub tool_choice: Option<String>,
}

/// A message as it was composed. Its plain text is the parts one after the other, a mention as `@` and its text.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Composed {
    /// Text and mentions, in order.
    pub parts: Vec<Part>,
    /// What it quotes from an earlier message.
    pub quoted: Option<String>,
}

/// Shows the type only: a person's words do not belong in logs.
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
    /// Something of the page's that is mentioned.
    Mention {
        /// The page's name for it.
        id: String,
        /// What is shown.
        text: String,
        /// What the page says about it.
        data: Map<String, Value>,
        /// The group it is shown in.
        group: Option<String>,
        /// Whether it can be clicked.
        interactive: bool,
    },
}

/// What an answer brings besides its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Brought {
    /// The page is to run one of its own tools.
    ClientToolCall {
        /// The item's id.
        item_id: MessageId,
        /// The model's name for the call.
        call_id: String,
        /// The tool.
        name: String,
        /// What it is called with.
        arguments: Personal<Value>,
    },
    /// The person is asked something.
    InputRequest {
        /// The item's id.
        item_id: MessageId,
        /// What is asked.
        questions: Personal<Vec<InputQuestion>>,
    },
    /// Something is shown.
    Widget {
        /// The item's id.
        item_id: MessageId,
        /// The widget.
        widget: Personal<Value>,
        /// What the copy button gives.
        copy_text: Option<Personal<String>>,
    },
    /// A quiz is shown, which begins in the same append.
    Quiz {
        /// The item's id, which is the quiz's.
        item_id: MessageId,
    },
}

impl Brought {
    /// The item's id.
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

/// One question to the person.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputQuestion {
    /// Its name, unique in its item.
    pub id: String,
    /// What is asked.
    pub question: String,
    /// How it can be answered.
    pub form: InputForm,
}

/// Shows the type only: the question may repeat a person's words.
impl std::fmt::Debug for InputQuestion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("InputQuestion(..)")
    }
}

/// How a question to the person can be answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum InputForm {
    /// By choosing; another answer than those offered is allowed too.
    Choice {
        /// What is offered.
        options: Vec<String>,
        /// Whether more than one may be chosen.
        multiple: bool,
    },
    /// In the person's own words.
    Freeform {
        /// A line of explanation.
        description: Option<String>,
    },
}

/// The answer to one question.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputAnswer {
    /// The question's name.
    pub id: String,
    /// What was answered; nothing when it was skipped.
    pub values: Vec<String>,
    /// Whether it was skipped.
    pub skipped: bool,
}

/// Shows the type only: a person's words do not belong in logs.
impl std::fmt::Debug for InputAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("InputAnswer(..)")
    }
}

/// What a person thinks of an item.
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
