//! Events of a stream.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::item::ThreadItem;
use super::thread::Thread;
use super::update::ItemUpdate;
use crate::widgets::IconName;

/// One event of a stream.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "type")]
pub enum StreamEvent {
    /// The thread was created.
    #[serde(rename = "thread.created")]
    ThreadCreated {
        /// The thread, without items.
        thread: Box<Thread>,
    },
    /// The title, status or private data of the thread changed.
    #[serde(rename = "thread.updated")]
    ThreadUpdated {
        /// The thread, without items.
        thread: Box<Thread>,
    },
    /// An item was added and is not complete.
    #[serde(rename = "thread.item.added")]
    ItemAdded {
        /// The item so far.
        item: Box<ThreadItem>,
    },
    /// An incomplete item changed.
    #[serde(rename = "thread.item.updated")]
    ItemUpdated {
        /// Item id.
        item_id: String,
        /// The change.
        update: Box<ItemUpdate>,
    },
    /// An item is complete.
    #[serde(rename = "thread.item.done")]
    ItemDone {
        /// The complete item.
        item: Box<ThreadItem>,
    },
    /// An item was removed.
    #[serde(rename = "thread.item.removed")]
    ItemRemoved {
        /// Item id.
        item_id: String,
    },
    /// An item was replaced by another one with the same id.
    #[serde(rename = "thread.item.replaced")]
    ItemReplaced {
        /// The complete new item.
        item: Box<ThreadItem>,
    },
    /// Options of the stream.
    #[serde(rename = "stream_options")]
    Options {
        /// The options.
        stream_options: StreamOptions,
    },
    /// Text that describes the current work; the next event replaces it.
    #[serde(rename = "progress_update")]
    Progress {
        /// The text.
        text: String,
        /// Icon before the text.
        #[serde(skip_serializing_if = "Option::is_none")]
        icon: Option<IconName>,
    },
    /// An effect that the page performs, without a response.
    #[serde(rename = "client_effect")]
    ClientEffect {
        /// Name of the effect.
        name: String,
        /// Parameters of the effect.
        data: Map<String, Value>,
    },
    /// A notice for the user.
    #[serde(rename = "notice")]
    Notice {
        /// Severity.
        level: NoticeLevel,
        /// The notice, in Markdown.
        message: String,
        /// Heading.
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<String>,
    },
    /// The run failed.
    #[serde(rename = "error")]
    Error {
        /// Kind of failure.
        code: ErrorCode,
        /// Text for the user; the front end has its own text for `stream.error`.
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<String>,
        /// Whether the front end offers a retry.
        allow_retry: bool,
    },
}

impl StreamEvent {
    /// Creates the event for a complete item.
    #[must_use]
    pub fn done(item: ThreadItem) -> Self {
        Self::ItemDone { item: Box::new(item) }
    }

    /// Creates the event for an item that replaces the one with its id.
    #[must_use]
    pub fn replaced(item: ThreadItem) -> Self {
        Self::ItemReplaced { item: Box::new(item) }
    }

    /// Creates the event for a change of an item.
    pub fn updated(item_id: impl Into<String>, update: impl Into<ItemUpdate>) -> Self {
        Self::ItemUpdated { item_id: item_id.into(), update: Box::new(update.into()) }
    }

    /// Creates the first event of every run.
    #[must_use]
    pub const fn options(allow_cancel: bool) -> Self {
        Self::Options { stream_options: StreamOptions { allow_cancel } }
    }
}

/// Options of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct StreamOptions {
    /// Whether the front end shows a stop button.
    pub allow_cancel: bool,
}

/// Severity of a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NoticeLevel {
    /// Information.
    Info,
    /// Warning.
    Warning,
    /// Serious problem.
    Danger,
}

/// Kind of failure of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub enum ErrorCode {
    /// The answer failed.
    #[serde(rename = "stream.error")]
    Stream,
    /// The message says what happened.
    #[serde(rename = "custom")]
    Custom,
}
