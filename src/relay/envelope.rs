//! Envelope of a public event: CloudEvents 1.0 in JSON form, with the attribute names of the specification.

use chrono::{DateTime, Utc};
use event_store::RecordedEvent;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::public::PublicEvent;

/// Header with the position of the event, which the relay resumes from.
pub const POSITION: &str = "Verbatim-Position";

/// A public event: CloudEvents 1.0 in JSON form.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct CloudEvent<T> {
    /// Always `1.0`.
    pub specversion: &'static str,
    /// `aggregate/stream/sequence`. An event keeps its id however often it is published.
    pub id: String,
    /// Always `/verbatim`.
    pub source: &'static str,
    /// Event type with its version, for example `verbatim.reply.completed.v1`.
    #[serde(rename = "type")]
    pub event_type: String,
    /// Id of the stream: of the conversation, user, quiz or file.
    pub subject: String,
    /// Time when the database stored the event (UTC).
    pub time: DateTime<Utc>,
    /// Always `application/json`.
    pub datacontenttype: &'static str,
    /// Position in the log. A string, because integers of CloudEvents end at 2^31.
    pub position: String,
    /// Sequence in its stream, from 1, as a string.
    pub sequence: String,
    /// Correlation id shared by everything that one request caused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlationid: Option<String>,
    /// Request or event that caused this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub causationid: Option<String>,
    /// W3C trace context, by the distributed tracing extension of CloudEvents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// Data of the event.
    pub data: T,
}

/// Returns the public form of a recorded event; `None` if it has none.
pub fn public(recorded: &RecordedEvent) -> Option<(&'static str, CloudEvent<Value>)> {
    let event = PublicEvent::of(&recorded.event)?;
    let envelope = CloudEvent {
        specversion: "1.0",
        id: format!("{}/{}/{}", recorded.aggregate_type, recorded.aggregate_id, recorded.sequence),
        source: "/verbatim",
        event_type: format!("verbatim.{}.v{}", event.name, event.version),
        subject: recorded.aggregate_id.clone(),
        time: recorded.recorded_at,
        datacontenttype: "application/json",
        position: recorded.position.to_string(),
        sequence: recorded.sequence.to_string(),
        correlationid: recorded.metadata.correlation_id.clone(),
        causationid: recorded.metadata.causation_id.clone(),
        traceparent: recorded.metadata.traceparent.clone(),
        data: event.data,
    };
    Some((event.name, envelope))
}
