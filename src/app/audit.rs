//! Reads the log in its public form: ids, times and numbers, no text written by users.

use event_store::{LogError, LogReader, RecordedEvent};
use serde_json::Value;
use uuid::Uuid;

use super::core::check_range;
use super::{Actor, AppError};
use crate::audit_log;
use crate::relay::envelope::{self, CloudEvent};

/// Public form of an event, as the relay publishes it.
pub type PublicEvent = CloudEvent<Value>;

/// An event, and who caused it.
#[derive(Debug, Clone)]
pub struct AuditedEvent {
    /// The event in its public form.
    pub event: PublicEvent,
    /// The user who asked for it, when one did.
    pub actor: Option<Uuid>,
    /// The surface of the request, or the part of the system that acted on its own.
    pub surface: String,
}

impl AuditedEvent {
    /// Returns `None` for an event without a public form.
    fn of(recorded: &RecordedEvent) -> Option<Self> {
        let (_, event) = envelope::public(recorded)?;
        Some(Self { event, actor: recorded.metadata.actor, surface: recorded.metadata.surface.clone() })
    }
}

/// A page of the log.
#[derive(Debug, Clone)]
pub struct AuditPage {
    /// Events with a public form, in log order.
    pub events: Vec<AuditedEvent>,
    /// Position of the last event read: the next page starts after it.
    pub after: i64,
    /// Whether there may be more events.
    pub has_more: bool,
}

/// Reads the log for auditors.
pub struct AuditService {
    /// Reads the log.
    pub reader: LogReader,
}

impl AuditService {
    /// Returns the events after a position. Reads at most `limit` events, of which some may have no public form.
    ///
    /// # Errors
    /// `Invalid` limit or position; those of the log.
    pub async fn audit_events(&self, actor: Actor, after: i64, limit: i64) -> Result<AuditPage, AppError> {
        check_range("limit", limit, 1..=500)?;
        check_range("after", after, 0..=i64::MAX)?;
        let (mut at, mut left) = (after, i32::try_from(limit).unwrap_or_default());
        let mut events = Vec::new();
        while left > 0 {
            // A read may end early, at a position that is not settled or has no event.
            let read = self.reader.read_after(at, left).await.map_err(read_error)?;
            let Some(last) = read.last() else { break };
            at = last.position;
            left -= i32::try_from(read.len()).unwrap_or(left);
            events.extend(read.iter().filter_map(|recorded| AuditedEvent::of(recorded)));
        }
        audit_log::log_read(actor.user, after, events.len());
        Ok(AuditPage { events, after: at, has_more: left <= 0 })
    }
}

fn read_error(error: LogError) -> AppError {
    match error {
        LogError::Database(_) => AppError::unavailable(error),
        // A newer version runs beside this one, or the log was tampered with; the cause has the details.
        LogError::Undecodable { .. } => AppError::unavailable(error),
        LogError::Undecryptable { .. } => AppError::internal(error),
    }
}
