//! What a thread consists of.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::request::{MAX_ANSWERS, MAX_NAME, MAX_TEXT, or_default};
use super::schema::tagged;
use super::task::{EntitySource, FileSource, Task, UrlSource, Workflow};
use super::time::Timestamp;
use crate::http::extract::json_object::object_or_null;
use crate::widgets::Widget;

/// One item of a thread.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ThreadItem {
    /// Its id; never used for another item.
    pub id: String,
    /// The thread it is in.
    pub thread_id: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// What it is.
    #[serde(flatten)]
    pub kind: ItemKind,
}

/// What an item is.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ItemKind {
    /// What a person wrote.
    UserMessage {
        /// Its parts.
        content: Vec<UserContent>,
        /// What came with it.
        attachments: Vec<Attachment>,
        /// What it refers to.
        #[serde(skip_serializing_if = "Option::is_none")]
        quoted_text: Option<String>,
        /// How it was to be answered.
        inference_options: InferenceOptions,
    },
    /// What a model wrote.
    AssistantMessage {
        /// Its parts.
        content: Vec<AssistantContent>,
    },
    /// Something that the page is asked to do.
    ClientToolCall {
        /// Whether it has been done.
        status: ToolCallStatus,
        /// The model's id for the call.
        call_id: String,
        /// What is to be done.
        name: String,
        /// With what.
        arguments: Map<String, Value>,
        /// What came of it.
        #[serde(skip_serializing_if = "Option::is_none")]
        output: Option<Value>,
    },
    /// A widget.
    Widget {
        /// The widget.
        widget: Widget,
        /// What the button for copying gives; empty text takes the button away.
        #[serde(skip_serializing_if = "Option::is_none")]
        copy_text: Option<String>,
    },
    /// A picture that a model makes.
    GeneratedImage {
        /// The picture, once there is one.
        #[serde(skip_serializing_if = "Option::is_none")]
        image: Option<GeneratedImage>,
    },
    /// Questions to the person.
    StructuredInput {
        /// Whether they were answered.
        status: StructuredStatus,
        /// The questions.
        inputs: Vec<StructuredInput>,
    },
    /// Steps that were taken.
    Workflow {
        /// The steps.
        workflow: Workflow,
    },
    /// One step that was taken.
    Task {
        /// The step.
        task: Task,
    },
    /// The turn is over.
    EndOfTurn,
}

/// A part of what a person writes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum UserContent {
    /// Text.
    InputText {
        /// The text.
        #[schemars(length(max = MAX_TEXT))]
        text: String,
    },
    /// Something that the page knows, named in the text.
    InputTag {
        /// Its id, as the page knows it.
        #[schemars(length(max = MAX_NAME))]
        id: String,
        /// How it is named in the text.
        #[schemars(length(max = MAX_NAME))]
        text: String,
        /// What the page gave with it.
        data: Map<String, Value>,
        /// Its group.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(length(max = MAX_NAME))]
        group: Option<String>,
        /// Whether it can be clicked.
        #[serde(default, deserialize_with = "or_default")]
        #[schemars(with = "Option<bool>")]
        interactive: bool,
    },
}

/// How a message is to be answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InferenceOptions {
    /// The tool to be used.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "object_or_null")]
    pub tool_choice: Option<ToolChoice>,
    /// The model to be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_NAME))]
    pub model: Option<String>,
}

/// A tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ToolChoice {
    /// Its id.
    #[schemars(length(max = MAX_NAME))]
    pub id: String,
}

/// A part of what a model writes.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "type", rename = "output_text")]
#[schemars(transform = tagged("output_text"))]
pub struct AssistantContent {
    /// The text, in Markdown.
    pub text: String,
    /// What it rests on.
    pub annotations: Vec<Annotation>,
}

impl AssistantContent {
    /// Text that rests on nothing.
    pub fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), annotations: Vec::new() }
    }
}

/// A mark in a text that names a source.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "type", rename = "annotation")]
#[schemars(transform = tagged("annotation"))]
pub struct Annotation {
    /// The source.
    pub source: AnnotationSource,
    /// Before which character of the text the mark stands; marks at one place are shown together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
}

/// What an annotation names.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum AnnotationSource {
    /// A page of the web.
    Url(UrlSource),
    /// A file.
    File(FileSource),
    /// Something that the page knows.
    Entity(EntitySource),
}

/// A file that came with a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Attachment {
    /// Its id, `atc_…`.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it holds.
    pub mime_type: String,
    /// Where its bytes are to be sent; absent once they are there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upload_descriptor: Option<UploadDescriptor>,
    /// The thread it was sent in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<String>,
    /// Whether it can be looked at.
    #[serde(flatten)]
    pub kind: AttachmentKind,
}

/// Whether an attachment can be looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum AttachmentKind {
    /// It is a file like any other.
    File,
    /// It is a picture.
    Image {
        /// A link to a small version, which opens without any header.
        preview_url: String,
    },
}

/// Where and how the bytes of an attachment are to be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct UploadDescriptor {
    /// An absolute link.
    pub url: String,
    /// How.
    pub method: UploadMethod,
    /// What to send with them.
    pub headers: BTreeMap<String, String>,
}

/// How bytes are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum UploadMethod {
    /// As a part of a form.
    Post,
    /// As they are.
    Put,
}

/// Whether the page has done what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ToolCallStatus {
    /// Not yet.
    Pending,
    /// Yes.
    Completed,
}

/// A picture that a model made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct GeneratedImage {
    /// Its id.
    pub id: String,
    /// Where it is, or the picture itself as a `data:` link.
    pub url: String,
}

/// Whether questions were answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StructuredStatus {
    /// Not yet.
    #[default]
    Pending,
    /// At least one was.
    Answered,
    /// None will be.
    Skipped,
}

/// One question to the person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct StructuredInput {
    /// Its id.
    pub id: String,
    /// What is asked.
    pub question: String,
    /// What was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<InputAnswer>,
    /// How it can be answered.
    #[serde(flatten)]
    pub kind: StructuredInputKind,
}

/// How a question can be answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum StructuredInputKind {
    /// By one or more of these, or by words of one's own.
    MultipleChoice {
        /// What is proposed.
        options: Vec<InputOption>,
        /// Whether it may be more than one.
        multiple: bool,
    },
    /// In words.
    Freeform {
        /// What helps to answer.
        #[serde(skip_serializing_if = "Option::is_none")]
        description: Option<String>,
    },
}

/// A proposed answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct InputOption {
    /// Its text.
    pub value: String,
}

/// What was answered to one question.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InputAnswer {
    /// The texts.
    #[serde(default, deserialize_with = "or_default")]
    #[schemars(with = "Option<Vec<String>>", length(max = MAX_ANSWERS), inner(length(max = MAX_TEXT)))]
    pub values: Vec<String>,
    /// Whether it was passed over.
    #[serde(default, deserialize_with = "or_default")]
    #[schemars(with = "Option<bool>")]
    pub skipped: bool,
}

/// The answer to an action that is not streamed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
pub struct UpdatedItem {
    /// The item as it is now; absent when nothing has changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_item: Option<Box<ThreadItem>>,
}
