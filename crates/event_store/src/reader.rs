//! Reads settled events after a position, in the order of the log.
//!
//! What "settled" means, and why a plain `SELECT … WHERE position > $1` would lose events, is told at
//! `read_events` and `log_bounds` in the migration of the event store: positions are drawn before they become visible, so a reader
//! must stop at the lowest position that an open append may still write. Positions without a hole between them need no
//! such look: each has its event already.

use std::sync::Arc;

use aggregates::Event;
use chrono::{DateTime, Utc};
use cqrs_es::persist::{EventUpcaster, SerializedEvent};
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row as _};

use super::codec::{open_all, personal_context};
use super::recorded::{Metadata, Recorded};
use super::vault::{Vault, VaultError};
use crate::fast_pool::WarmPool;

/// Why the log could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The database did not answer as it should; worth trying again.
    #[error("the log could not be read")]
    Database(#[from] sqlx::Error),
    /// Its sealed text does not open, or its key is wrapped by another master key. It stops its reader, like an event
    /// that is not known.
    #[error("the event at position {position} could not be opened")]
    Sealed {
        /// Where it stands.
        position: i64,
        /// What went wrong.
        #[source]
        source: VaultError,
    },
    /// An event that this version of the program does not know. It stops its reader; nothing is skipped.
    #[error(
        "the event at position {position} ({event_type}, version {event_version}) cannot be decoded: {reason}"
    )]
    Undecodable {
        /// Where it stands.
        position: i64,
        /// Its type as stored.
        event_type: String,
        /// Its version as stored.
        event_version: String,
        /// What the decoder said; names fields, never contents.
        reason: String,
    },
}

/// The columns of an event, as stored.
#[derive(Debug)]
struct EventRow {
    position: i64,
    aggregate_type: String,
    aggregate_id: String,
    sequence: i64,
    event_type: String,
    event_version: String,
    payload: Value,
    metadata: Value,
    recorded_at: DateTime<Utc>,
}

/// Columns by number, in the order of [`VISIBLE`], and without a check of their types, which the statements fix: both
/// take longer than reading them.
impl<'r> FromRow<'r, PgRow> for EventRow {
    fn from_row(row: &'r PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            position: row.try_get_unchecked(0)?,
            aggregate_type: row.try_get_unchecked(1)?,
            aggregate_id: row.try_get_unchecked(2)?,
            sequence: row.try_get_unchecked(3)?,
            event_type: row.try_get_unchecked(4)?,
            event_version: row.try_get_unchecked(5)?,
            payload: row.try_get_unchecked(6)?,
            metadata: row.try_get_unchecked(7)?,
            recorded_at: row.try_get_unchecked(8)?,
        })
    }
}

/// The last position of the log and the position up to which the log is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct Bounds {
    /// The highest position drawn so far.
    pub last_position: i64,
    /// The highest position that no open append can write at or below.
    pub safe_position: i64,
}

/// The one reader of the log. Cheap to clone.
#[derive(Clone)]
pub struct LogReader {
    pool: WarmPool,
    vault: Arc<Vault>,
    upcasters: Arc<Vec<Box<dyn EventUpcaster>>>,
    #[cfg(feature = "fault-injection")]
    naive: bool,
}

impl std::fmt::Debug for LogReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogReader").finish_non_exhaustive()
    }
}

impl LogReader {
    /// A reader over `pool`, whose personal text is opened by `vault`.
    pub fn new(pool: impl Into<WarmPool>, vault: Arc<Vault>) -> Self {
        Self {
            pool: pool.into(),
            vault,
            upcasters: Arc::new(aggregates::upcasters()),
            #[cfg(feature = "fault-injection")]
            naive: false,
        }
    }

    /// Makes this reader trust the highest position it can see: an injected fault.
    #[cfg(feature = "fault-injection")]
    #[must_use]
    pub fn naive(mut self) -> Self {
        self.naive = true;
        self
    }

    /// At most `limit` settled events after `position`, which has to be that of a settled event itself, or 0. Empty:
    /// nothing settled there yet.
    ///
    /// # Errors
    /// An event that cannot be opened or decoded ends the batch before it; only when it would be the first one is it an
    /// error.
    pub async fn read_after(&self, position: i64, limit: i32) -> Result<Vec<Arc<Recorded>>, LogError> {
        let mut rows = self.rows(VISIBLE, position, limit).await?;
        if !self.is_naive() {
            // Positions that follow one another without a hole are settled: each has its event, so no open append can
            // still bring another. This is nearly always so, and costs no look at who writes.
            let settled =
                rows.iter().zip(position.saturating_add(1)..).take_while(|(row, next)| row.position == *next);
            let settled = settled.count();
            if settled == 0 && !rows.is_empty() {
                rows = self.rows(SETTLED, position, limit).await?;
            } else {
                rows.truncate(settled);
            }
        }
        self.decode(rows).await
    }

    async fn rows(
        &self,
        statement: &'static str,
        position: i64,
        limit: i32,
    ) -> Result<Vec<EventRow>, sqlx::Error> {
        let rows = sqlx::query(statement).bind(position).bind(limit).fetch_all(&self.pool).await?;
        rows.iter().map(EventRow::from_row).collect()
    }

    #[cfg(feature = "fault-injection")]
    fn is_naive(&self) -> bool {
        self.naive
    }

    #[cfg(not(feature = "fault-injection"))]
    #[expect(clippy::unused_self, reason = "with the feature, this function reads a field")]
    fn is_naive(&self) -> bool {
        false
    }

    /// Where the log stands now.
    pub async fn bounds(&self) -> Result<Bounds, LogError> {
        Ok(sqlx::query_as("SELECT last_position, safe_position FROM log_bounds()")
            .fetch_one(&self.pool)
            .await?)
    }

    /// The position of the last settled event, 0 in an empty log.
    pub async fn last_settled(&self) -> Result<i64, LogError> {
        let bounds = self.bounds().await?;
        let last: Option<i64> = sqlx::query_scalar("SELECT max(position) FROM events WHERE position <= $1")
            .bind(bounds.safe_position)
            .fetch_one(&self.pool)
            .await?;
        Ok(last.unwrap_or(0))
    }

    /// Age of the oldest append that is still open, in seconds; 0 when there is none.
    pub async fn floor_age(&self) -> Result<f64, LogError> {
        let age: Option<f64> = sqlx::query_scalar("SELECT oldest_append_age()").fetch_one(&self.pool).await?;
        Ok(age.unwrap_or(0.0))
    }

    /// The events of one stream after a sequence, whether settled for readers of the whole log or not.
    pub async fn stream(
        &self,
        aggregate_type: &str,
        aggregate_id: &str,
        after: i64,
    ) -> Result<Vec<Arc<Recorded>>, LogError> {
        let rows: Vec<EventRow> = sqlx::query_as(
            "SELECT position, aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, recorded_at
             FROM events WHERE aggregate_type = $1 AND aggregate_id = $2 AND sequence > $3 ORDER BY sequence",
        )
        .bind(aggregate_type)
        .bind(aggregate_id)
        .bind(after)
        .fetch_all(&self.pool)
        .await?;
        self.decode(rows).await
    }

    /// The event at a position; none when there is none.
    ///
    /// # Errors
    /// Those of the database, and of an event that cannot be read.
    pub async fn at(&self, position: i64) -> Result<Option<Arc<Recorded>>, LogError> {
        let rows: Vec<EventRow> = sqlx::query_as(
            "SELECT position, aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, recorded_at
             FROM events WHERE position = $1",
        )
        .bind(position)
        .fetch_all(&self.pool)
        .await?;
        Ok(self.decode(rows).await?.pop())
    }

    async fn decode(&self, mut rows: Vec<EventRow>) -> Result<Vec<Arc<Recorded>>, LogError> {
        let mut documents: Vec<(String, Value)> = rows
            .iter_mut()
            .map(|row| {
                (personal_context(&row.aggregate_type, &row.aggregate_id, row.sequence), row.payload.take())
            })
            .collect();
        match open_all(&self.vault, &mut documents).await {
            Ok(()) => {}
            Err(VaultError::Database(error)) => return Err(error.into()),
            Err(_) => self.open_in_turn(&mut rows, &mut documents).await?,
        }
        let mut decoded = Vec::with_capacity(rows.len());
        for (row, (_, payload)) in rows.into_iter().zip(documents) {
            match self.decode_one(row, payload) {
                Ok(recorded) => decoded.push(Arc::new(recorded)),
                Err(error) if decoded.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        Ok(decoded)
    }

    /// Opens what comes before the first event that does not open, and drops the rest.
    async fn open_in_turn(
        &self,
        rows: &mut Vec<EventRow>,
        documents: &mut [(String, Value)],
    ) -> Result<(), LogError> {
        for (index, document) in documents.iter_mut().enumerate() {
            match open_all(&self.vault, std::slice::from_mut(document)).await {
                Ok(()) => {}
                Err(VaultError::Database(error)) => return Err(error.into()),
                Err(source) if index == 0 => {
                    return Err(LogError::Sealed { position: rows[0].position, source });
                }
                Err(_) => {
                    rows.truncate(index);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn decode_one(&self, row: EventRow, payload: Value) -> Result<Recorded, LogError> {
        let position = row.position;
        let undecodable = |event: &SerializedEvent, reason: String| LogError::Undecodable {
            position,
            event_type: event.event_type.clone(),
            event_version: event.event_version.clone(),
            reason,
        };
        let serialized = upcast(
            SerializedEvent::new(
                row.aggregate_id,
                usize::try_from(row.sequence).unwrap_or_default(),
                row.aggregate_type,
                row.event_type,
                row.event_version,
                payload,
                row.metadata,
            ),
            &self.upcasters,
        );
        if !aggregates::known_version(&serialized.event_type, &serialized.event_version) {
            return Err(undecodable(&serialized, "unknown version".to_owned()));
        }
        let event = Event::decode(&serialized.aggregate_type, serialized.payload.clone())
            .map_err(|error| undecodable(&serialized, error.to_string()))?;
        let metadata: Metadata = serde_json::from_value(serialized.metadata.clone())
            .map_err(|error| undecodable(&serialized, error.to_string()))?;
        Ok(Recorded {
            position,
            aggregate_type: serialized.aggregate_type,
            aggregate_id: serialized.aggregate_id,
            sequence: row.sequence,
            event,
            metadata,
            recorded_at: row.recorded_at,
        })
    }
}

/// What a reader can see, settled or not.
const VISIBLE: &str = "SELECT position, aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, recorded_at
     FROM events WHERE position > $1 ORDER BY position LIMIT $2";
/// What is settled.
const SETTLED: &str = "SELECT position, aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, recorded_at
     FROM read_events($1, $2)";

/// Brings a stored event to the shape this code knows, step by step, with every upcaster that fits.
pub fn upcast(event: SerializedEvent, upcasters: &[Box<dyn EventUpcaster>]) -> SerializedEvent {
    upcasters.iter().fold(event, |event, upcaster| {
        if upcaster.can_upcast(&event.event_type, &event.event_version) {
            upcaster.upcast(event)
        } else {
            event
        }
    })
}
