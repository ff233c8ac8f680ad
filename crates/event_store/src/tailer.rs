//! One reader of the log's end per process, fanned out to everybody who follows it.
//!
//! The tail is a convenience, never the truth: a subscriber that joins late, falls behind or sees a gap goes back to
//! reading the log itself, and joins again when it has caught up. Wake-ups come from appends in this process; polling
//! is what correctness rests on.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, broadcast};
use tokio_util::sync::CancellationToken;

use super::reader::{LogError, LogReader};
use super::recorded::Recorded;
use crate::error_chain::cause;

/// How many events one read takes at most.
const READ_LIMIT: usize = 500;
/// How long the tail waits for a wake-up before it looks by itself.
const POLL: Duration = Duration::from_millis(200);
/// How long the tail waits at an event that it cannot read: nothing changes until the program or its keys do.
const STOPPED_PAUSE: Duration = Duration::from_secs(5);
/// How long a subscriber that knows of events it cannot have yet waits before it asks again.
const RETRY: Duration = Duration::from_millis(10);
/// How many batches a subscriber may lag before it is sent back to the log.
const CHANNEL: usize = 256;

/// Consecutive events of the log.
#[derive(Debug)]
pub struct Batch {
    /// Position of the event before the first one: a subscriber that stands lower has missed something.
    pub after: i64,
    /// The events; never empty.
    pub events: Vec<Arc<Recorded>>,
}

/// What the tail tells its subscribers.
#[derive(Debug, Clone)]
enum Notice {
    /// These events are settled.
    Events(Arc<Batch>),
    /// There may be something that no batch brings: read the log.
    Look,
}

/// The end of the log as this process sees it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tail {
    reader: LogReader,
    wake: Arc<Notify>,
    appended: Arc<Notify>,
    notices: broadcast::Sender<Notice>,
    /// How far the tail has read. Set before the batch is sent, so that a subscriber has either the batch or this.
    published: Arc<AtomicI64>,
}

impl Tail {
    /// A tail that nobody feeds yet: [`Tail::run`] has to be spawned.
    pub fn new(reader: LogReader) -> Self {
        Self {
            reader,
            wake: Arc::new(Notify::new()),
            appended: Arc::new(Notify::new()),
            notices: broadcast::channel(CHANNEL).0,
            published: Arc::new(AtomicI64::new(0)),
        }
    }

    /// Tells the tail that something was appended in this process.
    pub fn wake(&self) {
        self.wake.notify_one();
        self.appended.notify_one();
    }

    /// Lets the tail look at the log: something was appended elsewhere.
    pub fn look(&self) {
        self.wake.notify_one();
    }

    /// Waits until something has been appended in this process since the last call. For one caller.
    pub async fn appended(&self) {
        self.appended.notified().await;
    }

    /// Follows the log from after `position` on.
    pub fn subscribe(&self, position: i64) -> Subscription {
        Subscription {
            reader: self.reader.clone(),
            notices: self.notices.subscribe(),
            published: Arc::clone(&self.published),
            position,
            catching_up: true,
        }
    }

    /// Reads the end of the log until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut position = None;
        while !stop.is_cancelled() {
            match self.step(&mut position).await {
                // There may be more than one read takes.
                Ok(READ_LIMIT) => {}
                // Whatever was appended since has left its wake-up behind.
                Ok(_) => {
                    tokio::select! {
                        () = self.wake.notified() => {}
                        () = tokio::time::sleep(POLL) => {}
                        () = stop.cancelled() => {}
                    }
                }
                Err(error) => {
                    metrics::counter!("verbatim_log_read_failures_total").increment(1);
                    tracing::error!(error = %error, cause = cause(&error), "the end of the log cannot be read");
                    let pause = if matches!(error, LogError::Database(_)) {
                        POLL
                    } else {
                        // Those who wait for the next batch have to meet the error too.
                        let _ = self.notices.send(Notice::Look);
                        STOPPED_PAUSE
                    };
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = stop.cancelled() => {}
                    }
                }
            }
        }
    }

    /// Reads once; returns how many events there were.
    async fn step(&self, position: &mut Option<i64>) -> Result<usize, LogError> {
        let after = match *position {
            Some(after) => after,
            None => {
                let after = self.reader.last_settled().await?;
                self.published.store(after, Ordering::SeqCst);
                // What was settled between a subscriber's last look and this beginning comes in no batch.
                let _ = self.notices.send(Notice::Look);
                *position = Some(after);
                after
            }
        };
        let events = self.reader.read_after(after, READ_LIMIT as i32).await?;
        let Some(last) = events.last().map(|event| event.position) else { return Ok(0) };
        let found = events.len();
        metrics::gauge!("verbatim_log_position").set(last as f64);
        self.published.store(last, Ordering::SeqCst);
        // No receiver is no failure: whoever comes later reads the log.
        let _ = self.notices.send(Notice::Events(Arc::new(Batch { after, events })));
        *position = Some(last);
        Ok(found)
    }
}

/// One follower of the log: every event after where it started, once, in order.
#[derive(Debug)]
pub struct Subscription {
    reader: LogReader,
    notices: broadcast::Receiver<Notice>,
    published: Arc<AtomicI64>,
    position: i64,
    catching_up: bool,
}

impl Subscription {
    /// Position of the last event handed out, or where it started.
    pub fn position(&self) -> i64 {
        self.position
    }

    /// Whether it is fed by the tail now, and not by reading the log itself.
    pub fn has_caught_up(&self) -> bool {
        !self.catching_up
    }

    /// Starts again after `position`.
    pub fn seek(&mut self, position: i64) {
        self.position = position;
        self.catching_up = true;
    }

    /// Waits for the next events; all that are there already are handed out together, up to about `limit`.
    ///
    /// # Errors
    /// Those of the reader; the subscription stays where it was and can be asked again.
    pub async fn next(&mut self, limit: usize) -> Result<Vec<Arc<Recorded>>, LogError> {
        loop {
            if self.catching_up {
                let events =
                    self.reader.read_after(self.position, i32::try_from(limit).unwrap_or(i32::MAX)).await?;
                if let Some(last) = events.last() {
                    self.position = last.position;
                    return Ok(events);
                }
                if self.published.load(Ordering::SeqCst) > self.position {
                    // The floor has stepped back: the tail has read what this read was not given. No batch will
                    // bring it again.
                    tokio::time::sleep(RETRY).await;
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
                // A closed channel must not spin: the log itself is polled then.
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    fn take(&mut self, notice: &Notice, events: &mut Vec<Arc<Recorded>>) {
        let batch = match notice {
            Notice::Events(batch) if batch.after <= self.position => batch,
            // A gap, or something to look for.
            Notice::Events(_) | Notice::Look => {
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
