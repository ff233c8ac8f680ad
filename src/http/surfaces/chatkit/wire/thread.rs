//! Threads, pages and small responses.

use schemars::JsonSchema;
use serde::Serialize;

use super::item::ThreadItem;
use super::time::Timestamp;

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Page<T> {
    /// Elements, in the requested order.
    pub data: Vec<T>,
    /// Whether there are more elements.
    pub has_more: bool,
    /// Value of `after` for the next page; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

impl<T> Page<T> {
    /// Returns an empty page.
    #[must_use]
    pub const fn empty() -> Self {
        Self { data: Vec::new(), has_more: false, after: None }
    }

    /// Creates a page of the first `limit` elements; the caller fetches one more if there are more.
    #[must_use]
    pub fn cut(mut fetched: Vec<T>, limit: usize, cursor: impl Fn(&T) -> String) -> Self {
        let has_more = fetched.len() > limit;
        fetched.truncate(limit);
        let after = fetched.last().filter(|_| has_more).map(cursor);
        Self { data: fetched, has_more, after }
    }
}

/// Metadata of a thread: always an empty object, because metadata is private.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct NoMetadata {}

/// A conversation.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Thread {
    /// Thread id, `thr_…`.
    pub id: String,
    /// Title, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Creation time.
    pub created_at: Timestamp,
    /// Whether the thread can be written to.
    pub status: ThreadStatus,
    /// Allowed origins of images; all if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_image_domains: Option<Vec<String>>,
    /// Always empty.
    pub metadata: NoMetadata,
    /// First items if requested, else an empty page.
    pub items: Page<ThreadItem>,
}

impl Thread {
    /// Creates an active thread without title and items.
    #[must_use]
    pub fn new(id: String, created_at: Timestamp) -> Self {
        Self {
            id,
            title: None,
            created_at,
            status: ThreadStatus::Active,
            allowed_image_domains: None,
            metadata: NoMetadata {},
            items: Page::empty(),
        }
    }
}

/// Whether a thread can be written to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ThreadStatus {
    /// Open for messages.
    Active,
    /// Temporarily closed.
    Locked {
        /// Reason, for the user.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Closed for good.
    Closed {
        /// Reason, for the user.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
}

/// Transcript of a recording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Transcription {
    /// The text.
    pub text: String,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn consecutive_pages_hold_every_element_once(total in 0_usize..50, limit in 1_usize..20) {
            let mut seen: Vec<usize> = Vec::new();
            loop {
                let from = seen.len();
                let fetched: Vec<usize> = (from..total).take(limit + 1).collect();
                let page = Page::cut(fetched, limit, ToString::to_string);
                prop_assert_eq!(page.after.is_some(), page.has_more);
                prop_assert!(page.data.len() <= limit);
                let after = page.after.as_deref().and_then(|after| after.parse().ok());
                seen.extend(&page.data);
                if !page.has_more { break }
                prop_assert_eq!(after, seen.last().copied());
            }
            prop_assert_eq!(seen, (0..total).collect::<Vec<_>>());
        }
    }
}
