//! Threads, pages of things, and the small answers.

use schemars::JsonSchema;
use serde::Serialize;

use super::item::ThreadItem;
use super::time::Timestamp;

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Page<T> {
    /// The elements, in the order that was asked for.
    pub data: Vec<T>,
    /// Whether there are more behind these.
    pub has_more: bool,
    /// What to send as `after` for those; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

impl<T> Page<T> {
    /// A page without anything.
    #[must_use]
    pub const fn empty() -> Self {
        Self { data: Vec::new(), has_more: false, after: None }
    }

    /// The first `limit` of these elements, of which one more than that was fetched where there are more.
    #[must_use]
    pub fn cut(mut fetched: Vec<T>, limit: usize, cursor: impl Fn(&T) -> String) -> Self {
        let has_more = fetched.len() > limit;
        fetched.truncate(limit);
        let after = fetched.last().filter(|_| has_more).map(cursor);
        Self { data: fetched, has_more, after }
    }
}

/// The metadata of a thread as clients see it: always an empty object, for what is kept there is private.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct NoMetadata {}

/// A conversation.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Thread {
    /// Its id, `thr_…`.
    pub id: String,
    /// Its title, once it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// When it began.
    pub created_at: Timestamp,
    /// Whether it can be written to.
    pub status: ThreadStatus,
    /// Where its images may come from; from everywhere when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_image_domains: Option<Vec<String>>,
    /// Always empty.
    pub metadata: NoMetadata,
    /// Its first items where they were asked for, else an empty page.
    pub items: Page<ThreadItem>,
}

impl Thread {
    /// An open thread without title and items.
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
    /// It can.
    Active,
    /// Not at the moment.
    Locked {
        /// Why, for people.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Never again.
    Closed {
        /// Why, for people.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
}

/// What was understood of a recording.
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
        fn pages_in_a_row_hold_every_element_once(total in 0_usize..50, limit in 1_usize..20) {
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
