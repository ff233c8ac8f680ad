//! Reads the end of the log once per process and fans it out to subscribers.
//!
//! The tail is an optimisation. A subscriber that joins late, lags or sees a gap reads the log itself and rejoins after it
//! has caught up. Appends of this process and of other nodes wake the tail; correctness relies only on polling.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, broadcast};
use tokio_util::sync::CancellationToken;

use super::reader::{LogError, LogReader};
use super::recorded_event::RecordedEvent;
use crate::error_chain;

/// Most events per read.
const READ_LIMIT: usize = 500;
/// Interval of reads without a notification.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// Interval of reads at an event that fails to decode: only a new program version or other keys help.
const STOPPED_INTERVAL: Duration = Duration::from_secs(5);
/// Pause before a subscriber reads again events that it knows of but cannot read yet.
const RETRY_INTERVAL: Duration = Duration::from_millis(10);
/// Batches that a subscriber may lag behind before it has to read the log itself.
const CHANNEL_CAPACITY: usize = 256;

/// Consecutive events of the log.
#[derive(Debug)]
pub struct EventBatch {
    /// Position of the event before the first one: a subscriber at a lower position has missed events.
    pub after: i64,
    /// The events; never empty.
    pub events: Vec<Arc<RecordedEvent>>,
}

/// What the tail sends to its subscribers.
#[derive(Debug, Clone)]
enum Notice {
    /// The next events.
    Events(Arc<EventBatch>),
    /// There may be events that are in no batch: read the log.
    Poll,
}

/// Distributes the end of the log within this process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LogTail {
    reader: LogReader,
    wake: Arc<Notify>,
    appended: Arc<Notify>,
    notices: broadcast::Sender<Notice>,
    /// Position of the last event read. Stored before the batch is sent, so that a subscriber sees either the batch or this.
    published: Arc<AtomicI64>,
}

impl LogTail {
    /// Creates a tail; [`LogTail::run`] must be spawned to feed it.
    pub fn new(reader: LogReader) -> Self {
        Self {
            reader,
            wake: Arc::new(Notify::new()),
            appended: Arc::new(Notify::new()),
            notices: broadcast::channel(CHANNEL_CAPACITY).0,
            published: Arc::new(AtomicI64::new(0)),
        }
    }

    /// Notifies the tail of an append in this process.
    pub fn notify_appended(&self) {
        self.wake.notify_one();
        self.appended.notify_one();
    }

    /// Notifies the tail of an append in another process.
    pub fn notify_remote(&self) {
        self.wake.notify_one();
    }

    /// Waits for an append in this process since the last call. Supports one caller.
    pub async fn appended(&self) {
        self.appended.notified().await;
    }

    /// Subscribes to the events after `position`.
    pub fn subscribe(&self, position: i64) -> Subscription {
        Subscription {
            reader: self.reader.clone(),
            notices: self.notices.subscribe(),
            published: Arc::clone(&self.published),
            position,
            catching_up: true,
        }
    }

    /// Reads the end of the log until `stop` is cancelled.
    pub async fn run(self, stop: CancellationToken) {
        let mut position = None;
        while !stop.is_cancelled() {
            match self.step(&mut position).await {
                // There may be more events: read again at once.
                Ok(READ_LIMIT) => {}
                // `Notify` stores a notification that arrived during the read.
                Ok(_) => {
                    tokio::select! {
                        () = self.wake.notified() => {}
                        () = tokio::time::sleep(POLL_INTERVAL) => {}
                        () = stop.cancelled() => {}
                    }
                }
                Err(error) => {
                    metrics::counter!("verbatim_log_read_failures_total").increment(1);
                    tracing::error!(error = %error, cause = error_chain(&error), "failed to read the end of the log");
                    let pause = if matches!(error, LogError::Database(_)) {
                        POLL_INTERVAL
                    } else {
                        // Subscribers that wait for the next batch must see the error too.
                        let _ = self.notices.send(Notice::Poll);
                        STOPPED_INTERVAL
                    };
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = stop.cancelled() => {}
                    }
                }
            }
        }
    }

    /// Reads once; returns the number of events.
    async fn step(&self, position: &mut Option<i64>) -> Result<usize, LogError> {
        let after = match *position {
            Some(after) => after,
            None => {
                let after = self.reader.last_position().await?;
                self.published.store(after, Ordering::SeqCst);
                // Events between a subscriber's last read and this position are in no batch.
                let _ = self.notices.send(Notice::Poll);
                *position = Some(after);
                after
            }
        };
        let events = self.reader.read_after(after, READ_LIMIT as i32).await?;
        let Some(last) = events.last().map(|event| event.position) else { return Ok(0) };
        let found = events.len();
        metrics::gauge!("verbatim_log_position").set(last as f64);
        self.published.store(last, Ordering::SeqCst);
        // Sending fails without receivers, which is fine: later subscribers read the log.
        let _ = self.notices.send(Notice::Events(Arc::new(EventBatch { after, events })));
        *position = Some(last);
        Ok(found)
    }
}

/// A subscription: yields every event after its start position, once, in order.
#[derive(Debug)]
pub struct Subscription {
    reader: LogReader,
    notices: broadcast::Receiver<Notice>,
    published: Arc<AtomicI64>,
    position: i64,
    catching_up: bool,
}

impl Subscription {
    /// Returns the position of the last event yielded, or the start position.
    pub fn position(&self) -> i64 {
        self.position
    }

    /// Returns whether the tail feeds it, as opposed to reading the log itself.
    pub fn has_caught_up(&self) -> bool {
        !self.catching_up
    }

    /// Restarts after `position`.
    pub fn seek(&mut self, position: i64) {
        self.position = position;
        self.catching_up = true;
    }

    /// Waits for the next events; returns all that are available, up to about `limit`.
    ///
    /// # Errors
    /// Those of the reader; the subscription keeps its position, and the call can be repeated.
    pub async fn next(&mut self, limit: usize) -> Result<Vec<Arc<RecordedEvent>>, LogError> {
        loop {
            if self.catching_up {
                let events =
                    self.reader.read_after(self.position, i32::try_from(limit).unwrap_or(i32::MAX)).await?;
                if let Some(last) = events.last() {
                    self.position = last.position;
                    return Ok(events);
                }
                if self.published.load(Ordering::SeqCst) > self.position {
                    // The safe position has stepped back: the tail has read events that this read did not return. No
                    // batch will contain them again.
                    tokio::time::sleep(RETRY_INTERVAL).await;
                    continue;
                }
                self.catching_up = false;
            }
            let mut events = Vec::new();
            match self.notices.recv().await {
                Ok(notice) => self.take(&notice, &mut events),
                Err(_) => self.catching_up = true,
            }
            while !self.catching_up && events.len() < limit {
                match self.notices.try_recv() {
                    Ok(notice) => self.take(&notice, &mut events),
                    Err(broadcast::error::TryRecvError::Empty) => break,
                    Err(_) => self.catching_up = true,
                }
            }
            if !events.is_empty() {
                return Ok(events);
            }
            if self.catching_up {
                // If the channel is closed, poll the log without spinning.
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
        }
    }

    fn take(&mut self, notice: &Notice, events: &mut Vec<Arc<RecordedEvent>>) {
        let batch = match notice {
            Notice::Events(batch) if batch.after <= self.position => batch,
            // A gap, or a request to poll.
            Notice::Events(_) | Notice::Poll => {
                self.catching_up = true;
                return;
            }
        };
        for event in batch.events.iter().filter(|event| event.position > self.position) {
            events.push(Arc::clone(event));
        }
        if let Some(last) = events.last() {
            self.position = last.position;
        }
    }
}
