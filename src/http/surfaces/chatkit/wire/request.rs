//! Requests of clients.
//!
//! One endpoint takes every request; its `type` names the kind. Parsing has three steps, so that each error names the
//! invalid place: the envelope, the parameters of the type, the size limits.

use std::collections::BTreeMap;

use aggregates::values::{FileName, Title};
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::ids::IdKind;
use super::item::{InferenceOptions, InputAnswer, UserContent};
use crate::app::{AppError, Kind};
use crate::http::errors::{ApiError, FieldError};
use crate::http::extract::json_object::{named_objects, object, objects};
use crate::http::extract::{parse_json, parse_part, unprocessable};

mod limits;

pub use limits::*;

/// A request.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[schemars(tag = "type", content = "params")]
pub enum ChatKitRequest {
    /// Creates a thread with its first message. Streamed.
    #[schemars(rename = "threads.create")]
    CreateThread(CreateThread),
    /// Adds a message to a thread. Streamed.
    #[schemars(rename = "threads.add_user_message")]
    AddUserMessage(AddUserMessage),
    /// Reports the result of a client tool call. Streamed.
    #[schemars(rename = "threads.add_client_tool_output")]
    AddClientToolOutput(AddClientToolOutput),
    /// Answers questions. Streamed.
    #[schemars(rename = "threads.add_structured_input")]
    AddStructuredInput(AddStructuredInput),
    /// Regenerates the answer to a message. Streamed.
    #[schemars(rename = "threads.retry_after_item")]
    RetryAfterItem(RetryAfterItem),
    /// Performs an action of a widget. Streamed.
    #[schemars(rename = "threads.custom_action")]
    CustomAction(CustomAction),
    /// Returns a thread with its first items.
    #[schemars(rename = "threads.get_by_id")]
    GetThread(GetThread),
    /// Lists threads.
    #[schemars(rename = "threads.list")]
    ListThreads(ListThreads),
    /// Changes the title.
    #[schemars(rename = "threads.update")]
    UpdateThread(UpdateThread),
    /// Deletes a thread.
    #[schemars(rename = "threads.delete")]
    DeleteThread(DeleteThread),
    /// Lists items of a thread.
    #[schemars(rename = "items.list")]
    ListItems(ListItems),
    /// Rates items.
    #[schemars(rename = "items.feedback")]
    Feedback(Feedback),
    /// Announces a file.
    #[schemars(rename = "attachments.create")]
    CreateAttachment(CreateAttachment),
    /// Deletes a file that was not sent.
    #[schemars(rename = "attachments.delete")]
    DeleteAttachment(DeleteAttachment),
    /// Transcribes a recording.
    #[schemars(rename = "input.transcribe")]
    Transcribe(Transcribe),
    /// Performs an action of a widget, without a stream.
    #[schemars(rename = "threads.sync_custom_action")]
    SyncCustomAction(CustomAction),
}

/// Parameters of `threads.create`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
pub struct CreateThread {
    /// First message.
    #[serde(deserialize_with = "object")]
    pub input: UserMessageInput,
}

/// Parameters of `threads.add_user_message`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
pub struct AddUserMessage {
    /// Thread id.
    #[schemars(transform = thread_id)]
    pub thread_id: String,
    /// The message.
    #[serde(deserialize_with = "object")]
    pub input: UserMessageInput,
}

/// Content of a user's message.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
pub struct UserMessageInput {
    /// Parts of the content.
    #[serde(deserialize_with = "objects")]
    #[schemars(length(max = MAX_PARTS))]
    pub content: Vec<UserContent>,
    /// Ids of attached files, each once.
    #[schemars(length(max = MAX_ATTACHMENTS), extend("uniqueItems" = true))]
    pub attachments: Vec<String>,
    /// Requested tool and model.
    #[serde(deserialize_with = "object")]
    pub inference_options: InferenceOptions,
    /// Quoted text.
    #[serde(default)]
    #[schemars(length(max = MAX_TEXT))]
    pub quoted_text: Option<String>,
}

/// Parameters of `threads.add_client_tool_output`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
pub struct AddClientToolOutput {
    /// Thread id.
    #[schemars(transform = thread_id)]
    pub thread_id: String,
    /// Result of the call; may be null.
    pub result: Value,
}

/// Parameters of `threads.add_structured_input`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
pub struct AddStructuredInput {
    /// Thread id.
    #[schemars(transform = thread_id)]
    pub thread_id: String,
    /// Item id.
    #[schemars(transform = item_id)]
    pub item_id: String,
    /// The answers.
    #[serde(deserialize_with = "object")]
    pub input: StructuredInputSubmission,
}

/// Answers to the questions of an item.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
pub struct StructuredInputSubmission {
    /// Whether the user answered or skipped the questions.
    #[serde(default, deserialize_with = "or_default")]
    #[schemars(with = "Option<SubmissionStatus>")]
    pub status: SubmissionStatus,
    /// Answers by question id.
    #[serde(default, deserialize_with = "named_objects")]
    #[schemars(with = "Option<BTreeMap<String, InputAnswer>>", extend("maxProperties" = MAX_ANSWERS, "propertyNames" = {"maxLength": MAX_NAME}))]
    pub answers: BTreeMap<String, InputAnswer>,
}

/// Whether the user answered or skipped the questions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SubmissionStatus {
    /// Answered.
    #[default]
    Answered,
    /// Skipped all questions.
    Skipped,
}

/// Parameters of `threads.retry_after_item`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct RetryAfterItem {
    /// Thread id.
    #[schemars(transform = thread_id)]
    pub thread_id: String,
    /// Message id.
    #[schemars(transform = item_id)]
    pub item_id: String,
}

/// Parameters of `threads.custom_action` and `threads.sync_custom_action`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
pub struct CustomAction {
    /// Thread id.
    #[schemars(transform = thread_id)]
    pub thread_id: String,
    /// Id of the item with the widget, if a widget sent the action.
    #[serde(default)]
    #[schemars(transform = item_id)]
    pub item_id: Option<String>,
    /// The action.
    #[serde(deserialize_with = "object")]
    pub action: Action,
}

/// An action. The browser controls all of it.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
pub struct Action {
    /// Action name.
    #[serde(rename = "type")]
    #[schemars(length(max = MAX_NAME))]
    pub name: String,
    /// Payload of the action.
    #[serde(default)]
    pub payload: Value,
}

/// Parameters of `threads.get_by_id`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct GetThread {
    /// Thread id.
    #[schemars(transform = thread_id)]
    pub thread_id: String,
}

/// Parameters of `threads.list`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct ListThreads {
    /// Maximum number of threads.
    #[serde(default)]
    #[schemars(with = "Option<u64>")]
    pub limit: PageLimit,
    /// Sort order.
    #[serde(default, deserialize_with = "or_default")]
    #[schemars(with = "Option<Order>")]
    pub order: Order,
    /// Cursor of the page.
    #[serde(default)]
    pub after: Option<String>,
}

/// Parameters of `threads.update`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct UpdateThread {
    /// Thread id.
    #[schemars(transform = thread_id)]
    pub thread_id: String,
    /// Title: at most 200 characters, no control characters; may be empty.
    #[schemars(length(max = Title::MAX_CHARS), regex(pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$"))]
    pub title: String,
}

/// Parameters of `threads.delete`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct DeleteThread {
    /// Thread id.
    #[schemars(transform = thread_id)]
    pub thread_id: String,
}

/// Parameters of `items.list`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct ListItems {
    /// Thread id.
    #[schemars(transform = thread_id)]
    pub thread_id: String,
    /// Maximum number of items.
    #[serde(default)]
    #[schemars(with = "Option<u64>")]
    pub limit: PageLimit,
    /// Sort order.
    #[serde(default, deserialize_with = "or_default")]
    #[schemars(with = "Option<Order>")]
    pub order: Order,
    /// Cursor of the page.
    #[serde(default)]
    pub after: Option<String>,
}

/// Parameters of `items.feedback`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct Feedback {
    /// Thread id.
    #[schemars(transform = thread_id)]
    pub thread_id: String,
    /// Item ids; may be empty.
    #[schemars(length(max = MAX_FEEDBACK))]
    pub item_ids: Vec<String>,
    /// The rating.
    pub kind: FeedbackKind,
}

/// A rating.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FeedbackKind {
    /// Positive rating.
    Positive,
    /// Negative rating.
    Negative,
}

/// Parameters of `attachments.create`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct CreateAttachment {
    /// File name.
    #[schemars(length(min = 1, max = FileName::MAX_CHARS))]
    pub name: String,
    /// File size in bytes.
    #[schemars(range(min = 1))]
    pub size: u64,
    /// Media type: an accepted type that matches the file name.
    #[schemars(length(max = MAX_NAME))]
    pub mime_type: String,
}

/// Parameters of `attachments.delete`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct DeleteAttachment {
    /// File id.
    pub attachment_id: String,
}

/// Parameters of `input.transcribe`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct Transcribe {
    /// The recording, in base64.
    #[schemars(length(min = 1), extend("contentEncoding" = "base64"))]
    pub audio_base64: String,
    /// Media type, possibly with a codec.
    #[schemars(length(max = MAX_NAME), regex(pattern = r"^audio/(webm|mp4|ogg|mpeg|wav|x-wav)(;.*)?$"))]
    pub mime_type: String,
}

/// Sort order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Oldest first.
    Asc,
    /// Newest first.
    #[default]
    Desc,
}

/// Adds the pattern of thread ids.
fn thread_id(schema: &mut Schema) {
    IdKind::Thread.describe(schema);
}

/// Adds the maximum length of item ids, which have several prefixes.
fn item_id(schema: &mut Schema) {
    schema.insert("maxLength".to_owned(), 64.into());
}

/// Deserializes a field for which null means the default.
pub(super) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// Envelope of every request.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(rename = "type")]
    name: String,
    #[serde(borrow)]
    params: &'a RawValue,
    /// Ignored, but must be an object.
    #[serde(default, rename = "metadata")]
    _metadata: Map<String, Value>,
}

impl ChatKitRequest {
    /// Parses a request.
    ///
    /// # Errors
    /// `malformed_request` (422) for invalid JSON and for a missing or mistyped field; `unknown_request_type` (422);
    /// `invalid_character` (400) for U+0000; `invalid_value` (400) for an exceeded limit. All but `invalid_character`
    /// name the field.
    pub fn parse(bytes: &[u8]) -> Result<Self, ApiError> {
        if bytes.trim_ascii_start().starts_with(b"[") {
            return Err(no_object("."));
        }
        let Envelope { name, params, _metadata } = parse_json(bytes)?;
        let request = match name.as_str() {
            "threads.create" => Self::CreateThread(read(params)?),
            "threads.add_user_message" => Self::AddUserMessage(read(params)?),
            "threads.add_client_tool_output" => Self::AddClientToolOutput(read(params)?),
            "threads.add_structured_input" => Self::AddStructuredInput(read(params)?),
            "threads.retry_after_item" => Self::RetryAfterItem(read(params)?),
            "threads.custom_action" => Self::CustomAction(read(params)?),
            "threads.get_by_id" => Self::GetThread(read(params)?),
            "threads.list" => Self::ListThreads(read(params)?),
            "threads.update" => Self::UpdateThread(read(params)?),
            "threads.delete" => Self::DeleteThread(read(params)?),
            "items.list" => Self::ListItems(read(params)?),
            "items.feedback" => Self::Feedback(read(params)?),
            "attachments.create" => Self::CreateAttachment(read(params)?),
            "attachments.delete" => Self::DeleteAttachment(read(params)?),
            "input.transcribe" => Self::Transcribe(read(params)?),
            "threads.sync_custom_action" => Self::SyncCustomAction(read(params)?),
            _ => return Err(unknown_type()),
        };
        request.check()?;
        Ok(request)
    }

    /// Returns the `type`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::CreateThread(_) => "threads.create",
            Self::AddUserMessage(_) => "threads.add_user_message",
            Self::AddClientToolOutput(_) => "threads.add_client_tool_output",
            Self::AddStructuredInput(_) => "threads.add_structured_input",
            Self::RetryAfterItem(_) => "threads.retry_after_item",
            Self::CustomAction(_) => "threads.custom_action",
            Self::GetThread(_) => "threads.get_by_id",
            Self::ListThreads(_) => "threads.list",
            Self::UpdateThread(_) => "threads.update",
            Self::DeleteThread(_) => "threads.delete",
            Self::ListItems(_) => "items.list",
            Self::Feedback(_) => "items.feedback",
            Self::CreateAttachment(_) => "attachments.create",
            Self::DeleteAttachment(_) => "attachments.delete",
            Self::Transcribe(_) => "input.transcribe",
            Self::SyncCustomAction(_) => "threads.sync_custom_action",
        }
    }

    /// Returns whether the request is answered with a stream of events.
    #[must_use]
    pub const fn is_streaming(&self) -> bool {
        matches!(
            self,
            Self::CreateThread(_)
                | Self::AddUserMessage(_)
                | Self::AddClientToolOutput(_)
                | Self::AddStructuredInput(_)
                | Self::RetryAfterItem(_)
                | Self::CustomAction(_)
        )
    }
}

fn read<'a, T: Deserialize<'a>>(params: &'a RawValue) -> Result<T, ApiError> {
    if params.get().starts_with('[') {
        return Err(no_object("params"));
    }
    parse_part("params", params.get())
}

/// Serde would read a list as the fields in order; no client means that.
fn no_object(place: &str) -> ApiError {
    unprocessable(place, "invalid type, expected an object")
}

fn unknown_type() -> ApiError {
    let detail = "Unknown request type.";
    let error = AppError::new(Kind::Unprocessable, "unknown_request_type", detail);
    let message = "names no request".to_owned();
    ApiError::from(error).with_errors(vec![FieldError { field: "type".to_owned(), message }])
}

#[cfg(test)]
mod tests;
