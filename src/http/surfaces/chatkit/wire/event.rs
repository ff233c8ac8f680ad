//! What a stream consists of.

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
    /// The thread has begun.
    #[serde(rename = "thread.created")]
    ThreadCreated {
        /// The thread, without items.
        thread: Box<Thread>,
    },
    /// Title, status or something private of the thread has changed.
    #[serde(rename = "thread.updated")]
    ThreadUpdated {
        /// The thread, without items.
        thread: Box<Thread>,
    },
    /// An item has begun.
    #[serde(rename = "thread.item.added")]
    ItemAdded {
        /// The item so far.
        item: Box<ThreadItem>,
    },
    /// An item that has begun has changed.
    #[serde(rename = "thread.item.updated")]
    ItemUpdated {
        /// Which item.
        item_id: String,
        /// The change.
        update: Box<ItemUpdate>,
    },
    /// An item is complete.
    #[serde(rename = "thread.item.done")]
    ItemDone {
        /// The whole item.
        item: Box<ThreadItem>,
    },
    /// An item is not there any more.
    #[serde(rename = "thread.item.removed")]
    ItemRemoved {
        /// Which item.
        item_id: String,
    },
    /// Another item stands in an item's place, with its id.
    #[serde(rename = "thread.item.replaced")]
    ItemReplaced {
        /// The whole new item.
        item: Box<ThreadItem>,
    },
    /// How the stream can be treated.
    #[serde(rename = "stream_options")]
    Options {
        /// How.
        stream_options: StreamOptions,
    },
    /// What is being done, in words; what comes next takes their place.
    #[serde(rename = "progress_update")]
    Progress {
        /// The words.
        text: String,
        /// An icon before them.
        #[serde(skip_serializing_if = "Option::is_none")]
        icon: Option<IconName>,
    },
    /// Something that the page is told, without an answer.
    #[serde(rename = "client_effect")]
    ClientEffect {
        /// What.
        name: String,
        /// With what.
        data: Map<String, Value>,
    },
    /// Something that the person is told.
    #[serde(rename = "notice")]
    Notice {
        /// How grave it is.
        level: NoticeLevel,
        /// What, in Markdown.
        message: String,
        /// Its head.
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<String>,
    },
    /// It went wrong.
    #[serde(rename = "error")]
    Error {
        /// What kind of failure.
        code: ErrorCode,
        /// What happened, for people; the front end has words of its own for `stream.error`.
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<String>,
        /// Whether the front end offers to try again.
        allow_retry: bool,
    },
}

impl StreamEvent {
    /// An item that is complete.
    #[must_use]
    pub fn done(item: ThreadItem) -> Self {
        Self::ItemDone { item: Box::new(item) }
    }

    /// An item that stands in the place of the one with its id.
    #[must_use]
    pub fn replaced(item: ThreadItem) -> Self {
        Self::ItemReplaced { item: Box::new(item) }
    }

    /// A change of the item with this id.
    pub fn updated(item_id: impl Into<String>, update: impl Into<ItemUpdate>) -> Self {
        Self::ItemUpdated { item_id: item_id.into(), update: Box::new(update.into()) }
    }

    /// What stands first in every run.
    #[must_use]
    pub const fn options(allow_cancel: bool) -> Self {
        Self::Options { stream_options: StreamOptions { allow_cancel } }
    }
}

/// How a stream can be treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct StreamOptions {
    /// Whether the front end shows a button that stops it.
    pub allow_cancel: bool,
}

/// How grave a notice is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NoticeLevel {
    /// Good to know.
    Info,
    /// To be minded.
    Warning,
    /// Grave.
    Danger,
}

/// What kind of failure a stream ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub enum ErrorCode {
    /// The answer could not be made.
    #[serde(rename = "stream.error")]
    Stream,
    /// Its message tells.
    #[serde(rename = "custom")]
    Custom,
}
