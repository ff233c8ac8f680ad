//! Items of a thread.

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
    /// Item id; never reused.
    pub id: String,
    /// Id of the thread.
    pub thread_id: String,
    /// Creation time.
    pub created_at: Timestamp,
    /// Kind of the item.
    #[serde(flatten)]
    pub kind: ItemKind,
}

/// Kind of an item.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ItemKind {
    /// A user's message.
    UserMessage {
        /// Parts of the content.
        content: Vec<UserContent>,
        /// Attached files.
        attachments: Vec<Attachment>,
        /// Quoted text.
        #[serde(skip_serializing_if = "Option::is_none")]
        quoted_text: Option<String>,
        /// Requested tool and model.
        inference_options: InferenceOptions,
    },
    /// A model's message.
    AssistantMessage {
        /// Parts of the content.
        content: Vec<AssistantContent>,
    },
    /// A call of a client tool, which the page carries out.
    ClientToolCall {
        /// Whether the page has responded.
        status: ToolCallStatus,
        /// The model's id of the call.
        call_id: String,
        /// Tool name.
        name: String,
        /// Arguments.
        arguments: Map<String, Value>,
        /// Result of the call.
        #[serde(skip_serializing_if = "Option::is_none")]
        output: Option<Value>,
    },
    /// A widget.
    Widget {
        /// The widget.
        widget: Widget,
        /// Text that the copy button copies; an empty text hides the button.
        #[serde(skip_serializing_if = "Option::is_none")]
        copy_text: Option<String>,
    },
    /// An image that a model generates.
    GeneratedImage {
        /// The image, once it exists.
        #[serde(skip_serializing_if = "Option::is_none")]
        image: Option<GeneratedImage>,
    },
    /// Questions to the user.
    StructuredInput {
        /// Whether the questions were answered.
        status: StructuredStatus,
        /// The questions.
        inputs: Vec<StructuredInput>,
    },
    /// Steps of the answer.
    Workflow {
        /// The steps.
        workflow: Workflow,
    },
    /// A single step.
    Task {
        /// The step.
        task: Task,
    },
    /// End of the turn.
    EndOfTurn,
}

/// A part of a user's content.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum UserContent {
    /// Text.
    InputText {
        /// The text.
        #[schemars(length(max = MAX_TEXT))]
        text: String,
    },
    /// A tag: an entity of the page, mentioned in the text.
    InputTag {
        /// Entity id, as the page knows it.
        #[schemars(length(max = MAX_NAME))]
        id: String,
        /// Text of the mention.
        #[schemars(length(max = MAX_NAME))]
        text: String,
        /// Data that the page supplied.
        data: Map<String, Value>,
        /// Group of the entity.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(length(max = MAX_NAME))]
        group: Option<String>,
        /// Whether the mention can be clicked.
        #[serde(default, deserialize_with = "or_default")]
        #[schemars(with = "Option<bool>")]
        interactive: bool,
    },
}

/// Options for the answer to a message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InferenceOptions {
    /// Requested tool.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "object_or_null")]
    pub tool_choice: Option<ToolChoice>,
    /// Requested model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_NAME))]
    pub model: Option<String>,
}

/// A tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ToolChoice {
    /// Tool id.
    #[schemars(length(max = MAX_NAME))]
    pub id: String,
}

/// A part of a model's content.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "type", rename = "output_text")]
#[schemars(transform = tagged("output_text"))]
pub struct AssistantContent {
    /// The text, in Markdown.
    pub text: String,
    /// Sources of the text.
    pub annotations: Vec<Annotation>,
}

impl AssistantContent {
    /// Creates text without annotations.
    pub fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), annotations: Vec::new() }
    }
}

/// A mark in the text that refers to a source.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "type", rename = "annotation")]
#[schemars(transform = tagged("annotation"))]
pub struct Annotation {
    /// The source.
    pub source: AnnotationSource,
    /// Index of the character that follows the mark; marks at the same index are shown together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
}

/// Source of an annotation.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum AnnotationSource {
    /// A web page.
    Url(UrlSource),
    /// A file.
    File(FileSource),
    /// An entity of the page.
    Entity(EntitySource),
}

/// A file attached to a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Attachment {
    /// File id, `atc_…`.
    pub id: String,
    /// File name.
    pub name: String,
    /// Media type.
    pub mime_type: String,
    /// Where to upload the content; absent once it is stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upload_descriptor: Option<UploadDescriptor>,
    /// Thread in which the file was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<String>,
    /// Whether the file has a preview.
    #[serde(flatten)]
    pub kind: AttachmentKind,
}

/// Whether a file has a preview.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum AttachmentKind {
    /// A file without a preview.
    File,
    /// An image.
    Image {
        /// Link to a small version; needs no header.
        preview_url: String,
    },
}

/// Where and how to upload the content of an attachment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct UploadDescriptor {
    /// Absolute URL.
    pub url: String,
    /// Request method.
    pub method: UploadMethod,
    /// Headers to send.
    pub headers: BTreeMap<String, String>,
}

/// Request method of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum UploadMethod {
    /// As a part of a form.
    Post,
    /// As the plain body.
    Put,
}

/// State of a client tool call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ToolCallStatus {
    /// Not yet carried out.
    Pending,
    /// Carried out.
    Completed,
}

/// An image that a model generated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct GeneratedImage {
    /// Image id.
    pub id: String,
    /// URL of the image, possibly a `data:` URL.
    pub url: String,
}

/// State of questions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StructuredStatus {
    /// Not yet answered.
    #[default]
    Pending,
    /// At least one question was answered.
    Answered,
    /// The user skipped all questions.
    Skipped,
}

/// A question to the user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct StructuredInput {
    /// Question id.
    pub id: String,
    /// Text of the question.
    pub question: String,
    /// The user's answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<InputAnswer>,
    /// Form of the answer.
    #[serde(flatten)]
    pub kind: StructuredInputKind,
}

/// Form of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum StructuredInputKind {
    /// One or more of the options, or free text.
    MultipleChoice {
        /// Suggested answers.
        options: Vec<InputOption>,
        /// Whether several options may be chosen.
        multiple: bool,
    },
    /// Free text.
    Freeform {
        /// Hint for the user.
        #[serde(skip_serializing_if = "Option::is_none")]
        description: Option<String>,
    },
}

/// A suggested answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct InputOption {
    /// Text of the option.
    pub value: String,
}

/// The answer to a question.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InputAnswer {
    /// Texts of the answer.
    #[serde(default, deserialize_with = "or_default")]
    #[schemars(with = "Option<Vec<String>>", length(max = MAX_ANSWERS), inner(length(max = MAX_TEXT)))]
    pub values: Vec<String>,
    /// Whether the question was skipped.
    #[serde(default, deserialize_with = "or_default")]
    #[schemars(with = "Option<bool>")]
    pub skipped: bool,
}

/// Response to an action without a stream.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
pub struct UpdatedItem {
    /// The changed item; absent if nothing changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_item: Option<Box<ThreadItem>>,
}
