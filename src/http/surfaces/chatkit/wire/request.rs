//! What clients ask for.
//!
//! One endpoint takes every request; its `type` says which it is. Reading happens in three steps, so that each refusal names
//! the place that is wrong: the frame, then the parameters of that type, then what is too much.

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
    /// A new thread with its first message. Streamed.
    #[schemars(rename = "threads.create")]
    CreateThread(CreateThread),
    /// A message in a thread. Streamed.
    #[schemars(rename = "threads.add_user_message")]
    AddUserMessage(AddUserMessage),
    /// What came of something that the page was asked to do. Streamed.
    #[schemars(rename = "threads.add_client_tool_output")]
    AddClientToolOutput(AddClientToolOutput),
    /// Answers to questions. Streamed.
    #[schemars(rename = "threads.add_structured_input")]
    AddStructuredInput(AddStructuredInput),
    /// Another answer to a message. Streamed.
    #[schemars(rename = "threads.retry_after_item")]
    RetryAfterItem(RetryAfterItem),
    /// Something was done to a widget. Streamed.
    #[schemars(rename = "threads.custom_action")]
    CustomAction(CustomAction),
    /// A thread with its first items.
    #[schemars(rename = "threads.get_by_id")]
    GetThread(GetThread),
    /// Threads.
    #[schemars(rename = "threads.list")]
    ListThreads(ListThreads),
    /// Another title.
    #[schemars(rename = "threads.update")]
    UpdateThread(UpdateThread),
    /// A thread is to be deleted.
    #[schemars(rename = "threads.delete")]
    DeleteThread(DeleteThread),
    /// Items of a thread.
    #[schemars(rename = "items.list")]
    ListItems(ListItems),
    /// What a person thinks of items.
    #[schemars(rename = "items.feedback")]
    Feedback(Feedback),
    /// A file that is about to be sent.
    #[schemars(rename = "attachments.create")]
    CreateAttachment(CreateAttachment),
    /// A file that is not to be sent after all.
    #[schemars(rename = "attachments.delete")]
    DeleteAttachment(DeleteAttachment),
    /// A recording to be written down.
    #[schemars(rename = "input.transcribe")]
    Transcribe(Transcribe),
    /// Something was done to a widget; answered at once.
    #[schemars(rename = "threads.sync_custom_action")]
    SyncCustomAction(CustomAction),
}

/// A new thread.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
pub struct CreateThread {
    /// Its first message.
    #[serde(deserialize_with = "object")]
    pub input: UserMessageInput,
}

/// A message in a thread.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
pub struct AddUserMessage {
    /// The thread.
    #[schemars(transform = thread_id)]
    pub thread_id: String,
    /// The message.
    #[serde(deserialize_with = "object")]
    pub input: UserMessageInput,
}

/// What a person writes.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
pub struct UserMessageInput {
    /// Its parts.
    #[serde(deserialize_with = "objects")]
    #[schemars(length(max = MAX_PARTS))]
    pub content: Vec<UserContent>,
    /// Ids of the files that come with it, each once.
    #[schemars(length(max = MAX_ATTACHMENTS), extend("uniqueItems" = true))]
    pub attachments: Vec<String>,
    /// How it is to be answered.
    #[serde(deserialize_with = "object")]
    pub inference_options: InferenceOptions,
    /// What it refers to.
    #[serde(default)]
    #[schemars(length(max = MAX_TEXT))]
    pub quoted_text: Option<String>,
}

/// What came of a call of a tool of the client.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
pub struct AddClientToolOutput {
    /// The thread.
    #[schemars(transform = thread_id)]
    pub thread_id: String,
    /// What came of it; null too is something.
    pub result: Value,
}

/// Answers to the questions of an item.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
pub struct AddStructuredInput {
    /// The thread.
    #[schemars(transform = thread_id)]
    pub thread_id: String,
    /// The item.
    #[schemars(transform = item_id)]
    pub item_id: String,
    /// The answers.
    #[serde(deserialize_with = "object")]
    pub input: StructuredInputSubmission,
}

/// Answers to questions.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
pub struct StructuredInputSubmission {
    /// Whether they are answered at all.
    #[serde(default, deserialize_with = "or_default")]
    #[schemars(with = "Option<SubmissionStatus>")]
    pub status: SubmissionStatus,
    /// The answers, by the ids of the questions.
    #[serde(default, deserialize_with = "named_objects")]
    #[schemars(with = "Option<BTreeMap<String, InputAnswer>>", extend("maxProperties" = MAX_ANSWERS, "propertyNames" = {"maxLength": MAX_NAME}))]
    pub answers: BTreeMap<String, InputAnswer>,
}

/// Whether questions are answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SubmissionStatus {
    /// They are.
    #[default]
    Answered,
    /// All are passed over.
    Skipped,
}

/// Another answer to a message.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct RetryAfterItem {
    /// The thread.
    #[schemars(transform = thread_id)]
    pub thread_id: String,
    /// The message.
    #[schemars(transform = item_id)]
    pub item_id: String,
}

/// Something that was done to a widget, or in the page.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
pub struct CustomAction {
    /// The thread.
    #[schemars(transform = thread_id)]
    pub thread_id: String,
    /// The item with the widget, where it was one.
    #[serde(default)]
    #[schemars(transform = item_id)]
    pub item_id: Option<String>,
    /// What was done.
    #[serde(deserialize_with = "object")]
    pub action: Action,
}

/// What was done. Whatever stands in it was chosen by the browser.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
pub struct Action {
    /// Its name.
    #[serde(rename = "type")]
    #[schemars(length(max = MAX_NAME))]
    pub name: String,
    /// What came with it.
    #[serde(default)]
    pub payload: Value,
}

/// Which thread.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct GetThread {
    /// The thread.
    #[schemars(transform = thread_id)]
    pub thread_id: String,
}

/// Which threads.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct ListThreads {
    /// How many, at most.
    #[serde(default)]
    #[schemars(with = "Option<u64>")]
    pub limit: PageLimit,
    /// In which order.
    #[serde(default, deserialize_with = "or_default")]
    #[schemars(with = "Option<Order>")]
    pub order: Order,
    /// Those behind this cursor.
    #[serde(default)]
    pub after: Option<String>,
}

/// Another title.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct UpdateThread {
    /// The thread.
    #[schemars(transform = thread_id)]
    pub thread_id: String,
    /// Its title, at most 200 characters without control characters; may be empty.
    #[schemars(length(max = Title::MAX_CHARS), regex(pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$"))]
    pub title: String,
}

/// Which thread is to be deleted.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct DeleteThread {
    /// The thread.
    #[schemars(transform = thread_id)]
    pub thread_id: String,
}

/// Which items.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct ListItems {
    /// The thread.
    #[schemars(transform = thread_id)]
    pub thread_id: String,
    /// How many, at most.
    #[serde(default)]
    #[schemars(with = "Option<u64>")]
    pub limit: PageLimit,
    /// In which order.
    #[serde(default, deserialize_with = "or_default")]
    #[schemars(with = "Option<Order>")]
    pub order: Order,
    /// Those behind this cursor.
    #[serde(default)]
    pub after: Option<String>,
}

/// What a person thinks of items.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct Feedback {
    /// The thread.
    #[schemars(transform = thread_id)]
    pub thread_id: String,
    /// The items; may be none.
    #[schemars(length(max = MAX_FEEDBACK))]
    pub item_ids: Vec<String>,
    /// What the person thinks.
    pub kind: FeedbackKind,
}

/// What a person thinks of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FeedbackKind {
    /// Well.
    Positive,
    /// Badly.
    Negative,
}

/// A file that is about to be sent.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct CreateAttachment {
    /// Its name.
    #[schemars(length(min = 1, max = FileName::MAX_CHARS))]
    pub name: String,
    /// How long it is, in bytes.
    #[schemars(range(min = 1))]
    pub size: u64,
    /// What it holds: a type that is taken, and that the name does not contradict.
    #[schemars(length(max = MAX_NAME))]
    pub mime_type: String,
}

/// A file that is not to be sent after all.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct DeleteAttachment {
    /// The file.
    pub attachment_id: String,
}

/// A recording to be written down.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct Transcribe {
    /// The recording.
    #[schemars(length(min = 1), extend("contentEncoding" = "base64"))]
    pub audio_base64: String,
    /// What kind of recording, possibly with its codec.
    #[schemars(length(max = MAX_NAME), regex(pattern = r"^audio/(webm|mp4|ogg|mpeg|wav|x-wav)(;.*)?$"))]
    pub mime_type: String,
}

/// In which order things are listed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// The oldest first.
    Asc,
    /// The newest first.
    #[default]
    Desc,
}

/// Tells what the id of a thread looks like.
fn thread_id(schema: &mut Schema) {
    IdKind::Thread.describe(schema);
}

/// Tells what the id of an item looks like: of a message, or of what a message may be answered with.
fn item_id(schema: &mut Schema) {
    schema.insert("maxLength".to_owned(), 64.into());
}

/// Reads a field for which null says the same as absence.
pub(super) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// What every request has around its parameters.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(rename = "type")]
    name: String,
    #[serde(borrow)]
    params: &'a RawValue,
    /// Meant for nobody; that it is an object is all there is to know.
    #[serde(default, rename = "metadata")]
    _metadata: Map<String, Value>,
}

impl ChatKitRequest {
    /// Reads a request.
    ///
    /// # Errors
    /// `malformed_request` (422) for what is no JSON, or has a field missing or of the wrong type; `unknown_request_type`
    /// (422); `invalid_character` (400) for U+0000; `invalid_value` (400) for more than a limit allows. All but the one
    /// about the character name the field.
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

    /// Its `type`.
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

    /// Whether it is answered by a stream of events.
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

/// A list would be read as the fields in their order, which nobody means.
fn no_object(place: &str) -> ApiError {
    unprocessable(place, "invalid type, expected an object")
}

fn unknown_type() -> ApiError {
    let detail = "There is no request of this type.";
    let error = AppError::new(Kind::Unprocessable, "unknown_request_type", detail);
    let message = "names no request".to_owned();
    ApiError::from(error).with_errors(vec![FieldError { field: "type".to_owned(), message }])
}

#[cfg(test)]
mod tests;
