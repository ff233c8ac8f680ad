//! An event as it stands in the log, decoded.

use aggregates::Event;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One settled event.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// Place in the log; rises, with gaps where an append was rolled back.
    pub position: i64,
    /// Aggregate type of its stream.
    pub aggregate_type: String,
    /// Aggregate id of its stream.
    pub aggregate_id: String,
    /// Place in its stream, from 1, without gaps.
    pub sequence: i64,
    /// What happened, upcast to the shape this code knows, personal text opened or erased.
    pub event: Event,
    /// Who asked for it, and on which way it came in.
    pub metadata: Metadata,
    /// When the database wrote it, by the database's clock.
    pub recorded_at: DateTime<Utc>,
}

/// What is written beside every event about the command that caused it. Never personal text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// The user who asked, when one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<Uuid>,
    /// The door it came through, or the part of the system that acted on its own (`worker`, `sweeper`).
    #[serde(default)]
    pub surface: String,
    /// The request's id, as in the answer's `X-Request-Id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Id that the whole chain of work shares, from the first request on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// Id of the request or event that directly caused this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<String>,
    /// The trace that it is part of, and the span in it, as W3C Trace Context has them. None: no trace was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// When the command was taken, by the clock of the process that took it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<DateTime<Utc>>,
    /// Version of the program that wrote it.
    #[serde(default)]
    pub app_version: String,
}
