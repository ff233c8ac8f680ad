//! An event read from the log, decoded.

use aggregates::Event;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// An event with its place in the log.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedEvent {
    /// Position in the log. Rises, with gaps where an append was rolled back.
    pub position: i64,
    /// Aggregate type of its stream.
    pub aggregate_type: String,
    /// Aggregate id of its stream.
    pub aggregate_id: String,
    /// Number within its stream, from 1, without gaps.
    pub sequence: i64,
    /// The event, upcast to the current shape, with personal text decrypted or erased.
    pub event: Event,
    /// The command that caused it.
    pub metadata: Metadata,
    /// Time of the append (UTC), by the database's clock.
    pub recorded_at: DateTime<Utc>,
}

/// What is stored with every event about the command that caused it. Never contains personal text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// Id of the user who sent the command, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<Uuid>,
    /// API surface the command came through, or the part of the system that acted by itself (`worker`, `sweeper`).
    #[serde(default)]
    pub surface: String,
    /// Id of the request, as in the response's `X-Request-Id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Id shared by the whole chain of work since the first request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// Id of the request or event that directly caused this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<String>,
    /// Trace and span ids in W3C Trace Context format; `None` without tracing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// Time the command was received (UTC), by the clock of the process that received it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<DateTime<Utc>>,
    /// Version of the program that wrote the event.
    #[serde(default)]
    pub app_version: String,
}
