//! How much a request may hold.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

use super::{Action, ChatKitRequest, CustomAction, InputAnswer, UserContent, UserMessageInput};
use crate::app::{AppError, Kind};
use crate::http::errors::{ApiError, FieldError};

/// The most parts of one message.
pub const MAX_PARTS: usize = 64;
/// The most files that come with one message.
pub const MAX_ATTACHMENTS: usize = 10;
/// The longest text of one part, and the longest quoted text, in characters.
pub const MAX_TEXT: usize = 32_000;
/// The longest name: of a tag, a group, a model, a tool, an action, a question, a media type; in characters.
pub const MAX_NAME: usize = 256;
/// The largest data of a tag, and the largest payload of an action, in bytes of JSON.
pub const MAX_DATA: usize = 16 * 1024;
/// The largest result of a tool of the client, in bytes of JSON.
pub const MAX_RESULT: usize = 64 * 1024;
/// How deep the data of a tag, a payload or a result may be nested.
pub const MAX_NESTING: usize = 64;
/// The most questions that are answered at once, and the most answers to one of them.
pub const MAX_ANSWERS: usize = 64;
/// The most items that feedback is given on at once.
pub const MAX_FEEDBACK: usize = 100;
/// How many elements a page has when nothing is said.
pub const DEFAULT_PAGE: usize = 20;
/// The most elements of one page.
pub const MAX_PAGE: usize = 100;

/// How many elements a page may have: [`DEFAULT_PAGE`] for absence, null and 0; never more than [`MAX_PAGE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(with = "Option<u64>")]
pub struct PageLimit(usize);

impl PageLimit {
    /// The number.
    #[must_use]
    pub const fn get(self) -> usize {
        self.0
    }
}

impl Default for PageLimit {
    fn default() -> Self {
        Self(DEFAULT_PAGE)
    }
}

impl<'de> Deserialize<'de> for PageLimit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Option::<u64>::deserialize(deserializer)? {
            None | Some(0) => Self::default(),
            Some(limit) => Self(usize::try_from(limit).map_or(MAX_PAGE, |limit| limit.min(MAX_PAGE))),
        })
    }
}

/// A refusal that names a field and what it may hold.
type Check = Result<(), ApiError>;

impl ChatKitRequest {
    /// Refuses what is too much.
    pub(super) fn check(&self) -> Check {
        match self {
            Self::CreateThread(params) => message(&params.input),
            Self::AddUserMessage(params) => message(&params.input),
            Self::AddClientToolOutput(params) => json("params.result", &params.result, MAX_RESULT),
            Self::AddStructuredInput(params) => answers(&params.input.answers),
            Self::CustomAction(CustomAction { action: Action { name, payload }, .. })
            | Self::SyncCustomAction(CustomAction { action: Action { name, payload }, .. }) => {
                short("params.action.type", name)?;
                json("params.action.payload", payload, MAX_DATA)
            }
            Self::Feedback(params) => count("params.item_ids", params.item_ids.len(), MAX_FEEDBACK),
            Self::CreateAttachment(params) => short("params.mime_type", &params.mime_type),
            Self::Transcribe(params) => short("params.mime_type", &params.mime_type),
            Self::RetryAfterItem(_)
            | Self::GetThread(_)
            | Self::ListThreads(_)
            | Self::UpdateThread(_)
            | Self::DeleteThread(_)
            | Self::ListItems(_)
            | Self::DeleteAttachment(_) => Ok(()),
        }
    }
}

fn message(input: &UserMessageInput) -> Check {
    count("params.input.content", input.content.len(), MAX_PARTS)?;
    for (index, part) in input.content.iter().enumerate() {
        let field = |name: &str| format!("params.input.content[{index}].{name}");
        match part {
            UserContent::InputText { text } => length(&field("text"), text, MAX_TEXT)?,
            UserContent::InputTag { id, text, data, group, interactive: _ } => {
                short(&field("id"), id)?;
                short(&field("text"), text)?;
                json(&field("data"), data, MAX_DATA)?;
                short(&field("group"), group.as_deref().unwrap_or_default())?;
            }
        }
    }
    count("params.input.attachments", input.attachments.len(), MAX_ATTACHMENTS)?;
    length("params.input.quoted_text", input.quoted_text.as_deref().unwrap_or_default(), MAX_TEXT)?;
    let options = &input.inference_options;
    let tool = options.tool_choice.as_ref().map_or("", |tool| &tool.id);
    short("params.input.inference_options.tool_choice.id", tool)?;
    short("params.input.inference_options.model", options.model.as_deref().unwrap_or_default())
}

fn answers(answers: &BTreeMap<String, InputAnswer>) -> Check {
    count("params.input.answers", answers.len(), MAX_ANSWERS)?;
    for (question, answer) in answers {
        short("params.input.answers", question)?;
        let field = format!("params.input.answers.{question}.values");
        count(&field, answer.values.len(), MAX_ANSWERS)?;
        for (index, value) in answer.values.iter().enumerate() {
            length(&format!("{field}[{index}]"), value, MAX_TEXT)?;
        }
    }
    Ok(())
}

fn count(field: &str, count: usize, most: usize) -> Check {
    if count <= most { Ok(()) } else { Err(too_much(field, &format!("must have at most {most} elements"))) }
}

fn short(field: &str, text: &str) -> Check {
    length(field, text, MAX_NAME)
}

fn length(field: &str, text: &str, most: usize) -> Check {
    // A text that is short enough in bytes needs no counting.
    if text.len() <= most || text.chars().count() <= most {
        return Ok(());
    }
    Err(too_much(field, &format!("must have at most {most} characters")))
}

fn json(field: &str, value: &impl serde::Serialize, most: usize) -> Check {
    let bytes = serde_json::to_vec(value).unwrap_or_default();
    if bytes.len() > most {
        return Err(too_much(field, &format!("must have at most {most} bytes of JSON")));
    }
    if nesting(&bytes) > MAX_NESTING {
        return Err(too_much(field, &format!("must not be nested deeper than {MAX_NESTING}")));
    }
    Ok(())
}

/// How deep JSON is nested.
fn nesting(json: &[u8]) -> usize {
    let (mut depth, mut deepest, mut text, mut escaped) = (0_usize, 0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if text => escaped = true,
            b'"' => text = !text,
            b'{' | b'[' if !text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

fn too_much(field: &str, message: &str) -> ApiError {
    let error = AppError::new(Kind::Invalid, "invalid_value", format!("`{field}` {message}."));
    ApiError::from(error)
        .with_errors(vec![FieldError { field: field.to_owned(), message: message.to_owned() }])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_count_where_they_are_no_text() {
        for (json, deep) in [("1", 0), ("[]", 1), (r#"{"a":[{"b":1}],"c":[]}"#, 3), (r#"["[[\"[["]"#, 1)] {
            assert_eq!(nesting(json.as_bytes()), deep, "{json}");
        }
    }
}
