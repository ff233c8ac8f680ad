//! Runs command batches: load, decide, append; again after a version conflict.
//!
//! Decisions are made on cached states without asking the database whether they are current: the append's version check
//! does that. Only a rejection (or a decision without events) on a cached state is confirmed on the current state first,
//! because no append would check it.

use std::sync::Arc;
use std::time::Duration;

use aggregates::{EventSourced, Rejection};
use serde_json::Value;
use tokio_util::task::TaskTracker;
use traces::{Span, spans};

use super::attempt::{AttemptError, BatchAttempt, LoadedStream};
use super::cache::{StateCache, StreamName};
use super::charge::{ChargePolicy, ChargeRejection};
use super::command_batch::CommandBatch;
use super::command_key::{self, CommandKey, StoredKey};
use super::load::{LoadError, Loader, with_timeout};
use super::writer::Writer;
use crate::{FastPool, KeyStore, LogTail};

/// Most attempts at a batch before its caller gets `Busy`.
const MAX_ATTEMPTS: u32 = 5;
/// How long a batch may take in all. Exceeded only when the database does not respond.
const COMMAND_TIMEOUT: Duration = Duration::from_millis(4500);
/// How long the lookup of the idempotency key may take after the database failed.
const KEY_LOOKUP_TIMEOUT: Duration = Duration::from_secs(1);

/// Why a batch failed. Rejected commands write no events.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// An aggregate rejected a command.
    #[error("{0}")]
    Rejected(Rejection),
    /// The idempotency key was used for another command.
    #[error("the idempotency key was used for another command")]
    KeyReused,
    /// The charge was rejected.
    #[error("{0}")]
    ChargeRejected(ChargeRejection),
    /// A transactional write raised an error of its own.
    #[error("a condition of a transactional write does not hold: {code}")]
    ConditionFailed {
        /// SQLSTATE that the write raised; its owner knows the meaning.
        code: String,
    },
    /// Every attempt lost to a concurrent writer.
    #[error("too many concurrent writers")]
    Busy,
    /// The database is not available; the outcome may be unknown.
    #[error("the event log is not available")]
    Unavailable(#[source] anyhow::Error),
    /// A bug.
    #[error("the command failed")]
    Internal(#[source] anyhow::Error),
}

/// Result of a batch.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CommandOutcome {
    /// Position of the last event; `None` if no event was written.
    pub position: Option<i64>,
    /// The result stored with the idempotency key, if it was used before.
    pub replayed: Option<Value>,
    /// What remains after the charge, in the format of the database's charging function.
    pub remaining: Option<Value>,
}

/// Runs command batches. Cheap to clone.
#[derive(Clone)]
pub struct Executor {
    pub(super) pool: FastPool,
    pub(super) writer: Writer,
    pub(super) loader: Arc<Loader>,
    pub(super) key_store: Arc<KeyStore>,
    pub(super) cache: StateCache,
    pub(super) tail: LogTail,
    pub(super) background: TaskTracker,
    /// Prices batches without a policy of their own.
    pub(super) charge_policy: Option<Arc<dyn ChargePolicy>>,
}

/// How one attempt ended.
pub(super) enum AttemptOutcome {
    Done(CommandOutcome),
    Replayed(StoredKey),
    Conflict,
}

impl Executor {
    /// Creates an executor that writes over `pool`, notifies `tail` after each append, caches about `cache_bytes` of
    /// states, and writes snapshots on `background` tasks.
    pub fn new(
        pool: impl Into<FastPool>,
        key_store: Arc<KeyStore>,
        tail: LogTail,
        cache_bytes: u64,
        background: TaskTracker,
    ) -> Self {
        let pool = pool.into();
        Self {
            loader: Arc::new(Loader::new(pool.pool().clone())),
            writer: Writer::new(pool.clone(), background.clone()),
            pool,
            key_store,
            cache: StateCache::new(cache_bytes),
            tail,
            background,
            charge_policy: None,
        }
    }

    /// Sets the policy that prices batches without a policy of their own.
    #[must_use]
    pub fn with_charge_policy(mut self, policy: Arc<dyn ChargePolicy>) -> Self {
        self.charge_policy = Some(policy);
        self
    }

    /// Runs a batch.
    ///
    /// # Errors
    /// See [`ExecuteError`]. After `Unavailable` the batch may or may not have been written; repeating it with the same
    /// idempotency key returns the outcome.
    pub async fn run(&self, mut batch: CommandBatch) -> Result<CommandOutcome, ExecuteError> {
        let span = spans::command(&batch.metadata.surface, batch.steps.iter().map(|step| step.stream().0));
        batch.metadata.traceparent = span.traceparent();
        // Each step has its own timeout; the sum is dominated by waiting for the streams' locks.
        let run = span.run(tokio::time::timeout(COMMAND_TIMEOUT, self.run_with_retries(batch))).await;
        let outcome = run.unwrap_or_else(|elapsed| Err(ExecuteError::Unavailable(elapsed.into())));
        record_outcome(&span, &outcome);
        outcome
    }

    async fn run_with_retries(&self, batch: CommandBatch) -> Result<CommandOutcome, ExecuteError> {
        #[cfg(feature = "fault-injection")]
        if batch.key.is_some() && crate::fault_injection::is_injected(crate::fault_injection::KEY_IN_MEMORY) {
            return super::injected_faults::run_with_key_in_memory(self, batch).await;
        }
        if let Some((key, _)) = &batch.key
            && let Some(stored) = self.find_key(key).await?
        {
            return replay(key, stored);
        }
        let _guards = self.cache.lock_streams(batch.steps.iter().map(|step| step.stream()).collect()).await;
        for attempt in 0..MAX_ATTEMPTS {
            match self.attempt(&batch, attempt > 0).await {
                Ok(AttemptOutcome::Done(outcome)) => return Ok(outcome),
                Ok(AttemptOutcome::Replayed(stored)) => match &batch.key {
                    Some((key, _)) => return replay(key, stored),
                    None => return Err(ExecuteError::Internal(anyhow::anyhow!("a replay without a key"))),
                },
                Ok(AttemptOutcome::Conflict) => {
                    metrics::counter!("verbatim_append_conflicts_total").increment(1);
                    tokio::time::sleep(jitter(attempt)).await;
                }
                Err(error) => {
                    // The same command may have succeeded meanwhile, which is what made this one fail.
                    if let Some((key, _)) = &batch.key
                        && let Some(stored) = self.find_key_after(key, &error).await?
                    {
                        return replay(key, stored);
                    }
                    return Err(error);
                }
            }
        }
        Err(ExecuteError::Busy)
    }

    /// Returns the outcome of the command that used this key, if any.
    ///
    /// # Errors
    /// `KeyReused` if another command used it; `Unavailable`.
    pub async fn repeated(&self, key: &CommandKey) -> Result<Option<CommandOutcome>, ExecuteError> {
        self.find_key(key).await?.map(|stored| replay(key, stored)).transpose()
    }

    /// Returns the current state of an aggregate: the cached state, brought up to date from the log.
    ///
    /// # Errors
    /// `Unavailable` or `Internal`.
    pub async fn state<A: EventSourced>(&self, id: &str) -> Result<A, ExecuteError> {
        self.load_state(id, true).await
    }

    /// Returns the cached state of an aggregate, which may be old, or else the current one. For what does not change.
    ///
    /// # Errors
    /// `Unavailable` or `Internal`.
    pub async fn recent_state<A: EventSourced>(&self, id: &str) -> Result<A, ExecuteError> {
        self.load_state(id, false).await
    }

    /// Returns the state that an aggregate had at `sequence`.
    ///
    /// # Errors
    /// `Unavailable` or `Internal`.
    pub async fn state_at<A: EventSourced>(&self, id: &str, sequence: i64) -> Result<A, ExecuteError> {
        Ok(with_timeout(self.loader.load_at::<A>(&self.key_store, id, sequence)).await?)
    }

    async fn load_state<A: EventSourced>(&self, id: &str, fresh: bool) -> Result<A, ExecuteError> {
        let stream = self.load::<A>(id, fresh).await?;
        match stream.state.as_any().downcast_ref::<A>() {
            Some(state) => {
                let state = state.clone();
                if stream.base > 0 {
                    self.cache.put(stream.name, stream.state, stream.base);
                }
                Ok(state)
            }
            None => Err(ExecuteError::Internal(anyhow::anyhow!("a cached state has another type"))),
        }
    }

    async fn find_key(&self, key: &CommandKey) -> Result<Option<StoredKey>, ExecuteError> {
        command_key::find(&self.pool, key).await.map_err(|error| ExecuteError::Unavailable(error.into()))
    }

    /// Looks the key up after a failure. If the database has just failed, the lookup is short and may fail silently: the
    /// client has waited long already and can retry.
    async fn find_key_after(
        &self,
        key: &CommandKey,
        error: &ExecuteError,
    ) -> Result<Option<StoredKey>, ExecuteError> {
        match error {
            ExecuteError::Unavailable(_) => Ok(tokio::time::timeout(KEY_LOOKUP_TIMEOUT, self.find_key(key))
                .await
                .ok()
                .and_then(Result::ok)
                .flatten()),
            _ => self.find_key(key).await,
        }
    }

    /// Loads an aggregate's stream; a cached state is brought up to date only if `fresh`.
    pub(super) async fn load<A: EventSourced>(
        &self,
        id: &str,
        fresh: bool,
    ) -> Result<LoadedStream, LoadError> {
        let name: StreamName = (A::TYPE, id.to_owned());
        let cached = self.cache.get(&name).and_then(|cached| {
            cached.state.as_any().downcast_ref::<A>().map(|state| (state.clone(), cached.sequence))
        });
        let (state, base, fresh) = match cached {
            Some((mut state, sequence)) if fresh => {
                let caught_up = self.loader.catch_up(&self.key_store, id, &mut state, sequence);
                let base = with_timeout(caught_up).await?;
                (state, base, true)
            }
            Some((state, sequence)) => (state, sequence, false),
            None => {
                let (state, base) = with_timeout(self.loader.load::<A>(&self.key_store, id)).await?;
                (state, base, true)
            }
        };
        Ok(LoadedStream { name, base, fresh, state: Box::new(state), events: Vec::new() })
    }

    async fn attempt(&self, batch: &CommandBatch, fresh: bool) -> Result<AttemptOutcome, ExecuteError> {
        let mut attempt = BatchAttempt { executor: self, fresh, streams: Vec::new() };
        let mut decided = attempt.decide_all(batch).await;
        let from_cache = attempt.streams.iter().any(|stream| !stream.fresh);
        let unchanged = attempt.streams.iter().all(|stream| stream.events.is_empty());
        if from_cache && (unchanged || decided.is_err()) {
            attempt = BatchAttempt { executor: self, fresh: true, streams: Vec::new() };
            decided = attempt.decide_all(batch).await;
        }
        decided.map_err(|error| match error {
            AttemptError::Rejected(rejection) => ExecuteError::Rejected(rejection),
            AttemptError::Load(error) => error.into(),
            AttemptError::Encode(error) => ExecuteError::Internal(error.into()),
        })?;
        self.commit(batch, attempt.streams).await
    }
}

/// Records the outcome of a batch on its span and in the metrics.
fn record_outcome(span: &Span, outcome: &Result<CommandOutcome, ExecuteError>) {
    let failure = match outcome {
        Ok(CommandOutcome { replayed: Some(_), .. }) => return span.record_outcome("replayed"),
        Ok(CommandOutcome { position: None, .. }) => return span.record_outcome("unchanged"),
        Ok(CommandOutcome { position: Some(position), .. }) => {
            span.record_position(*position);
            return span.record_outcome("appended");
        }
        Err(ExecuteError::Rejected(_)) => return span.record_outcome("rejected"),
        Err(ExecuteError::KeyReused) => return span.record_outcome("key_reused"),
        Err(ExecuteError::ChargeRejected(_)) => return span.record_outcome("charge_rejected"),
        Err(ExecuteError::ConditionFailed { .. }) => return span.record_outcome("condition_failed"),
        Err(ExecuteError::Busy) => "busy",
        Err(ExecuteError::Unavailable(_)) => "unavailable",
        Err(ExecuteError::Internal(_)) => "internal",
    };
    span.record_failure(failure);
    metrics::counter!("verbatim_command_failures_total", "reason" => failure).increment(1);
}

fn replay(key: &CommandKey, stored: StoredKey) -> Result<CommandOutcome, ExecuteError> {
    if stored.matches(key) {
        Ok(CommandOutcome { position: stored.position, replayed: Some(stored.result), remaining: None })
    } else {
        Err(ExecuteError::KeyReused)
    }
}

/// Returns the pause before the next attempt: random, and longer each time.
fn jitter(attempt: u32) -> Duration {
    let mut byte = [0_u8; 1];
    // Without randomness the pause is merely the same for every writer.
    let _ = aws_lc_rs::rand::fill(&mut byte);
    Duration::from_micros(u64::from(byte[0]) * 20 * u64::from(attempt + 1))
}
