//! Snapshots of long streams: state, sequence, and the version of the code that wrote it.
//!
//! Written off the write path, sealed like events, used only by the same code version, and disposable: a state of
//! another version is ignored and the stream is read whole.

use crate::codec::{has_personal, open_all};
use crate::{Sealer, Sealing, Vault};
use serde_json::Value;
use sqlx::PgPool;

use super::cache::StreamName;
use super::load::LoadError;
use super::stored::Stored;

/// Names the shape of the aggregates' states. To be raised when one changes its shape or its meaning: snapshots with
/// another value are ignored and made again.
pub const CODE_VERSION: &str = "4";

/// A snapshot is due when a stream has grown by so many events since the last one.
pub const EVERY: i64 = 500;

fn context(aggregate_type: &str, id: &str, sequence: i64) -> String {
    format!("snapshot/{aggregate_type}/{id}/{sequence}")
}

/// The stored state of a stream, when it was written by this version of the code.
///
/// # Errors
/// Those of the database and of the vault.
pub async fn read<A>(pool: &PgPool, vault: &Vault, id: &str) -> Result<Option<(A, i64)>, LoadError>
where
    A: Stored,
    A::Command: Clone + Send + Sync + 'static,
{
    let row: Option<(i64, Value)> = sqlx::query_as(
        "SELECT sequence, state FROM aggregate_snapshots
         WHERE aggregate_type = $1 AND aggregate_id = $2 AND code_version = $3",
    )
    .bind(A::TYPE)
    .bind(id)
    .bind(CODE_VERSION)
    .fetch_optional(pool)
    .await?;
    let Some((sequence, state)) = row else { return Ok(None) };
    let mut documents = [(context(A::TYPE, id, sequence), state)];
    open_all(vault, &mut documents).await?;
    let [(_, state)] = documents;
    match serde_json::from_value(state) {
        Ok(state) => Ok(Some((state, sequence))),
        Err(error) => {
            tracing::warn!(aggregate_type = A::TYPE, %error, "a snapshot does not fit this version and is ignored");
            Ok(None)
        }
    }
}

/// Stores a state, unless a newer one is there. A state with personal text needs the stream's key.
///
/// # Errors
/// Those of the database and of the vault.
pub async fn write(
    pool: &PgPool,
    name: &StreamName,
    mut state: Value,
    sequence: i64,
    sealing: Option<&Sealing>,
) -> Result<(), LoadError> {
    if has_personal(&state) {
        let Some(sealing) = sealing else { return Ok(()) };
        Sealer(sealing).seal(&mut state, &context(name.0, &name.1, sequence))?;
    }
    sqlx::query(
        "INSERT INTO aggregate_snapshots AS s (aggregate_type, aggregate_id, sequence, code_version, state)
         VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (aggregate_type, aggregate_id) DO UPDATE
             SET sequence = excluded.sequence, code_version = excluded.code_version, state = excluded.state
             WHERE s.sequence < excluded.sequence OR s.code_version <> excluded.code_version",
    )
    .bind(name.0)
    .bind(&name.1)
    .bind(sequence)
    .bind(CODE_VERSION)
    .bind(state)
    .execute(pool)
    .await?;
    Ok(())
}
