//! Planted defects of the write side (test builds only), called from [`super::executor`] where one is asked for.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use sqlx::PgPool;

use super::append::{self, Appending};
use super::executor::{ExecuteError, Executor, Outcome};
use super::intent::Intent;

/// How long after its answer a command is written: what a write-behind buffer does, and long enough that most kills lose some.
const LATER: Duration = Duration::from_millis(150);

/// What was written under which key of which owner, in this process.
type Remembered = HashMap<(String, String), ([u8; 32], Value, Option<i64>)>;

static REMEMBERED: Mutex<Option<Remembered>> = Mutex::new(None);

/// Runs an intent with its key kept in memory instead of beside the events.
pub(super) async fn run_with_key_in_memory(
    executor: &Executor,
    mut intent: Intent,
) -> Result<Outcome, ExecuteError> {
    let Some((key, result)) = intent.key.take() else { return Box::pin(executor.run(intent)).await };
    let name = (key.owner.clone(), key.key.clone());
    let known =
        REMEMBERED.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default().get(&name).cloned();
    if let Some((fingerprint, result, position)) = known {
        return if fingerprint == key.fingerprint {
            Ok(Outcome { position, replayed: Some(result), left: Vec::new() })
        } else {
            Err(ExecuteError::KeyReused)
        };
    }
    let outcome = Box::pin(executor.run(intent)).await?;
    REMEMBERED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get_or_insert_default()
        .insert(name, (key.fingerprint, result, outcome.position));
    Ok(outcome)
}

/// Writes, after a while, what has been answered already; whoever asked for it is told nothing.
pub(super) async fn append_later(pool: PgPool, appending: Appending) {
    tokio::time::sleep(LATER).await;
    if let Err(error) = append::append(&pool, &appending).await {
        tracing::warn!(%error, "a command that was answered could not be written");
    }
}
