//! Workflows, their tasks, and the sources of tasks and annotations.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::schema::tagged;
use crate::widgets::IconName;

/// Steps of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Workflow {
    /// Kind of workflow.
    #[serde(rename = "type")]
    pub kind: WorkflowKind,
    /// The steps.
    pub tasks: Vec<Task>,
    /// Summary that replaces the steps when they are collapsed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<Summary>,
    /// Whether the steps are expanded at first.
    pub expanded: bool,
}

/// Kind of workflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WorkflowKind {
    /// Steps of the server.
    Custom,
    /// Reasoning of the model.
    Reasoning,
}

/// Summary of a workflow. The variants differ by their fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Summary {
    /// A title.
    Titled {
        /// The title.
        title: String,
        /// Icon before the title.
        #[serde(skip_serializing_if = "Option::is_none")]
        icon: Option<IconName>,
    },
    /// A duration.
    Lasted {
        /// Duration in seconds.
        duration: u64,
    },
}

/// One step.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Task {
    /// Progress of the step; shown in workflows only.
    pub status_indicator: Progress,
    /// Kind of step.
    #[serde(flatten)]
    pub kind: TaskKind,
}

/// Progress of a step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// Unspecified.
    #[default]
    None,
    /// In progress.
    Loading,
    /// Done.
    Complete,
}

/// Kind of a step.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum TaskKind {
    /// A custom step.
    Custom {
        /// Title.
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<String>,
        /// Icon before the title.
        #[serde(skip_serializing_if = "Option::is_none")]
        icon: Option<IconName>,
        /// Content.
        #[serde(skip_serializing_if = "Option::is_none")]
        content: Option<String>,
    },
    /// A web search.
    WebSearch {
        /// Title.
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<String>,
        /// Query to show in the title.
        #[serde(skip_serializing_if = "Option::is_none")]
        title_query: Option<String>,
        /// All queries.
        queries: Vec<String>,
        /// Results.
        sources: Vec<UrlSource>,
    },
    /// A thought of the model.
    Thought {
        /// Title.
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<String>,
        /// Content.
        content: String,
    },
    /// A search in files.
    File {
        /// Title.
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<String>,
        /// The files.
        sources: Vec<FileSource>,
    },
    /// An image operation.
    Image {
        /// Title.
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<String>,
    },
}

/// Fields that all sources share.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Source {
    /// Title.
    pub title: String,
    /// Description.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Creation time, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<String>,
    /// Group; sources of one group are shown together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

/// A web page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "type", rename = "url")]
#[schemars(transform = tagged("url"))]
pub struct UrlSource {
    /// Shared fields.
    #[serde(flatten)]
    pub source: Source,
    /// URL.
    pub url: String,
    /// Author or publisher.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attribution: Option<String>,
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "type", rename = "file")]
#[schemars(transform = tagged("file"))]
pub struct FileSource {
    /// Shared fields.
    #[serde(flatten)]
    pub source: Source,
    /// File name.
    pub filename: String,
}

/// An entity of the embedding page.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "type", rename = "entity")]
#[schemars(transform = tagged("entity"))]
pub struct EntitySource {
    /// Shared fields.
    #[serde(flatten)]
    pub source: Source,
    /// Entity id, as the page knows it.
    pub id: String,
    /// An icon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icon: Option<IconName>,
    /// A label beside the icon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Label in the text, instead of the icon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inline_label: Option<String>,
    /// Whether it can be clicked.
    pub interactive: bool,
    /// Data that the page receives with the entity.
    pub data: Map<String, Value>,
}
