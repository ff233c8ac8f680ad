//! The relay: publishes the log to NATS in order, each public event once.
//!
//! Any number of processes may run one; a lease ([`lease`]) elects the active one, and each message names the one that it
//! follows, so that two concurrent relays do no harm. The position to resume from is read from the stream (`resume`): it has what
//! a killed relay had published, and the rest is published. An emptied or recreated stream is filled
//! again from the log. The relay stops with an error if the stream has events that the log does not: then the stream was not
//! published from this log.

pub mod envelope;
pub mod lease;
pub mod public;
mod publisher;
mod resume;

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

/// Minimum time between two batches, unless a batch makes a reply due.
const GATHER_INTERVAL: Duration = Duration::from_millis(20);
/// Maximum number of events per batch.
const MAX_BATCH: usize = 500;
/// Delay before a failed relay retries.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);
/// Delay before a relay retries that needs an operator.
const OPERATOR_RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// Reason why the relay stopped.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// A request to NATS failed; the resume point is read again.
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
    /// The stream has an event that is not in the log.
    #[error(
        "the stream holds the event at position {published}, and the log ends at {head}: this is not the log that the \
         stream was made from (restored from a backup?). Restore the log, or delete the stream to have it made anew"
    )]
    Ahead {
        /// Position of the last message.
        published: i64,
        /// Last position of the log.
        head: i64,
    },
}

impl RelayError {
    /// Whether an operator has to act.
    fn needs_operator(&self) -> bool {
        match self {
            Self::Ahead { .. } | Self::Stream(StreamError::Different { .. }) => true,
            Self::Log(error) => !matches!(error, LogError::Database(_)),
            Self::Nats(_) | Self::Stream(StreamError::Unavailable { .. }) | Self::Database(_) => false,
        }
    }
}

/// State of this process's relay. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct RelayState {
    stopped: Arc<AtomicBool>,
    position: Arc<AtomicI64>,
    failures: Arc<AtomicU64>,
}

impl RelayState {
    /// Whether an operator has to act.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Position up to which this process has published; 0 before it held the lease.
    pub fn position(&self) -> i64 {
        self.position.load(Ordering::Relaxed)
    }

    /// Number of failures.
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
    /// Connection pool for the lease.
    pub pool: FastPool,
    /// Reader for the end of the log.
    pub reader: LogReader,
    /// Events of the log.
    pub tail: LogTail,
    /// Id of this process as lease holder.
    pub holder: Uuid,
    /// State for health checks and metrics.
    pub state: RelayState,
}

impl Relay {
    /// Publishes while it holds the lease, until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let name = self.nats.names().events_stream();
        loop {
            let outcome = tokio::select! {
                outcome = self.publish_while_leased(&name) => outcome,
                () = stop.cancelled() => break,
            };
            let pause = match outcome {
                Ok(()) => lease::RENEW_INTERVAL,
                Err(error) => {
                    let stopped = error.needs_operator();
                    self.state.set_stopped(stopped);
                    self.state.failures.fetch_add(1, Ordering::Relaxed);
                    metrics::counter!("verbatim_relay_failures_total").increment(1);
                    if stopped {
                        tracing::error!(%error, "relay stopped; operator action required");
                        OPERATOR_RETRY_INTERVAL
                    } else {
                        tracing::warn!(%error, "relay failed; retrying");
                        RETRY_INTERVAL
                    }
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => break,
            }
        }
        if let Err(error) = lease::release(&self.pool, &name, self.holder).await {
            tracing::debug!(%error, "failed to release relay lease; it expires by itself");
        }
    }

    /// One turn: ends when another process has it, or with what went wrong.
    async fn publish_while_leased(&self, name: &str) -> Result<(), RelayError> {
        let Some(remembered) = lease::acquire(&self.pool, name, self.holder).await? else { return Ok(()) };
        let stream = stream::ensure(&self.nats).await?;
        let info = stream.get_info().await.map_err(|error| RelayError::Nats(error.to_string()))?;
        let created = info.created.to_string();
        let max_age = self.nats.config().max_age.as_secs_f64();
        let resume_point = resume::resume_point(&stream, &info.state, &created, &remembered, max_age).await?;
        let head = self.reader.bounds().await?.head;
        if resume_point.position > head {
            return Err(RelayError::Ahead { published: resume_point.position, head });
        }
        let mut refills = remembered.refills;
        if resume_point.emptied {
            refills = lease::count_refill(&self.pool, name).await?;
            tracing::warn!(stream = %name, "the stream was emptied or made anew: it is filled again from the log");
        }
        tracing::info!(stream = %name, position = resume_point.position, "relay active in this process");
        self.state.set_stopped(false);
        self.state.advance(resume_point.position);

        let mut subscription = self.tail.subscribe(resume_point.position);
        let mut last = resume_point.last_sequence;
        let mut published = Instant::now();
        loop {
            let events = {
                let next = subscription.next(MAX_BATCH);
                tokio::pin!(next);
                loop {
                    // The read is never dropped for being slow: it would only begin again.
                    tokio::select! {
                        events = &mut next => break events?,
                        () = tokio::time::sleep(lease::RENEW_INTERVAL) => {}
                    }
                    if lease::acquire(&self.pool, name, self.holder).await?.is_none() {
                        return Ok(());
                    }
                    // The stream may have been deleted or emptied while idle.
                    let found =
                        stream.get_info().await.map_err(|error| RelayError::Nats(error.to_string()))?;
                    let emptied = found.state.messages == 0 && last > 0 && max_age == 0.0;
                    if found.created.to_string() != created || found.state.last_sequence != last || emptied {
                        return Err(RelayError::Nats("the stream was changed by another client".to_owned()));
                    }
                }
            };
            let events = gather(&mut subscription, events, published + GATHER_INTERVAL).await?;
            let before = last;
            last = publisher::publish(&self.nats, last, refills, events.iter().map(AsRef::as_ref)).await?;
            let Some(position) = events.last().map(|event| event.position) else { continue };
            if last > before {
                event_store::crash_point!("acknowledged");
                let sequence = i64::try_from(last).unwrap_or(i64::MAX);
                if !lease::record_published(&self.pool, name, self.holder, &created, sequence, position)
                    .await?
                {
                    return Ok(());
                }
            }
            self.state.advance(position);
            published = Instant::now();
        }
    }
}

/// Gathers more events until `until`, or until one makes a reply due. Each batch slows concurrent commands a little, and other
/// consumers are not latency-sensitive.
async fn gather(
    subscription: &mut Subscription,
    mut events: Vec<Arc<RecordedEvent>>,
    until: Instant,
) -> Result<Vec<Arc<RecordedEvent>>, RelayError> {
    while events.len() < MAX_BATCH && !events.iter().any(|recorded| may_make_reply_due(&recorded.event)) {
        match tokio::time::timeout_at(until, subscription.next(MAX_BATCH)).await {
            Ok(more) => events.extend(more?),
            Err(_) => break,
        }
    }
    Ok(events)
}
