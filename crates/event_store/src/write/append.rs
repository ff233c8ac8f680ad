//! The append: one autocommitted call of the database's `append` function.
//!
//! One statement means that no lock is held while a client is slow, and that a disconnected client leaves no open
//! transaction. The function's steps and their order are documented in the migration of the event store.

use std::sync::Arc;

use serde_json::Value;
use sqlx::PgExecutor;
use sqlx::types::Json;

use super::charge::{AppendCharge, ChargeRejection};
use super::command_key::{CommandKey, StoredKey};
use super::transactional_write::TransactionalWrite;

/// An event ready to be written: encrypted and serialised.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// Aggregate type of its stream.
    pub aggregate_type: &'static str,
    /// Aggregate id of its stream.
    pub aggregate_id: String,
    /// Number within its stream, from 1.
    pub sequence: i64,
    /// Event type, equal to the payload's tag.
    pub event_type: String,
    /// Version of the payload's shape.
    pub event_version: String,
    /// JSON text with personal text encrypted. These bytes are stored and hashed as they are.
    pub payload: String,
}

/// The version that a stream must have for the decision to be valid (optimistic concurrency).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedVersion {
    /// Aggregate type of the stream.
    pub aggregate_type: &'static str,
    /// Aggregate id of the stream.
    pub aggregate_id: String,
    /// Sequence of the stream's last event; 0 if the stream does not exist.
    pub sequence: i64,
}

/// Everything that one append writes atomically.
#[derive(Debug, Default)]
pub struct AppendRequest {
    /// The idempotency key, with the result returned to a repetition.
    pub key: Option<(CommandKey, Value)>,
    /// Versions that the streams must have.
    pub expected_versions: Vec<ExpectedVersion>,
    /// The events, in the order of their future positions.
    pub events: Vec<NewEvent>,
    /// Metadata shared by all events, as JSON text.
    pub metadata: String,
    /// Writes that join the transaction, in order.
    pub writes: Vec<TransactionalWrite>,
    /// The charge to a user.
    pub charge: Option<AppendCharge>,
}

impl AppendRequest {
    /// Returns the sort key of the append's idempotency-key lock. Appends of one transaction are sorted by it, so that two
    /// transactions cannot deadlock on keys; rows of charges are locked before any key, in an order of their own.
    pub(super) fn lock_order(&self) -> Option<(&str, &str)> {
        self.key.as_ref().map(|(key, _)| (key.owner.as_str(), key.key.as_str()))
    }
}

/// Result of an append that did not fail.
#[derive(Debug)]
pub enum AppendOutcome {
    /// Everything was written.
    Appended {
        /// Positions of the events, in order.
        positions: Vec<i64>,
        /// What remains after the charge, in the format of the database's charging function.
        remaining: Option<Value>,
    },
    /// The key was used before: nothing was written.
    Replayed(StoredKey),
}

/// Why nothing was written (or, for `Unavailable`, why the outcome is unknown).
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Another writer changed a stream: load and decide again.
    #[error("version conflict: a stream has changed")]
    Conflict,
    /// The charge was rejected.
    #[error("{0}")]
    ChargeRejected(ChargeRejection),
    /// A transactional write raised an error of its own.
    #[error("a condition of a transactional write does not hold: {code}")]
    ConditionFailed {
        /// SQLSTATE that the write raised; its owner knows the meaning.
        code: String,
    },
    /// The database is unreachable, full or too slow.
    #[error("the database is not available")]
    Unavailable(#[source] Arc<sqlx::Error>),
    /// The database rejected the append permanently: a bug.
    #[error("the database rejected the append")]
    Rejected(#[source] sqlx::Error),
}

/// Constraints whose violation means that a concurrent append won.
const RACE_CONSTRAINTS: [&str; 3] = ["events_pkey", "user_keys_pkey", "data_keys_stream"];

impl From<sqlx::Error> for AppendError {
    fn from(error: sqlx::Error) -> Self {
        let Some(database) = error.as_database_error() else { return Self::Unavailable(Arc::new(error)) };
        let code = database.code().unwrap_or_default().into_owned();
        match code.as_str() {
            // VB001: the version check; 40001 and 40P01: serialisation failure and deadlock.
            "VB001" | "40001" | "40P01" => Self::Conflict,
            // Bugs: asynchronous commit, unknown write, isolation level, sequences with a gap.
            "VB002" | "VB003" | "VB004" | "VB005" => Self::Rejected(error),
            // Other codes of our class are raised by transactional writes.
            _ if code.starts_with("VB") => Self::ConditionFailed { code },
            "23505" if database.constraint().is_some_and(|name| RACE_CONSTRAINTS.contains(&name)) => {
                Self::Conflict
            }
            // 08: connection; 53: resources; 55P03: lock timeout; 57: operator intervention; 25006: read-only replica.
            code if code.starts_with("08")
                || code.starts_with("53")
                || code.starts_with("57")
                || matches!(code, "55P03" | "25006") =>
            {
                Self::Unavailable(Arc::new(error))
            }
            _ => Self::Rejected(error),
        }
    }
}

/// Writes one append in its own transaction.
///
/// # Errors
/// See [`AppendError`].
pub async fn append(
    pool: impl PgExecutor<'_>,
    request: &AppendRequest,
) -> Result<AppendOutcome, AppendError> {
    let AppendRequest { key, expected_versions, events, metadata, writes, charge } = request;
    let key = key.as_ref();
    let row: AppendRow = sqlx::query_as(
        "SELECT replayed, stored_fingerprint, stored_result, positions, remaining, rejection
         FROM append($1, $2, $3, $4::text::json, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
    )
    .bind(key.map(|(key, _)| key.owner.as_str()))
    .bind(key.map(|(key, _)| key.key.as_str()))
    .bind(key.map(|(key, _)| key.fingerprint.as_slice()))
    .bind(key.map(|(_, result)| result.to_string()))
    .bind(expected_versions.iter().map(|check| check.aggregate_type).collect::<Vec<_>>())
    .bind(expected_versions.iter().map(|check| check.aggregate_id.as_str()).collect::<Vec<_>>())
    .bind(expected_versions.iter().map(|check| check.sequence).collect::<Vec<_>>())
    .bind(events.iter().map(|event| event.aggregate_type).collect::<Vec<_>>())
    .bind(events.iter().map(|event| event.aggregate_id.as_str()).collect::<Vec<_>>())
    .bind(events.iter().map(|event| event.sequence).collect::<Vec<_>>())
    .bind(events.iter().map(|event| event.event_type.as_str()).collect::<Vec<_>>())
    .bind(events.iter().map(|event| event.event_version.as_str()).collect::<Vec<_>>())
    .bind(events.iter().map(|event| event.payload.as_str()).collect::<Vec<_>>())
    .bind(metadata)
    .bind(
        (!writes.is_empty())
            .then(|| Json(writes.iter().map(TransactionalWrite::to_json).collect::<Vec<_>>())),
    )
    .bind(charge.as_ref().map(|charge| charge.user))
    .bind(charge.as_ref().map(|charge| Json(&charge.entries)))
    .fetch_one(pool)
    .await?;
    row.outcome()
}

/// Writes several appends without transactional writes in one transaction; returns their outcomes in order. An append
/// whose charge is rejected does not affect the others. An error means that none was written (or, for `Unavailable`, that
/// the outcome is unknown).
///
/// # Errors
/// See [`AppendError`].
pub async fn append_all(
    pool: impl PgExecutor<'_>,
    requests: &[Arc<AppendRequest>],
) -> Result<Vec<Result<AppendOutcome, AppendError>>, AppendError> {
    let keys = || requests.iter().map(|request| request.key.as_ref());
    let expected_versions = || requests.iter().flat_map(|request| &request.expected_versions);
    let events = || requests.iter().flat_map(|request| &request.events);
    let charges = || requests.iter().map(|request| request.charge.as_ref());
    let count = |length: usize| i32::try_from(length).unwrap_or(i32::MAX);
    let rows: Vec<AppendRow> = sqlx::query_as(
        "SELECT replayed, stored_fingerprint, stored_result, positions, remaining, rejection
         FROM append_batch($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)",
    )
    .bind(keys().map(|key| key.map(|(key, _)| key.owner.as_str())).collect::<Vec<_>>())
    .bind(keys().map(|key| key.map(|(key, _)| key.key.as_str())).collect::<Vec<_>>())
    .bind(keys().map(|key| key.map(|(key, _)| key.fingerprint.as_slice())).collect::<Vec<_>>())
    .bind(keys().map(|key| key.map(|(_, result)| result.to_string())).collect::<Vec<_>>())
    .bind(requests.iter().map(|request| count(request.expected_versions.len())).collect::<Vec<_>>())
    .bind(expected_versions().map(|check| check.aggregate_type).collect::<Vec<_>>())
    .bind(expected_versions().map(|check| check.aggregate_id.as_str()).collect::<Vec<_>>())
    .bind(expected_versions().map(|check| check.sequence).collect::<Vec<_>>())
    .bind(requests.iter().map(|request| count(request.events.len())).collect::<Vec<_>>())
    .bind(events().map(|event| event.aggregate_type).collect::<Vec<_>>())
    .bind(events().map(|event| event.aggregate_id.as_str()).collect::<Vec<_>>())
    .bind(events().map(|event| event.sequence).collect::<Vec<_>>())
    .bind(events().map(|event| event.event_type.as_str()).collect::<Vec<_>>())
    .bind(events().map(|event| event.event_version.as_str()).collect::<Vec<_>>())
    .bind(events().map(|event| event.payload.as_str()).collect::<Vec<_>>())
    .bind(requests.iter().map(|request| request.metadata.as_str()).collect::<Vec<_>>())
    .bind(charges().map(|charge| charge.map(|charge| charge.user)).collect::<Vec<_>>())
    .bind(charges().map(|charge| charge.map(|charge| Json(&charge.entries))).collect::<Vec<_>>())
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(AppendRow::outcome).collect())
}

#[derive(sqlx::FromRow)]
struct AppendRow {
    replayed: bool,
    stored_fingerprint: Option<Vec<u8>>,
    stored_result: Option<Value>,
    positions: Vec<i64>,
    remaining: Option<Json<Value>>,
    rejection: Option<Json<Value>>,
}

impl AppendRow {
    fn outcome(self) -> Result<AppendOutcome, AppendError> {
        if let Some(Json(rejection)) = self.rejection {
            return Err(AppendError::ChargeRejected(ChargeRejection(rejection)));
        }
        if !self.replayed {
            let remaining = self.remaining.map(|Json(remaining)| remaining);
            return Ok(AppendOutcome::Appended { positions: self.positions, remaining });
        }
        match (self.stored_fingerprint, self.stored_result) {
            (Some(fingerprint), Some(result)) => Ok(AppendOutcome::Replayed(StoredKey {
                fingerprint,
                result,
                position: self.positions.last().copied(),
            })),
            // The transaction that inserted the key was rolled back while this one waited for it: decide again.
            _ => Err(AppendError::Conflict),
        }
    }
}
