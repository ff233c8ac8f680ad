//! The feed of one open socket, from any position on: see [`super::user_channels`].

use std::collections::VecDeque;
use std::sync::Arc;

use projections::messages::query::Since;
use projections::{conversations, messages};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::retry_budget::RetryBudget;
use super::user_channels::{Item, UserChannels};
use super::{CATCH_UP_TIMEOUT, ReadModels};

/// Read models that missed items are read from.
const MODELS: &[&str] = &["messages", "conversations"];
/// Most missed items that a feed delivers; a client that missed more reloads the history.
pub const MAX_MISSED_ITEMS: i64 = 1_000;
/// Most rows, and bytes of text, of missed items held in memory at a time.
const MAX_PAGE_ROWS: i64 = 64;
const MAX_PAGE_BYTES: i64 = 128 * 1024;

/// One step of a feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedItem {
    /// A new item.
    Item(Arc<Item>),
    /// Too many items were missed: the client must reload the history up to `position`.
    Reset {
        /// Last position that the history covers.
        position: i64,
    },
}

/// A user's items, each once and in the order of the log.
#[derive(Debug)]
pub struct UserFeed {
    user_channels: UserChannels,
    user: Uuid,
    receiver: broadcast::Receiver<Arc<Item>>,
    /// Items up to here have been delivered or are not wanted.
    at: i64,
    /// Range after `at` that is still to be read from the read models.
    missed: Option<Missed>,
    ready: VecDeque<Arc<Item>>,
    retry_budget: RetryBudget,
    /// A running read of missed items.
    reading: Option<JoinHandle<Result<Page, sqlx::Error>>>,
}

#[derive(Debug, Clone, Copy)]
struct Missed {
    until: i64,
    counted: bool,
}

impl UserFeed {
    pub(super) fn new(user_channels: UserChannels, user: Uuid, after: Option<i64>) -> Self {
        let (receiver, position) = user_channels.join(user);
        let at = after.unwrap_or(position);
        let missed = (at < position).then_some(Missed { until: position, counted: false });
        Self {
            user_channels,
            user,
            receiver,
            at,
            missed,
            ready: VecDeque::new(),
            retry_budget: RetryBudget::default(),
            reading: None,
        }
    }

    /// Returns the position up to which items have been delivered or are not wanted.
    pub fn at(&self) -> i64 {
        self.at
    }

    /// Waits for the next item. Cancel-safe.
    ///
    /// # Errors
    /// The database's, when it has failed or the models have lagged for [`MAX_OUTAGE`](super::retry_budget::MAX_OUTAGE).
    pub async fn next(&mut self) -> Result<FeedItem, sqlx::Error> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Ok(FeedItem::Item(item));
            }
            if let Some(missed) = self.missed {
                if let Some(position) = self.read(missed).await? {
                    return Ok(FeedItem::Reset { position });
                }
                continue;
            }
            match self.receiver.recv().await {
                Ok(item) => match item.position() {
                    Some(position) if position <= self.at => {}
                    position => {
                        self.at = position.unwrap_or(self.at);
                        return Ok(FeedItem::Item(item));
                    }
                },
                // Too slow for the channel: read the dropped items from the models.
                Err(_) => {
                    let (receiver, position) = self.user_channels.join(self.user);
                    self.receiver = receiver;
                    self.missed = Some(Missed { until: position, counted: false });
                }
            }
        }
    }

    /// Reads a page of missed items. Returns a position if too many were missed, up to there.
    async fn read(&mut self, missed: Missed) -> Result<Option<i64>, sqlx::Error> {
        let reading = self.reading.get_or_insert_with(|| {
            let read_models = self.user_channels.read_models();
            read_models.tasks.spawn(page(read_models.clone(), self.user, self.at, missed))
        });
        let page = reading.await.unwrap_or(Err(sqlx::Error::WorkerCrashed));
        self.reading = None;
        match page {
            Err(error) if self.retry_budget.is_exhausted() => return Err(error),
            Err(error) => {
                tracing::debug!(%error, "failed to read missed items; retrying");
                tokio::time::sleep(CATCH_UP_TIMEOUT).await;
            }
            Ok(Page::TooMuch) => {
                self.retry_budget.reset();
                self.at = missed.until;
                self.missed = None;
                return Ok(Some(missed.until));
            }
            Ok(Page::Items(items, end)) => {
                self.retry_budget.reset();
                self.ready.extend(items.into_iter().map(Arc::new));
                self.at = end;
                self.missed = (end < missed.until).then_some(Missed { counted: true, ..missed });
            }
        }
        Ok(None)
    }
}

/// Result of reading missed items.
#[derive(Debug)]
enum Page {
    /// More than [`MAX_MISSED_ITEMS`].
    TooMuch,
    /// A page, and the position up to which it is complete.
    Items(Vec<Item>, i64),
}

async fn page(read_models: ReadModels, user: Uuid, after: i64, missed: Missed) -> Result<Page, sqlx::Error> {
    let Missed { until, counted } = missed;
    let ReadModels { pool, progress, .. } = read_models;
    progress.wait(MODELS, until, CATCH_UP_TIMEOUT).await;
    if !counted {
        let missed = messages::query::count_since(&pool, user, after, until, MAX_MISSED_ITEMS + 1).await?;
        if missed > MAX_MISSED_ITEMS {
            return Ok(Page::TooMuch);
        }
    }
    let Since { min_position, rows } =
        messages::query::since(&pool, user, (after, until), (MAX_PAGE_ROWS, MAX_PAGE_BYTES)).await?;
    // The progress in memory may be stale for a moment after a database crash; this one was read together with the rows.
    if min_position < until {
        // The models may be blocked by one event; skipping ahead would lose items for good.
        return Err(sqlx::Error::Protocol("read models are lagging".to_owned()));
    }
    // The client may be showing messages that are no longer on the active branch: make it reload. Checked last, when the
    // models have caught up.
    if !counted && conversations::query::rewound_since(&pool, user, after).await? {
        return Ok(Page::TooMuch);
    }
    // An empty page means that nothing follows up to `until`.
    let end = rows.last().map_or(until, |row| row.position);
    let marks = conversations::query::read_since(&pool, user, after, end, MAX_PAGE_ROWS).await?;
    // A full page of read marks ends the page; the rest comes with the next one.
    let full = i64::try_from(marks.len()).is_ok_and(|marks| marks == MAX_PAGE_ROWS);
    let end = if full { marks.last().map_or(end, |mark| mark.position) } else { end };
    let mut items: Vec<Item> =
        rows.into_iter().map(Item::Message).chain(marks.into_iter().map(Item::Read)).collect();
    items.retain(|item| item.position() <= Some(end));
    items.sort_by_key(Item::position);
    Ok(Page::Items(items, end))
}

impl Drop for UserFeed {
    fn drop(&mut self) {
        // Replace the own receiver first, so that an unused channel can be removed.
        let (_, unused) = broadcast::channel(1);
        drop(std::mem::replace(&mut self.receiver, unused));
        self.user_channels.leave(self.user);
    }
}
