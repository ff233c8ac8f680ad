//! The append: one autocommitted call of the database's `append` function, with what is charged for it.
//!
//! One statement means that no lock is ever held while a client is slow, and that a hung-up request leaves no open
//! transaction behind. The function itself is in the
//! migration of the event store, with the order of its steps.

use std::sync::Arc;

use serde_json::{Value, json};
use sqlx::PgExecutor;
use sqlx::types::Json;

use super::charge::{Charged, Left, Overdrawn, left, refusal};
use super::command_key::{CommandKey, StoredKey};

/// An event ready to be written: sealed and serialised.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// Aggregate type of its stream.
    pub aggregate_type: &'static str,
    /// Aggregate id of its stream.
    pub aggregate_id: String,
    /// Its place in the stream, from 1.
    pub sequence: i64,
    /// Type, equal to the payload's tag.
    pub event_type: String,
    /// Version of the payload's shape.
    pub event_version: String,
    /// The payload as JSON text, personal text sealed. These bytes are the truth.
    pub payload: String,
}

/// Where a stream has to stand for the decision to be valid; 0: it does not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Aggregate type of the stream.
    pub aggregate_type: &'static str,
    /// Aggregate id of the stream.
    pub aggregate_id: String,
    /// The sequence of its last event.
    pub sequence: i64,
}

/// Everything that one append writes, or nothing of it.
#[derive(Debug, Default)]
pub struct Appending {
    /// The idempotency key, with the result that a repetition is answered with.
    pub key: Option<(CommandKey, Value)>,
    /// What has to be true of the streams.
    pub checks: Vec<Check>,
    /// The events, in the order in which they get their positions.
    pub events: Vec<NewEvent>,
    /// Metadata of all of them, as JSON text.
    pub metadata: String,
    /// Rows that stand beside the log, see [`super::Beside`].
    pub beside: Vec<Value>,
    /// What is taken from somebody's allowance.
    pub charge: Option<Charged>,
}

impl Appending {
    /// The lock of its key. Appends of one transaction stand in this order, so that two transactions never wait for each
    /// other's keys; those who are charged are locked before any key, in an order of their own.
    pub(super) fn order(&self) -> Option<(&str, &str)> {
        self.key.as_ref().map(|(key, _)| (key.owner.as_str(), key.key.as_str()))
    }
}

/// What became of an append.
#[derive(Debug)]
pub enum Appended {
    /// Everything was written.
    Recorded {
        /// Positions of the events, in their order.
        positions: Vec<i64>,
        /// What is left of the rates that were charged.
        left: Vec<Left>,
    },
    /// The key was used before: nothing was written.
    Replayed(StoredKey),
}

/// A write that `append` runs in its transaction: a call of this function of the schema `transactional_writes`.
#[must_use]
pub fn transactional_write(function: &str, arguments: &Value) -> Value {
    json!({"function": function, "arguments": arguments})
}

/// What has to be true of rows beside the log, and is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Condition {
    /// There would be no administrator left.
    #[error("there would be no administrator left")]
    LastAdministrator,
    /// The token that should replace a password is unknown, spent or has run out.
    #[error("the token is not good")]
    ResetSpent,
}

/// Why nothing was written (or, for `Unavailable`, why nobody knows).
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Another writer was faster: load again and decide again.
    #[error("a stream has moved on")]
    Conflict,
    /// What was proven with a password was decided too late: it has been changed since.
    #[error("the password has been changed")]
    CredentialChanged,
    /// More than the allowance has.
    #[error("{0}")]
    Overdrawn(Overdrawn),
    /// A condition on a row beside the log does not hold.
    #[error("{0}")]
    Condition(#[from] Condition),
    /// The database is out of reach, full or too slow.
    #[error("the database is not available")]
    Unavailable(#[source] Arc<sqlx::Error>),
    /// The database refuses this append for good: a defect of ours.
    #[error("the database refuses the append")]
    Rejected(#[source] sqlx::Error),
}

/// Constraints whose violation means that another append got there first.
const RACES: [&str; 3] = ["events_pkey", "user_keys_pkey", "data_keys_stream"];

impl From<sqlx::Error> for AppendError {
    fn from(error: sqlx::Error) -> Self {
        let Some(database) = error.as_database_error() else { return Self::Unavailable(Arc::new(error)) };
        let code = database.code().unwrap_or_default().into_owned();
        match code.as_str() {
            // VB001: the expected-sequence check; 40001 and 40P01: serialisation failure and deadlock.
            "VB001" | "40001" | "40P01" => Self::Conflict,
            "VB006" => Self::CredentialChanged,
            "VB007" => Self::Condition(Condition::LastAdministrator),
            "VB008" => Self::Condition(Condition::ResetSpent),
            "23505" if database.constraint().is_some_and(|name| RACES.contains(&name)) => Self::Conflict,
            // 08 connection, 53 resources, 55P03 lock time-out, 57 operator or time-out, 25006 read-only (a replica).
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

/// Writes `appending`.
///
/// # Errors
/// See [`AppendError`].
pub async fn append(pool: impl PgExecutor<'_>, appending: &Appending) -> Result<Appended, AppendError> {
    let Appending { key, checks, events, metadata, beside, charge } = appending;
    let key = key.as_ref();
    let row: AppendRow = sqlx::query_as(
        "SELECT replayed, stored_fingerprint, stored_result, positions, remaining, rejection
         FROM append($1, $2, $3, $4::text::json, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
    )
    .bind(key.map(|(key, _)| key.owner.as_str()))
    .bind(key.map(|(key, _)| key.key.as_str()))
    .bind(key.map(|(key, _)| key.fingerprint.as_slice()))
    .bind(key.map(|(_, result)| result.to_string()))
    .bind(checks.iter().map(|check| check.aggregate_type).collect::<Vec<_>>())
    .bind(checks.iter().map(|check| check.aggregate_id.as_str()).collect::<Vec<_>>())
    .bind(checks.iter().map(|check| check.sequence).collect::<Vec<_>>())
    .bind(events.iter().map(|event| event.aggregate_type).collect::<Vec<_>>())
    .bind(events.iter().map(|event| event.aggregate_id.as_str()).collect::<Vec<_>>())
    .bind(events.iter().map(|event| event.sequence).collect::<Vec<_>>())
    .bind(events.iter().map(|event| event.event_type.as_str()).collect::<Vec<_>>())
    .bind(events.iter().map(|event| event.event_version.as_str()).collect::<Vec<_>>())
    .bind(events.iter().map(|event| event.payload.as_str()).collect::<Vec<_>>())
    .bind(metadata)
    .bind((!beside.is_empty()).then_some(Json(beside)))
    .bind(charge.as_ref().map(|charge| charge.user))
    .bind(charge.as_ref().map(|charge| Json(&charge.entries)))
    .fetch_one(pool)
    .await?;
    row.outcome()
}

/// Writes several, none of which has rows beside the log, in one transaction; outcomes in their order. One that its allowance
/// refuses leaves the others alone. An error means that none was written (or, for `Unavailable`, that nobody knows).
///
/// # Errors
/// See [`AppendError`].
pub async fn append_together(
    pool: impl PgExecutor<'_>,
    appendings: &[Arc<Appending>],
) -> Result<Vec<Result<Appended, AppendError>>, AppendError> {
    let keys = || appendings.iter().map(|appending| appending.key.as_ref());
    let checks = || appendings.iter().flat_map(|appending| &appending.checks);
    let events = || appendings.iter().flat_map(|appending| &appending.events);
    let charges = || appendings.iter().map(|appending| appending.charge.as_ref());
    let count = |length: usize| i32::try_from(length).unwrap_or(i32::MAX);
    let rows: Vec<AppendRow> = sqlx::query_as(
        "SELECT replayed, stored_fingerprint, stored_result, positions, remaining, rejection
         FROM append_batch($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)",
    )
    .bind(keys().map(|key| key.map(|(key, _)| key.owner.as_str())).collect::<Vec<_>>())
    .bind(keys().map(|key| key.map(|(key, _)| key.key.as_str())).collect::<Vec<_>>())
    .bind(keys().map(|key| key.map(|(key, _)| key.fingerprint.as_slice())).collect::<Vec<_>>())
    .bind(keys().map(|key| key.map(|(_, result)| result.to_string())).collect::<Vec<_>>())
    .bind(appendings.iter().map(|appending| count(appending.checks.len())).collect::<Vec<_>>())
    .bind(checks().map(|check| check.aggregate_type).collect::<Vec<_>>())
    .bind(checks().map(|check| check.aggregate_id.as_str()).collect::<Vec<_>>())
    .bind(checks().map(|check| check.sequence).collect::<Vec<_>>())
    .bind(appendings.iter().map(|appending| count(appending.events.len())).collect::<Vec<_>>())
    .bind(events().map(|event| event.aggregate_type).collect::<Vec<_>>())
    .bind(events().map(|event| event.aggregate_id.as_str()).collect::<Vec<_>>())
    .bind(events().map(|event| event.sequence).collect::<Vec<_>>())
    .bind(events().map(|event| event.event_type.as_str()).collect::<Vec<_>>())
    .bind(events().map(|event| event.event_version.as_str()).collect::<Vec<_>>())
    .bind(events().map(|event| event.payload.as_str()).collect::<Vec<_>>())
    .bind(appendings.iter().map(|appending| appending.metadata.as_str()).collect::<Vec<_>>())
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
    fn outcome(self) -> Result<Appended, AppendError> {
        if let Some(Json(rejection)) = self.rejection {
            return Err(refusal(&rejection).map_or_else(AppendError::Rejected, AppendError::Overdrawn));
        }
        if !self.replayed {
            let left = self.remaining.map_or_else(Vec::new, |Json(remaining)| left(&remaining));
            return Ok(Appended::Recorded { positions: self.positions, left });
        }
        match (self.stored_fingerprint, self.stored_result) {
            (Some(fingerprint), Some(result)) => Ok(Appended::Replayed(StoredKey {
                fingerprint,
                result,
                position: self.positions.last().copied(),
            })),
            // The first one with this key was taken back while we waited for it: decide anew.
            _ => Err(AppendError::Conflict),
        }
    }
}
