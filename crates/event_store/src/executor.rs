//! Runs an intent: load → decide → append, again when another writer was faster.
//!
//! Decisions are taken on cached states without asking the database whether they are current: the append checks
//! that. Only a refusal (or "nothing to do") on a cached state is confirmed against the log first, because nothing
//! else would check it.

use std::sync::Arc;
use std::time::Duration;

use crate::fast_pool::WarmPool;
use crate::{Tail, Vault};
use aggregates::Refusal;
use serde_json::Value;
use tokio_util::task::TaskTracker;

use super::append::Condition;
use super::cache::{StateCache, StreamName};
use super::charge::{Charge, Left, Overdrawn};
use super::command_key::{self, CommandKey, StoredKey};
use super::intent::Intent;
use super::load::{LoadError, Loader, soon};
use super::refusals::Refusals;
use super::stored::Stored;
use super::unit::{Stream, Unit, UnitError, decide_all};
use super::writer::Writer;
use traces::{Span, spans};

/// How often a lost race is tried again before the caller is told to come back later.
const TRIES: u32 = 5;
/// How long a command may take in all. It is longer only when the database does not answer.
const PATIENCE: Duration = Duration::from_millis(4500);
/// How long a database that did not answer is asked for the key after all.
const ONCE_MORE: Duration = Duration::from_secs(1);

/// Why an intent came to nothing. Refusals leave no trace in the log.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// An aggregate refused a command.
    #[error("{0}")]
    Refused(Refusal),
    /// The idempotency key was used for another command.
    #[error("the idempotency key was used for another command")]
    KeyReused,
    /// The password that the command rests on has been changed since it was proven.
    #[error("the password has been changed")]
    CredentialChanged,
    /// It takes more than the person's allowance has.
    #[error("{0}")]
    Overdrawn(Overdrawn),
    /// A condition on rows beside the log does not hold.
    #[error("{0}")]
    Condition(Condition),
    /// Other writers were faster every time.
    #[error("too many writers at once")]
    Busy,
    /// The database is not available; whether the command took effect may be unknown.
    #[error("the event log is not available")]
    Unavailable(#[source] anyhow::Error),
    /// A defect of ours.
    #[error("the command could not be carried out")]
    Internal(#[source] anyhow::Error),
}

/// What an intent came to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outcome {
    /// Position of the last event; none when there was nothing to add.
    pub position: Option<i64>,
    /// The result stored with the key, when this was a repetition.
    pub replayed: Option<Value>,
    /// What is left of the rates that it was charged.
    pub left: Vec<Left>,
}

/// The executor. Cheap to clone.
#[derive(Clone)]
pub struct Executor {
    pub(super) pool: WarmPool,
    pub(super) writer: Writer,
    pub(super) loader: Arc<Loader>,
    pub(super) vault: Arc<Vault>,
    pub(super) cache: StateCache,
    pub(super) tail: Tail,
    pub(super) background: TaskTracker,
    /// Whether commands take from allowances.
    pub(super) charging: bool,
    pub(super) refusals: Refusals,
}

/// How one try ended.
pub(super) enum Try {
    Done(Outcome),
    Replayed(StoredKey),
    Conflict,
}

impl Executor {
    /// An executor that writes over `pool`, wakes `tail` after each append, keeps states in at most about
    /// `cache_bytes`, and writes snapshots on `background` tasks.
    pub fn new(
        pool: impl Into<WarmPool>,
        vault: Arc<Vault>,
        tail: Tail,
        cache_bytes: u64,
        background: TaskTracker,
    ) -> Self {
        let pool = pool.into();
        Self {
            loader: Arc::new(Loader::new(pool.pool().clone())),
            writer: Writer::new(pool.clone(), background.clone()),
            pool,
            vault,
            cache: StateCache::new(cache_bytes),
            tail,
            background,
            charging: false,
            refusals: Refusals::default(),
        }
    }

    /// The same, taking from allowances what commands cost. Without it nothing is taken; the ends of replies settle what was
    /// reserved for them all the same: it may be another process that has the limits.
    #[must_use]
    pub fn charging(mut self, charging: bool) -> Self {
        self.charging = charging;
        self
    }

    /// Takes what belongs to no command, when allowances are charged.
    ///
    /// # Errors
    /// `Overdrawn`, `Unavailable`.
    pub async fn charge(&self, charge: &Charge) -> Result<Vec<Left>, ExecuteError> {
        if !self.charging {
            return Ok(Vec::new());
        }
        let taken = charge.take(&self.pool).await;
        taken.map_err(|error| ExecuteError::Unavailable(error.into()))?.map_err(|overdrawn| {
            self.refusals.remember(charge.user, &overdrawn);
            ExecuteError::Overdrawn(overdrawn)
        })
    }

    /// What was refused a while ago.
    pub fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// Carries an intent out.
    ///
    /// # Errors
    /// See [`ExecuteError`]. After `Unavailable` the command may or may not have taken effect; a repetition with
    /// the same key tells.
    pub async fn run(&self, mut intent: Intent) -> Result<Outcome, ExecuteError> {
        let span = spans::command(&intent.metadata.surface, intent.steps.iter().map(|step| step.stream().0));
        intent.metadata.traceparent = span.traceparent();
        // Each step has its own limit; what adds up is the waiting for others with the same streams.
        let carried_out = span.around(tokio::time::timeout(PATIENCE, self.carry_out(intent))).await;
        let outcome = carried_out.unwrap_or_else(|elapsed| Err(ExecuteError::Unavailable(elapsed.into())));
        tell(&span, &outcome);
        outcome
    }

    async fn carry_out(&self, intent: Intent) -> Result<Outcome, ExecuteError> {
        #[cfg(feature = "fault-injection")]
        if intent.key.is_some()
            && crate::fault_injection::is_injected(crate::fault_injection::Fault::KeyInMemory)
        {
            return super::injected_faults::run_with_key_in_memory(self, intent).await;
        }
        if let Some((key, _)) = &intent.key
            && let Some(stored) = self.stored(key).await?
        {
            return replay(key, stored);
        }
        let _turns = self.cache.turns(intent.steps.iter().map(|step| step.stream()).collect()).await;
        for attempt in 0..TRIES {
            match self.attempt(&intent, attempt > 0).await {
                Ok(Try::Done(outcome)) => return Ok(outcome),
                Ok(Try::Replayed(stored)) => match &intent.key {
                    Some((key, _)) => return replay(key, stored),
                    None => return Err(ExecuteError::Internal(anyhow::anyhow!("a replay without a key"))),
                },
                Ok(Try::Conflict) => {
                    metrics::counter!("verbatim_append_conflicts_total").increment(1);
                    tokio::time::sleep(jitter(attempt)).await;
                }
                Err(error) => {
                    // The same command may have succeeded meanwhile, which is what made this one fail.
                    if let Some((key, _)) = &intent.key
                        && let Some(stored) = self.stored_in_the_end(key, &error).await?
                    {
                        return replay(key, stored);
                    }
                    return Err(error);
                }
            }
        }
        Err(ExecuteError::Busy)
    }

    /// What the command with this key came to, when it was carried out before.
    ///
    /// # Errors
    /// `KeyReused` when it was another command; `Unavailable`.
    pub async fn repeated(&self, key: &CommandKey) -> Result<Option<Outcome>, ExecuteError> {
        self.stored(key).await?.map(|stored| replay(key, stored)).transpose()
    }

    /// The current state of an aggregate, read from the log as far as it is not cached.
    ///
    /// # Errors
    /// `Unavailable` or `Internal`.
    pub async fn state<A>(&self, id: &str) -> Result<A, ExecuteError>
    where
        A: Stored,
        A::Command: Clone + Send + Sync + 'static,
    {
        self.state_of(id, true).await
    }

    /// A state of an aggregate that may be old, but was never wrong: the cached one, else the current one. For what does
    /// not change any more.
    ///
    /// # Errors
    /// `Unavailable` or `Internal`.
    pub async fn recent_state<A>(&self, id: &str) -> Result<A, ExecuteError>
    where
        A: Stored,
        A::Command: Clone + Send + Sync + 'static,
    {
        self.state_of(id, false).await
    }

    /// The state that an aggregate had at `sequence`, read from the log.
    ///
    /// # Errors
    /// `Unavailable` or `Internal`.
    pub async fn state_at<A>(&self, id: &str, sequence: i64) -> Result<A, ExecuteError>
    where
        A: Stored,
        A::Command: Clone + Send + Sync + 'static,
    {
        Ok(soon(self.loader.at::<A>(&self.vault, id, sequence)).await?)
    }

    async fn state_of<A>(&self, id: &str, fresh: bool) -> Result<A, ExecuteError>
    where
        A: Stored,
        A::Command: Clone + Send + Sync + 'static,
    {
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

    async fn stored(&self, key: &CommandKey) -> Result<Option<StoredKey>, ExecuteError> {
        command_key::find(&self.pool, key).await.map_err(|error| ExecuteError::Unavailable(error.into()))
    }

    /// The stored key after a failure. A database that has just failed is asked for a moment only: whoever waits has
    /// waited for long already, and can ask for the same.
    async fn stored_in_the_end(
        &self,
        key: &CommandKey,
        error: &ExecuteError,
    ) -> Result<Option<StoredKey>, ExecuteError> {
        match error {
            ExecuteError::Unavailable(_) => Ok(tokio::time::timeout(ONCE_MORE, self.stored(key))
                .await
                .ok()
                .and_then(Result::ok)
                .flatten()),
            _ => self.stored(key).await,
        }
    }

    pub(super) async fn load<A>(&self, id: &str, fresh: bool) -> Result<Stream, LoadError>
    where
        A: Stored,
        A::Command: Clone + Send + Sync + 'static,
    {
        let name: StreamName = (A::TYPE, id.to_owned());
        let cached = self.cache.get(&name).and_then(|cached| {
            cached.state.as_any().downcast_ref::<A>().map(|state| (state.clone(), cached.sequence))
        });
        let (state, base, fresh) = match cached {
            Some((mut state, sequence)) if fresh => {
                let newer = self.loader.newer(&self.vault, id, &mut state, sequence);
                let stands = soon(newer).await?;
                (state, stands, true)
            }
            Some((state, sequence)) => (state, sequence, false),
            None => {
                let (state, stands) = soon(self.loader.cold::<A>(&self.vault, id)).await?;
                (state, stands, true)
            }
        };
        Ok(Stream { name, base, fresh, state: Box::new(state), events: Vec::new() })
    }

    async fn attempt(&self, intent: &Intent, fresh: bool) -> Result<Try, ExecuteError> {
        let mut unit = Unit { executor: self, fresh, streams: Vec::new() };
        let mut decided = decide_all(intent, &mut unit).await;
        let from_cache = unit.streams.iter().any(|stream| !stream.fresh);
        let nothing = unit.streams.iter().all(|stream| stream.events.is_empty());
        if from_cache && (nothing || decided.is_err()) {
            unit = Unit { executor: self, fresh: true, streams: Vec::new() };
            decided = decide_all(intent, &mut unit).await;
        }
        decided.map_err(|error| match error {
            UnitError::Refused(refusal) => ExecuteError::Refused(refusal),
            UnitError::Load(error) => error.into(),
            UnitError::Encode(error) => ExecuteError::Internal(error.into()),
        })?;
        self.commit(intent, unit.streams).await
    }
}

/// Has the span of a command, and the metrics, say what came of it.
fn tell(span: &Span, outcome: &Result<Outcome, ExecuteError>) {
    let failure = match outcome {
        Ok(Outcome { replayed: Some(_), .. }) => return span.ended("replayed"),
        Ok(Outcome { position: None, .. }) => return span.ended("nothing"),
        Ok(Outcome { position: Some(position), .. }) => {
            span.reached(*position);
            return span.ended("recorded");
        }
        Err(ExecuteError::Refused(_)) => return span.ended("refused"),
        Err(ExecuteError::KeyReused) => return span.ended("key_reused"),
        Err(ExecuteError::CredentialChanged) => return span.ended("credential_changed"),
        Err(ExecuteError::Overdrawn(_)) => return span.ended("overdrawn"),
        Err(ExecuteError::Condition(_)) => return span.ended("condition"),
        Err(ExecuteError::Busy) => "busy",
        Err(ExecuteError::Unavailable(_)) => "unavailable",
        Err(ExecuteError::Internal(_)) => "internal",
    };
    span.failed(failure);
    metrics::counter!("verbatim_command_failures_total", "reason" => failure).increment(1);
}

fn replay(key: &CommandKey, stored: StoredKey) -> Result<Outcome, ExecuteError> {
    if stored.matches(key) {
        Ok(Outcome { position: stored.position, replayed: Some(stored.result), left: Vec::new() })
    } else {
        Err(ExecuteError::KeyReused)
    }
}

/// A pause before the next try: longer each time, and different for each writer.
fn jitter(attempt: u32) -> Duration {
    let mut byte = [0_u8; 1];
    // Without randomness the pause is merely the same for everybody.
    let _ = aws_lc_rs::rand::fill(&mut byte);
    Duration::from_micros(u64::from(byte[0]) * 20 * u64::from(attempt + 1))
}
