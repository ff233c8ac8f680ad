//! What every service needs: the log, the read models, time and ids.

use std::time::Duration;

use aggregates::ids::UserId;
use event_store::{CommandBatch, CommandKey, CommandOutcome, Executor, FastPool, LogReader};
use projections::progress::ProjectionProgress;
use serde_json::Value;
use uuid::Uuid;

use super::{AppError, Kind, RequestContext};
use crate::auth::KeyedHasher;
use crate::clock::Clock;

/// Longest wait of a query or a command's answer for the read models.
pub const CATCH_UP_TIMEOUT: Duration = Duration::from_millis(300);

/// The log, the read models, time and ids. Cheap to clone.
#[derive(Clone)]
pub struct Core {
    /// Reads the read models and the tables outside the log.
    pub pool: FastPool,
    /// Runs commands.
    pub executor: Executor,
    /// Reads the log.
    pub reader: LogReader,
    /// Position of each read model.
    pub progress: ProjectionProgress,
    /// Time and ids.
    pub clock: Clock,
    /// Keyed hashes of names and request bodies.
    pub hasher: KeyedHasher,
}

impl Core {
    /// Waits, up to [`CATCH_UP_TIMEOUT`], until the given read models have reached `position`.
    pub(super) async fn catch_up(&self, models: &[&str], position: Option<i64>) {
        if let Some(position) = position {
            self.progress.wait(models, position, CATCH_UP_TIMEOUT).await;
        }
    }

    /// Waits, up to [`CATCH_UP_TIMEOUT`], until every read model has reached `position`.
    pub async fn catch_up_all(&self, position: i64) {
        let names: Vec<&str> = self.progress.all().into_iter().map(|(name, _, _)| name).collect();
        self.progress.wait(&names, position, CATCH_UP_TIMEOUT).await;
    }

    /// Begins a batch that `user` requested.
    pub(super) fn batch(&self, request: &RequestContext, user: UserId) -> CommandBatch {
        CommandBatch::new(user.uuid(), request.metadata(Some(user), &self.clock))
    }

    /// Returns the outcome of an earlier command with the same idempotency key.
    pub(super) async fn repeated(
        &self,
        key: Option<&CommandKey>,
    ) -> Result<Option<CommandOutcome>, AppError> {
        match key {
            Some(key) => Ok(self.executor.repeated(key).await?),
            None => Ok(None),
        }
    }

    /// Returns the keyed hash of an operation and its body, for idempotency keys.
    pub fn fingerprint(&self, bytes: &[u8]) -> [u8; 32] {
        self.hasher.fingerprint(bytes)
    }

    /// Returns the error for a command that was committed at `position` but whose subject cannot be read.
    pub(super) fn unseen(&self, error: AppError, position: Option<i64>) -> AppError {
        if error.kind != Kind::NotFound {
            return error;
        }
        if position.is_some_and(|position| !self.progress.lagging(position).is_empty()) {
            // The read models may not have it yet. A repetition with the same key finds it.
            return AppError::new(Kind::Busy, "busy", "The result is not available yet; please retry.")
                .after(Duration::from_secs(1));
        }
        AppError::conversation_deleted()
    }
}

/// Reads an id from the stored result of a command.
pub(super) fn stored_id(stored: &Value, name: &str) -> Result<Uuid, AppError> {
    stored
        .get(name)
        .and_then(Value::as_str)
        .and_then(|id| Uuid::parse_str(id).ok())
        .ok_or_else(|| AppError::internal(anyhow::anyhow!("a stored result has no {name}")))
}

/// Rejects a number that is out of range.
pub(super) fn check_range(
    name: &str,
    value: i64,
    range: std::ops::RangeInclusive<i64>,
) -> Result<(), AppError> {
    if range.contains(&value) {
        return Ok(());
    }
    let (lowest, highest) = (range.start(), range.end());
    Err(AppError::new(
        Kind::Invalid,
        "out_of_range",
        format!("{name} must be between {lowest} and {highest}."),
    ))
}
