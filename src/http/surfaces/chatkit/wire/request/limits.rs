//! Size limits of requests.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

use super::{Action, ChatKitRequest, CustomAction, InputAnswer, UserContent, UserMessageInput};
use crate::app::{AppError, Kind};
use crate::http::errors::{ApiError, FieldError};

/// Maximum parts of a message.
pub const MAX_PARTS: usize = 64;
/// Maximum files of a message.
pub const MAX_ATTACHMENTS: usize = 10;
/// Maximum length of a text part and of a quoted text, in characters.
pub const MAX_TEXT: usize = 32_000;
/// Maximum length of a name (tag, group, model, tool, action, question, media type), in characters.
pub const MAX_NAME: usize = 256;
/// Maximum size of a tag's data and of an action's payload, in bytes of JSON.
pub const MAX_DATA: usize = 16 * 1024;
/// Maximum size of a client tool's result, in bytes of JSON.
pub const MAX_RESULT: usize = 64 * 1024;
/// Maximum nesting of a tag's data, a payload or a result.
pub const MAX_NESTING: usize = 64;
/// Maximum questions answered at once, and maximum answers to each.
pub const MAX_ANSWERS: usize = 64;
/// Maximum items rated at once.
pub const MAX_FEEDBACK: usize = 100;
/// Page size if the request gives none.
pub const DEFAULT_PAGE: usize = 20;
/// Maximum page size.
pub const MAX_PAGE: usize = 100;

/// A page size: [`DEFAULT_PAGE`] if absent, null or 0; never more than [`MAX_PAGE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(with = "Option<u64>")]
pub struct PageLimit(usize);

impl PageLimit {
    /// Returns the page size.
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

/// The result of a check; the error names the field and its limit.
type Check = Result<(), ApiError>;

impl ChatKitRequest {
    /// Rejects a request that exceeds a limit.
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

/// Returns the nesting depth of JSON.
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
    fn nesting_ignores_brackets_in_strings() {
        for (json, deep) in [("1", 0), ("[]", 1), (r#"{"a":[{"b":1}],"c":[]}"#, 3), (r#"["[[\"[["]"#, 1)] {
            assert_eq!(nesting(json.as_bytes()), deep, "{json}");
        }
    }
}
