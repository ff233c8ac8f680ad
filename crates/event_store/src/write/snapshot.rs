//! Snapshots of long streams: state, sequence, and the version of the code that wrote it.
//!
//! Snapshots are written off the write path, encrypted like events, and disposable: one that another code version wrote
//! is ignored, and the stream is replayed from its first event.

use aggregates::EventSourced;
use serde_json::Value;
use sqlx::PgPool;

use super::cache::StreamName;
use super::load::LoadError;
use crate::{EncryptionContext, Encryptor, KeyStore, decrypt_all, has_personal};

/// Version of the shape and meaning of the aggregates' states. Raise it when a state changes: snapshots with another
/// version are ignored and rewritten.
const CODE_VERSION: &str = "4";

/// Number of events between two snapshots of a stream.
pub(super) const SNAPSHOT_INTERVAL: i64 = 500;

fn context(aggregate_type: &str, id: &str, sequence: i64) -> String {
    format!("snapshot/{aggregate_type}/{id}/{sequence}")
}

/// Returns the snapshot of a stream and its sequence, if this code version wrote one.
pub(super) async fn read<A: EventSourced>(
    pool: &PgPool,
    key_store: &KeyStore,
    id: &str,
) -> Result<Option<(A, i64)>, LoadError> {
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
    decrypt_all(key_store, &mut documents).await?;
    let [(_, state)] = documents;
    match serde_json::from_value(state) {
        Ok(state) => Ok(Some((state, sequence))),
        Err(error) => {
            tracing::warn!(aggregate_type = A::TYPE, %error, "failed to decode snapshot; replaying the stream");
            Ok(None)
        }
    }
}

/// Stores a state, unless a newer one is stored. A state with personal text is stored only if the stream's key is given.
pub(super) async fn write(
    pool: &PgPool,
    name: &StreamName,
    mut state: Value,
    sequence: i64,
    encryption: Option<&EncryptionContext>,
) -> Result<(), LoadError> {
    if has_personal(&state) {
        let Some(encryption) = encryption else { return Ok(()) };
        Encryptor(encryption).encrypt(&mut state, &context(name.0, &name.1, sequence))?;
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
