//! Changes of an item that is not complete.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::item::{Annotation, AssistantContent, GeneratedImage};
use super::task::Task;
use crate::widgets::{Widget, WidgetUpdate};

/// A change of an item between `added` and `done`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "type")]
pub enum ItemUpdate {
    /// A part was added to a message.
    #[serde(rename = "assistant_message.content_part.added")]
    ContentPartAdded {
        /// Index of the part, from 0.
        content_index: u32,
        /// The part at its start.
        content: AssistantContent,
    },
    /// Text was appended to a part.
    #[serde(rename = "assistant_message.content_part.text_delta")]
    TextDelta {
        /// Index of the part.
        content_index: u32,
        /// Text to append.
        delta: String,
    },
    /// An annotation was added to a part.
    #[serde(rename = "assistant_message.content_part.annotation_added")]
    AnnotationAdded {
        /// Index of the part.
        content_index: u32,
        /// Index of the annotation in the part, from 0.
        annotation_index: u32,
        /// The annotation.
        annotation: Annotation,
    },
    /// A part is complete.
    #[serde(rename = "assistant_message.content_part.done")]
    ContentPartDone {
        /// Index of the part.
        content_index: u32,
        /// The complete part.
        content: AssistantContent,
    },
    /// A widget changed.
    #[serde(rename = "widget.root.updated")]
    WidgetRoot {
        /// The complete widget.
        widget: Widget,
    },
    /// A component of a widget changed.
    #[serde(rename = "widget.component.updated")]
    WidgetComponent {
        /// Component id.
        component_id: String,
        /// The complete component.
        component: Value,
    },
    /// Text was appended to a text component.
    #[serde(rename = "widget.streaming_text.value_delta")]
    WidgetText {
        /// Component id.
        component_id: String,
        /// Text to append.
        delta: String,
        /// Whether the text is complete.
        done: bool,
    },
    /// A task was added to a workflow.
    #[serde(rename = "workflow.task.added")]
    TaskAdded {
        /// Index of the task, from 0.
        task_index: u32,
        /// The task.
        task: Task,
    },
    /// A task of a workflow changed.
    #[serde(rename = "workflow.task.updated")]
    TaskUpdated {
        /// Index of the task.
        task_index: u32,
        /// The complete task.
        task: Task,
    },
    /// The image made progress.
    #[serde(rename = "generated_image.updated")]
    Image {
        /// The image so far.
        image: GeneratedImage,
        /// Progress from 0 to 1.
        #[serde(skip_serializing_if = "Option::is_none")]
        progress: Option<f64>,
    },
}

impl From<WidgetUpdate> for ItemUpdate {
    fn from(update: WidgetUpdate) -> Self {
        match update {
            WidgetUpdate::Root(widget) => Self::WidgetRoot { widget },
            WidgetUpdate::Text { component_id, delta, done } => {
                Self::WidgetText { component_id, delta, done }
            }
        }
    }
}
