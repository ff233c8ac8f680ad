//! Changes of an item that is not done yet.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::item::{Annotation, AssistantContent, GeneratedImage};
use super::task::Task;
use crate::widgets::{Widget, WidgetUpdate};

/// One change of an item, between its `added` and its `done`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "type")]
pub enum ItemUpdate {
    /// A message has a new part.
    #[serde(rename = "assistant_message.content_part.added")]
    ContentPartAdded {
        /// Which part, from 0.
        content_index: u32,
        /// The part as it begins.
        content: AssistantContent,
    },
    /// A part's text goes on.
    #[serde(rename = "assistant_message.content_part.text_delta")]
    TextDelta {
        /// Which part.
        content_index: u32,
        /// What is to be appended.
        delta: String,
    },
    /// A part has a new annotation.
    #[serde(rename = "assistant_message.content_part.annotation_added")]
    AnnotationAdded {
        /// Which part.
        content_index: u32,
        /// Which annotation of the part, from 0.
        annotation_index: u32,
        /// The annotation.
        annotation: Annotation,
    },
    /// A part is complete.
    #[serde(rename = "assistant_message.content_part.done")]
    ContentPartDone {
        /// Which part.
        content_index: u32,
        /// The whole part.
        content: AssistantContent,
    },
    /// A widget looks different.
    #[serde(rename = "widget.root.updated")]
    WidgetRoot {
        /// The whole widget.
        widget: Widget,
    },
    /// One component of a widget looks different.
    #[serde(rename = "widget.component.updated")]
    WidgetComponent {
        /// Which component.
        component_id: String,
        /// The whole component.
        component: Value,
    },
    /// A text in a widget goes on.
    #[serde(rename = "widget.streaming_text.value_delta")]
    WidgetText {
        /// Which component.
        component_id: String,
        /// What is to be appended.
        delta: String,
        /// Whether that was all.
        done: bool,
    },
    /// A workflow has a new task.
    #[serde(rename = "workflow.task.added")]
    TaskAdded {
        /// Which task, from 0.
        task_index: u32,
        /// The task.
        task: Task,
    },
    /// A task of a workflow has changed.
    #[serde(rename = "workflow.task.updated")]
    TaskUpdated {
        /// Which task.
        task_index: u32,
        /// The whole task.
        task: Task,
    },
    /// A picture is further on.
    #[serde(rename = "generated_image.updated")]
    Image {
        /// The picture so far.
        image: GeneratedImage,
        /// How far, from 0 to 1.
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
