//! `ask_user`: asks the user questions, to choose from or to answer freely.

use aggregates::Personal;
use aggregates::conversation::{InputForm, InputQuestion, ReplyItem};
use serde::Deserialize;
use serde_json::json;

use super::{CallContext, CallOutcome, ReplyTool};
use crate::ai::{Tool, ToolCall};

/// Most questions of one call.
const MAX_QUESTIONS: usize = 10;
/// Most options of one question.
const MAX_OPTIONS: usize = 20;
/// Most characters of a question or option.
const MAX_CHARS: usize = 2_000;

/// The tool.
pub struct AskUser;

#[derive(Deserialize)]
struct Arguments {
    questions: Vec<Question>,
}

#[derive(Deserialize)]
struct Question {
    #[serde(default)]
    id: Option<String>,
    question: String,
    #[serde(default)]
    options: Vec<String>,
    #[serde(default)]
    multiple: bool,
    #[serde(default)]
    description: Option<String>,
}

impl ReplyTool for AskUser {
    fn definition(&self) -> Tool {
        Tool {
            name: "ask_user".to_owned(),
            description: "Ask the person one or more questions, to choose from or to answer freely."
                .to_owned(),
            parameters: json!({
                "type": "object", "required": ["questions"],
                "properties": {"questions": {"type": "array", "items": {
                    "type": "object", "required": ["question"],
                    "properties": {
                        "id": {"type": "string"},
                        "question": {"type": "string"},
                        "options": {"type": "array", "items": {"type": "string"}},
                        "multiple": {"type": "boolean"},
                        "description": {"type": "string"},
                    },
                }}},
            }),
        }
    }

    fn call(&self, call: ToolCall, context: &CallContext) -> CallOutcome {
        let arguments: Option<Arguments> = serde_json::from_value(call.arguments).ok();
        match arguments.and_then(Arguments::questions) {
            Some(questions) => CallOutcome::produced(ReplyItem::InputRequest {
                item_id: context.item_id,
                questions: Personal::Known(questions),
            }),
            None => CallOutcome::Rejected,
        }
    }
}

impl Arguments {
    /// Returns the questions, each with a unique id; `None` when there are too many, or one is too long.
    fn questions(self) -> Option<Vec<InputQuestion>> {
        if self.questions.is_empty() || self.questions.len() > MAX_QUESTIONS {
            return None;
        }
        let mut questions: Vec<InputQuestion> = Vec::with_capacity(self.questions.len());
        for (n, asked) in self.questions.into_iter().enumerate() {
            if !asked.is_valid() {
                return None;
            }
            let is_free = |id: &String| questions.iter().all(|other| other.id != *id);
            let given = asked.id.filter(|id| fits(id) && is_free(id));
            // An id that the model gave to one question must not be generated for another.
            let id = given.or_else(|| (n + 1..).map(|n| format!("question-{n}")).find(is_free))?;
            let form = if asked.options.is_empty() {
                InputForm::Freeform { description: asked.description }
            } else {
                InputForm::Choice { options: asked.options, multiple: asked.multiple }
            };
            questions.push(InputQuestion { id, question: asked.question, form });
        }
        Some(questions)
    }
}

impl Question {
    fn is_valid(&self) -> bool {
        fits(&self.question)
            && self.options.len() <= MAX_OPTIONS
            && self.options.iter().all(|option| fits(option))
            && self.description.as_deref().is_none_or(fits)
    }
}

/// Returns whether a text is neither blank nor too long.
fn fits(text: &str) -> bool {
    !text.trim().is_empty() && text.chars().count() <= MAX_CHARS
}
