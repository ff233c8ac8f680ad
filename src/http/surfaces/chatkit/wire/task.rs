//! Workflows, their tasks, and the sources that tasks and annotations name.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::schema::tagged;
use crate::widgets::IconName;

/// Steps that were taken for an answer.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Workflow {
    /// What kind.
    #[serde(rename = "type")]
    pub kind: WorkflowKind,
    /// The steps.
    pub tasks: Vec<Task>,
    /// What stands for them when they are folded away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<Summary>,
    /// Whether they are shown at first.
    pub expanded: bool,
}

/// What a workflow shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WorkflowKind {
    /// Steps of the server's own.
    Custom,
    /// A model's thoughts.
    Reasoning,
}

/// What stands for a workflow's steps. Told apart by their fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Summary {
    /// Words.
    Titled {
        /// The words.
        title: String,
        /// An icon before them.
        #[serde(skip_serializing_if = "Option::is_none")]
        icon: Option<IconName>,
    },
    /// How long it took.
    Lasted {
        /// Seconds.
        duration: u64,
    },
}

/// One step.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Task {
    /// How far it is; shown in workflows only.
    pub status_indicator: Progress,
    /// What it is.
    #[serde(flatten)]
    pub kind: TaskKind,
}

/// How far a step is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// Not told.
    #[default]
    None,
    /// Under way.
    Loading,
    /// Done.
    Complete,
}

/// What a step is.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum TaskKind {
    /// Anything.
    Custom {
        /// Its head.
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<String>,
        /// An icon before it.
        #[serde(skip_serializing_if = "Option::is_none")]
        icon: Option<IconName>,
        /// Its text.
        #[serde(skip_serializing_if = "Option::is_none")]
        content: Option<String>,
    },
    /// A search of the web.
    WebSearch {
        /// Its head.
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<String>,
        /// What was searched for, to be shown in the head.
        #[serde(skip_serializing_if = "Option::is_none")]
        title_query: Option<String>,
        /// Everything that was searched for.
        queries: Vec<String>,
        /// What was found.
        sources: Vec<UrlSource>,
    },
    /// A thought.
    Thought {
        /// Its head.
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<String>,
        /// Its text.
        content: String,
    },
    /// A look into files.
    File {
        /// Its head.
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<String>,
        /// The files.
        sources: Vec<FileSource>,
    },
    /// Work on an image.
    Image {
        /// Its head.
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<String>,
    },
}

/// What every source tells of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Source {
    /// Its name.
    pub title: String,
    /// What it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// When it was made, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<String>,
    /// Sources of one group are shown together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

/// A page of the web.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "type", rename = "url")]
#[schemars(transform = tagged("url"))]
pub struct UrlSource {
    /// What every source tells.
    #[serde(flatten)]
    pub source: Source,
    /// Its address.
    pub url: String,
    /// Whose it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attribution: Option<String>,
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "type", rename = "file")]
#[schemars(transform = tagged("file"))]
pub struct FileSource {
    /// What every source tells.
    #[serde(flatten)]
    pub source: Source,
    /// Its name.
    pub filename: String,
}

/// Something that the embedding page knows.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "type", rename = "entity")]
#[schemars(transform = tagged("entity"))]
pub struct EntitySource {
    /// What every source tells.
    #[serde(flatten)]
    pub source: Source,
    /// Its id, as the page knows it.
    pub id: String,
    /// An icon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icon: Option<IconName>,
    /// A label beside the icon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// A label in the text, instead of the icon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inline_label: Option<String>,
    /// Whether it can be clicked.
    pub interactive: bool,
    /// What the page is given with it.
    pub data: Map<String, Value>,
}
