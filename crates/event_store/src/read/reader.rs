//! Reads events in position order without skipping any.
//!
//! Positions are drawn from a sequence before their transactions commit, so a plain `SELECT … WHERE position > $1` would
//! skip an event that commits late. A reader therefore stops at the *safe position* (high-water mark): the highest
//! position at or below which no open append can still write. `log_bounds` and `read_events` in the migration of the event store compute
//! it. Consecutive positions without a gap need no such check: each of them has its event already.

use std::sync::Arc;

use aggregates::Event;
use chrono::{DateTime, Utc};
use cqrs_es::persist::{EventUpcaster, SerializedEvent};
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row as _};

use super::recorded_event::{Metadata, RecordedEvent};
use crate::{FastPool, KeyStore, KeyStoreError, decrypt_all, personal_context};

/// Why the log could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The query failed; retry.
    #[error("failed to read the log")]
    Database(#[from] sqlx::Error),
    /// Encrypted text does not decrypt, or another master key wrapped its key. The reader stops here.
    #[error("failed to decrypt the event at position {position}")]
    Undecryptable {
        /// Position of the event.
        position: i64,
        /// Cause.
        #[source]
        source: KeyStoreError,
    },
    /// This version of the program does not know the event. The reader stops here; nothing is skipped.
    #[error(
        "failed to decode the event at position {position} ({event_type}, version {event_version}): {reason}"
    )]
    Undecodable {
        /// Position of the event.
        position: i64,
        /// Type as stored.
        event_type: String,
        /// Version as stored.
        event_version: String,
        /// Message of the decoder; names fields, never values.
        reason: String,
    },
}

/// A row of the `events` table.
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

/// Reads columns by number, in the order of [`VISIBLE_EVENTS`], without type checks: the statements fix the types, and
/// lookups and checks cost more than reading the values.
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

/// The newest positions of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct LogBounds {
    /// Highest position drawn so far.
    pub head: i64,
    /// Highest position at or below which no open append can still write (high-water mark).
    pub safe_position: i64,
}

/// Reads the log. Cheap to clone.
#[derive(Clone)]
pub struct LogReader {
    pool: FastPool,
    key_store: Arc<KeyStore>,
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
    /// Creates a reader over `pool` that decrypts personal text with the keys of `key_store`.
    pub fn new(pool: impl Into<FastPool>, key_store: Arc<KeyStore>) -> Self {
        Self {
            pool: pool.into(),
            key_store,
            upcasters: Arc::new(aggregates::upcasters()),
            #[cfg(feature = "fault-injection")]
            naive: false,
        }
    }

    /// Makes this reader ignore the safe position: an injected fault.
    #[cfg(feature = "fault-injection")]
    #[must_use]
    pub fn naive(mut self) -> Self {
        self.naive = true;
        self
    }

    /// Returns at most `limit` events after `position`, which must be 0 or the position of an event read before. The result
    /// is empty if no later event is at or below the safe position.
    ///
    /// # Errors
    /// An event that fails to decrypt or decode ends the batch before it; it is an error only if it would come first.
    pub async fn read_after(&self, position: i64, limit: i32) -> Result<Vec<Arc<RecordedEvent>>, LogError> {
        let mut rows = self.rows(VISIBLE_EVENTS, position, limit).await?;
        if !self.is_naive() {
            // Consecutive positions without a gap are safe, because each has its event. This is nearly always the case and
            // saves computing the safe position.
            let consecutive =
                rows.iter().zip(position.saturating_add(1)..).take_while(|(row, next)| row.position == *next);
            let consecutive = consecutive.count();
            if consecutive == 0 && !rows.is_empty() {
                rows = self.rows(SAFE_EVENTS, position, limit).await?;
            } else {
                rows.truncate(consecutive);
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

    /// Returns the newest positions of the log.
    pub async fn bounds(&self) -> Result<LogBounds, LogError> {
        Ok(sqlx::query_as("SELECT head, safe_position FROM log_bounds()").fetch_one(&self.pool).await?)
    }

    /// Returns the position of the last event at or below the safe position; 0 if there is none.
    pub async fn last_position(&self) -> Result<i64, LogError> {
        let bounds = self.bounds().await?;
        let last: Option<i64> = sqlx::query_scalar("SELECT max(position) FROM events WHERE position <= $1")
            .bind(bounds.safe_position)
            .fetch_one(&self.pool)
            .await?;
        Ok(last.unwrap_or(0))
    }

    /// Returns the age of the oldest open append in seconds; 0 if there is none.
    pub async fn oldest_open_append_age(&self) -> Result<f64, LogError> {
        let age: Option<f64> =
            sqlx::query_scalar("SELECT oldest_open_append_age()").fetch_one(&self.pool).await?;
        Ok(age.unwrap_or(0.0))
    }

    /// Returns the events of one stream after a sequence, including those above the safe position.
    pub async fn stream(
        &self,
        aggregate_type: &str,
        aggregate_id: &str,
        after: i64,
    ) -> Result<Vec<Arc<RecordedEvent>>, LogError> {
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

    /// Returns the event at a position.
    ///
    /// # Errors
    /// See [`LogError`].
    pub async fn at(&self, position: i64) -> Result<Option<Arc<RecordedEvent>>, LogError> {
        let rows: Vec<EventRow> = sqlx::query_as(
            "SELECT position, aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, recorded_at
             FROM events WHERE position = $1",
        )
        .bind(position)
        .fetch_all(&self.pool)
        .await?;
        Ok(self.decode(rows).await?.pop())
    }

    async fn decode(&self, mut rows: Vec<EventRow>) -> Result<Vec<Arc<RecordedEvent>>, LogError> {
        let mut documents: Vec<(String, Value)> = rows
            .iter_mut()
            .map(|row| {
                (personal_context(&row.aggregate_type, &row.aggregate_id, row.sequence), row.payload.take())
            })
            .collect();
        match decrypt_all(&self.key_store, &mut documents).await {
            Ok(()) => {}
            Err(KeyStoreError::Database(error)) => return Err(error.into()),
            Err(_) => self.decrypt_one_by_one(&mut rows, &mut documents).await?,
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

    /// Decrypts events one by one up to the first that fails, and drops the rest.
    async fn decrypt_one_by_one(
        &self,
        rows: &mut Vec<EventRow>,
        documents: &mut [(String, Value)],
    ) -> Result<(), LogError> {
        for (index, document) in documents.iter_mut().enumerate() {
            match decrypt_all(&self.key_store, std::slice::from_mut(document)).await {
                Ok(()) => {}
                Err(KeyStoreError::Database(error)) => return Err(error.into()),
                Err(source) if index == 0 => {
                    return Err(LogError::Undecryptable { position: rows[0].position, source });
                }
                Err(_) => {
                    rows.truncate(index);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn decode_one(&self, row: EventRow, payload: Value) -> Result<RecordedEvent, LogError> {
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
        Ok(RecordedEvent {
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

/// Events that are visible, including those above the safe position.
const VISIBLE_EVENTS: &str = "SELECT position, aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, recorded_at
     FROM events WHERE position > $1 ORDER BY position LIMIT $2";
/// Events at or below the safe position.
const SAFE_EVENTS: &str = "SELECT position, aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, recorded_at
     FROM read_events($1, $2)";

/// Converts a stored event to the current shape with every upcaster that applies, in order.
pub(crate) fn upcast(event: SerializedEvent, upcasters: &[Box<dyn EventUpcaster>]) -> SerializedEvent {
    upcasters.iter().fold(event, |event, upcaster| {
        if upcaster.can_upcast(&event.event_type, &event.event_version) {
            upcaster.upcast(event)
        } else {
            event
        }
    })
}
