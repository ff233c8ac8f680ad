//! The relay: carries the log to NATS, in its order, each public event once.
//!
//! Any number of processes may run one; the row of [`row`] says whose turn it is, and each message names the one that it
//! follows, so that two at work at one moment do no harm. Where it stands is read from the stream (`standing`): what a
//! killed relay had published is there, and what was not is published. A stream that was emptied or made anew is filled
//! again from the log. It stops, and says so, when the stream holds events that the log does not: then the log is not
//! the one that the stream was made from.

pub mod envelope;
pub mod public;
mod publisher;
pub mod row;
mod standing;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use event_store::{FastPool, LogError, LogReader, LogTail, RecordedEvent, Subscription};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::nats::Nats;
use crate::nats::stream::{self, StreamError};
use crate::replies::may_make_reply_due;

/// The least time between two batches, unless a worker waits for something.
const GATHER: Duration = Duration::from_millis(20);
/// How many events one batch takes at most.
const BATCH: usize = 500;
/// How long a relay that failed waits.
const PAUSE: Duration = Duration::from_millis(500);
/// How long one waits that an operator has to help.
const STOPPED_PAUSE: Duration = Duration::from_secs(5);

/// Why the relay does not go on.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// NATS did not take or tell something; where the stream stands is read anew.
    #[error("NATS: {0}")]
    Nats(String),
    /// The stream cannot be used.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The database does not answer.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    /// The stream holds an event that the log does not.
    #[error(
        "the stream holds the event at position {published}, and the log ends at {head}: this is not the log that the \
         stream was made from (restored from a backup?). Restore the log, or delete the stream to have it made anew"
    )]
    Ahead {
        /// Position of the last message.
        published: i64,
        /// The log's end.
        head: i64,
    },
}

impl RelayError {
    /// Whether it stays like that until somebody does something about it.
    fn needs_help(&self) -> bool {
        match self {
            Self::Ahead { .. } | Self::Stream(StreamError::Different { .. }) => true,
            Self::Log(error) => !matches!(error, LogError::Database(_)),
            Self::Nats(_) | Self::Stream(StreamError::Unavailable { .. }) | Self::Database(_) => false,
        }
    }
}

/// How the relay of this process does. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct RelayState {
    stopped: Arc<AtomicBool>,
    position: Arc<AtomicI64>,
    failures: Arc<AtomicU64>,
}

impl RelayState {
    /// Whether somebody has to help.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Position up to which this process has published; 0 before it had a turn.
    pub fn position(&self) -> i64 {
        self.position.load(Ordering::Relaxed)
    }

    /// How often it had to begin again.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    fn set_stopped(&self, stopped: bool) {
        self.stopped.store(stopped, Ordering::Relaxed);
        metrics::gauge!("verbatim_relay_stopped").set(f64::from(u8::from(stopped)));
    }

    fn advance(&self, position: i64) {
        self.position.store(position, Ordering::Relaxed);
        metrics::gauge!("verbatim_relay_position").set(position as f64);
    }
}

/// The relay of one process.
pub struct Relay {
    /// NATS.
    pub nats: Nats,
    /// For its row.
    pub pool: FastPool,
    /// The log's bounds.
    pub reader: LogReader,
    /// The log's events.
    pub tail: LogTail,
    /// This process' name on the row.
    pub holder: Uuid,
    /// What is told of it.
    pub state: RelayState,
}

impl Relay {
    /// Works, or waits for its turn, until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let name = self.nats.names().events_stream();
        loop {
            let outcome = tokio::select! {
                outcome = self.turn(&name) => outcome,
                () = stop.cancelled() => break,
            };
            let pause = match outcome {
                Ok(()) => row::RENEW,
                Err(error) => {
                    let stopped = error.needs_help();
                    self.state.set_stopped(stopped);
                    self.state.failures.fetch_add(1, Ordering::Relaxed);
                    metrics::counter!("verbatim_relay_failures_total").increment(1);
                    if stopped {
                        tracing::error!(%error, "the relay is stopped");
                        STOPPED_PAUSE
                    } else {
                        tracing::warn!(%error, "the relay begins again");
                        PAUSE
                    }
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => break,
            }
        }
        if let Err(error) = row::give_back(&self.pool, &name, self.holder).await {
            tracing::debug!(%error, "the relay's turn was not given back; it runs out by itself");
        }
    }

    /// One turn: ends when another process has it, or with what went wrong.
    async fn turn(&self, name: &str) -> Result<(), RelayError> {
        let Some(remembered) = row::take(&self.pool, name, self.holder).await? else { return Ok(()) };
        let stream = stream::ensure(&self.nats).await?;
        let info = stream.get_info().await.map_err(|error| RelayError::Nats(error.to_string()))?;
        let created = info.created.to_string();
        let max_age = self.nats.config().max_age.as_secs_f64();
        let standing = standing::standing(&stream, &info.state, &created, &remembered, max_age).await?;
        let head = self.reader.bounds().await?.head;
        if standing.position > head {
            return Err(RelayError::Ahead { published: standing.position, head });
        }
        let mut refills = remembered.refills;
        if standing.emptied {
            refills = row::refill(&self.pool, name).await?;
            tracing::warn!(stream = %name, "the stream was emptied or made anew: it is filled again from the log");
        }
        tracing::info!(stream = %name, position = standing.position, "the relay works here");
        self.state.set_stopped(false);
        self.state.advance(standing.position);

        let mut subscription = self.tail.subscribe(standing.position);
        let mut last = standing.last_sequence;
        let mut published = Instant::now();
        loop {
            let events = {
                let next = subscription.next(BATCH);
                tokio::pin!(next);
                loop {
                    // The read is never dropped for being slow: it would only begin again.
                    tokio::select! {
                        events = &mut next => break events?,
                        () = tokio::time::sleep(row::RENEW) => {}
                    }
                    if row::take(&self.pool, name, self.holder).await?.is_none() {
                        return Ok(());
                    }
                    // Somebody may have deleted or emptied it although nothing happens.
                    let found =
                        stream.get_info().await.map_err(|error| RelayError::Nats(error.to_string()))?;
                    let emptied = found.state.messages == 0 && last > 0 && max_age == 0.0;
                    if found.created.to_string() != created || found.state.last_sequence != last || emptied {
                        return Err(RelayError::Nats("the stream is not as this relay left it".to_owned()));
                    }
                }
            };
            let events = gather(&mut subscription, events, published + GATHER).await?;
            let before = last;
            last = publisher::publish(&self.nats, last, refills, events.iter().map(AsRef::as_ref)).await?;
            let Some(position) = events.last().map(|event| event.position) else { continue };
            if last > before {
                event_store::crash_point!("acknowledged");
                let sequence = i64::try_from(last).unwrap_or(i64::MAX);
                if !row::remember(&self.pool, name, self.holder, &created, sequence, position).await? {
                    return Ok(());
                }
            }
            self.state.advance(position);
            published = Instant::now();
        }
    }
}

/// Takes more with what there is, until then or until a worker waits for any of it: each batch costs commands of the same
/// moment a little, and nobody else is in a hurry.
async fn gather(
    subscription: &mut Subscription,
    mut events: Vec<Arc<RecordedEvent>>,
    until: Instant,
) -> Result<Vec<Arc<RecordedEvent>>, RelayError> {
    while events.len() < BATCH && !events.iter().any(|recorded| may_make_reply_due(&recorded.event)) {
        match tokio::time::timeout_at(until, subscription.next(BATCH)).await {
            Ok(more) => events.extend(more?),
            Err(_) => break,
        }
    }
    Ok(events)
}
