//! Injected faults of the write side (feature `fault-injection`), called from [`super::executor`] and [`super::commit`].

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use sqlx::PgPool;

use super::append::{self, AppendRequest};
use super::command_batch::CommandBatch;
use super::executor::{CommandOutcome, ExecuteError, Executor};

/// Delay between the answer and the append, as in a write-behind buffer; long enough that most kills lose a command.
const WRITE_BEHIND_DELAY: Duration = Duration::from_millis(150);

/// Outcomes by owner and key, in this process.
type Outcomes = HashMap<(String, String), ([u8; 32], Value, Option<i64>)>;

static OUTCOMES: Mutex<Option<Outcomes>> = Mutex::new(None);

/// Runs a batch with its key kept in memory instead of the database.
pub(super) async fn run_with_key_in_memory(
    executor: &Executor,
    mut batch: CommandBatch,
) -> Result<CommandOutcome, ExecuteError> {
    let Some((key, result)) = batch.key.take() else { return Box::pin(executor.run(batch)).await };
    let name = (key.owner.clone(), key.key.clone());
    let known = OUTCOMES.lock().get_or_insert_default().get(&name).cloned();
    if let Some((fingerprint, result, position)) = known {
        return if fingerprint == key.fingerprint {
            Ok(CommandOutcome { position, replayed: Some(result), ..CommandOutcome::default() })
        } else {
            Err(ExecuteError::KeyReused)
        };
    }
    let outcome = Box::pin(executor.run(batch)).await?;
    OUTCOMES.lock().get_or_insert_default().insert(name, (key.fingerprint, result, outcome.position));
    Ok(outcome)
}

/// Writes a command after it was acknowledged.
pub(super) async fn append_later(pool: PgPool, request: AppendRequest) {
    tokio::time::sleep(WRITE_BEHIND_DELAY).await;
    if let Err(error) = append::append(&pool, &request).await {
        tracing::warn!(%error, "failed to write an acknowledged command");
    }
}
