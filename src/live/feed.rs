//! What one open socket is told, from any position on: see [`super::people`].

use std::collections::VecDeque;
use std::sync::Arc;

use projections::messages::query::Since;
use projections::{conversations, messages};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::patience::Patience;
use super::people::{Item, People};
use super::{CATCH_UP, Stored};

/// The read models that what was missed is read from.
const MODELS: &[&str] = &["messages", "conversations"];
/// The most that one who comes back is sent of what was missed; who missed more loads the history.
pub const MOST_MISSED: i64 = 1_000;
/// How many of them, and how many bytes of text, are held in memory at a time.
const PAGE: i64 = 64;
const PAGE_BYTES: i64 = 128 * 1024;

/// What a feed brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fed {
    /// Something happened.
    Item(Arc<Item>),
    /// More was missed than is sent this way: everything up to here is to be loaded from the history.
    Reset {
        /// Up to where.
        position: i64,
    },
}

/// The items of one person, once each and in the order of the log.
#[derive(Debug)]
pub struct UserFeed {
    people: People,
    user: Uuid,
    receiver: broadcast::Receiver<Arc<Item>>,
    /// What is stored up to here has been handed out, or is not wanted.
    at: i64,
    /// What is stored after `at` and up to here is to be read from the models.
    missed: Option<Missed>,
    ready: VecDeque<Arc<Item>>,
    patience: Patience,
    /// A look at what was missed that is under way.
    reading: Option<JoinHandle<Result<Page, sqlx::Error>>>,
}

#[derive(Debug, Clone, Copy)]
struct Missed {
    until: i64,
    counted: bool,
}

impl UserFeed {
    pub(super) fn new(people: People, user: Uuid, after: Option<i64>) -> Self {
        let (receiver, position) = people.join(user);
        let at = after.unwrap_or(position);
        let missed = (at < position).then_some(Missed { until: position, counted: false });
        Self {
            people,
            user,
            receiver,
            at,
            missed,
            ready: VecDeque::new(),
            patience: Patience::default(),
            reading: None,
        }
    }

    /// What is stored up to here has been handed out, or is not wanted.
    pub fn at(&self) -> i64 {
        self.at
    }

    /// Waits for the next item. The wait may be given up at any time.
    ///
    /// # Errors
    /// The database's, when it has not answered or the models were held up for [`PATIENCE`](super::patience::PATIENCE).
    pub async fn next(&mut self) -> Result<Fed, sqlx::Error> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Ok(Fed::Item(item));
            }
            if let Some(missed) = self.missed {
                if let Some(position) = self.read(missed).await? {
                    return Ok(Fed::Reset { position });
                }
                continue;
            }
            match self.receiver.recv().await {
                Ok(item) => match item.position() {
                    Some(position) if position <= self.at => {}
                    position => {
                        self.at = position.unwrap_or(self.at);
                        return Ok(Fed::Item(item));
                    }
                },
                // Too slow: what was dropped is read from the models.
                Err(_) => {
                    let (receiver, position) = self.people.join(self.user);
                    self.receiver = receiver;
                    self.missed = Some(Missed { until: position, counted: false });
                }
            }
        }
    }

    /// Reads a page of what was missed. Some: too much of it, up to this position.
    async fn read(&mut self, missed: Missed) -> Result<Option<i64>, sqlx::Error> {
        let reading = self.reading.get_or_insert_with(|| {
            let stored = self.people.stored();
            stored.tasks.spawn(page(stored.clone(), self.user, self.at, missed))
        });
        let page = reading.await.unwrap_or(Err(sqlx::Error::WorkerCrashed));
        self.reading = None;
        match page {
            Err(error) if self.patience.is_over() => return Err(error),
            Err(error) => {
                tracing::debug!(%error, "what was missed is looked for again");
                tokio::time::sleep(CATCH_UP).await;
            }
            Ok(Page::TooMuch) => {
                self.patience.restore();
                self.at = missed.until;
                self.missed = None;
                return Ok(Some(missed.until));
            }
            Ok(Page::Items(items, end)) => {
                self.patience.restore();
                self.ready.extend(items.into_iter().map(Arc::new));
                self.at = end;
                self.missed = (end < missed.until).then_some(Missed { counted: true, ..missed });
            }
        }
        Ok(None)
    }
}

/// A look at what was missed.
#[derive(Debug)]
enum Page {
    /// More than is sent.
    TooMuch,
    /// Some of it, and up to where that is all.
    Items(Vec<Item>, i64),
}

async fn page(stored: Stored, user: Uuid, after: i64, missed: Missed) -> Result<Page, sqlx::Error> {
    let Missed { until, counted } = missed;
    let Stored { pool, progress, .. } = stored;
    progress.wait(MODELS, until, CATCH_UP).await;
    if !counted {
        let missed = messages::query::count_since(&pool, user, after, until, MOST_MISSED + 1).await?;
        if missed > MOST_MISSED {
            return Ok(Page::TooMuch);
        }
    }
    let Since { min_position, rows } =
        messages::query::since(&pool, user, (after, until), (PAGE, PAGE_BYTES)).await?;
    // What is remembered of how far they are may be a moment behind a crash of the database; this was read with the rows.
    if min_position < until {
        // Held up at an event, maybe: what is skipped here would never come.
        return Err(sqlx::Error::Protocol("the read models are held up".to_owned()));
    }
    // What was left behind is among what the client shows: it has to look again. Only now, when nothing up to there is still to come.
    if !counted && conversations::query::rewound_since(&pool, user, after).await? {
        return Ok(Page::TooMuch);
    }
    // Without any, there is nothing more.
    let end = rows.last().map_or(until, |row| row.position);
    let marks = conversations::query::read_since(&pool, user, after, end, PAGE).await?;
    // As many marks as fit: those behind them come with the next page.
    let full = i64::try_from(marks.len()).is_ok_and(|marks| marks == PAGE);
    let end = if full { marks.last().map_or(end, |mark| mark.position) } else { end };
    let mut items: Vec<Item> =
        rows.into_iter().map(Item::Message).chain(marks.into_iter().map(Item::Read)).collect();
    items.retain(|item| item.position() <= Some(end));
    items.sort_by_key(Item::position);
    Ok(Page::Items(items, end))
}

impl Drop for UserFeed {
    fn drop(&mut self) {
        // Its own receiver is still there: another one takes its place, and with it goes the channel.
        let (_, unused) = broadcast::channel(1);
        drop(std::mem::replace(&mut self.receiver, unused));
        self.people.leave(self.user);
    }
}
