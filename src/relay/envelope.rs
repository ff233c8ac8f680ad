//! The envelope of a public event: CloudEvents 1.0 in its JSON form, with the attributes as the specification names them.

use chrono::{DateTime, Utc};
use event_store::RecordedEvent;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::public::PublicEvent;

/// The header that tells an event's position; what the relay finds its place by.
pub const POSITION: &str = "Verbatim-Position";

/// A message in NATS.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct CloudEvent<T> {
    /// Always `1.0`.
    pub specversion: &'static str,
    /// `aggregate/stream/sequence`: the same event always has the same id, however often it is published.
    pub id: String,
    /// Always `/verbatim`.
    pub source: &'static str,
    /// The kind with its version, `verbatim.reply.completed.v1` for example.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The stream: the id of the conversation or user.
    pub subject: String,
    /// When the database wrote it.
    pub time: DateTime<Utc>,
    /// Always `application/json`.
    pub datacontenttype: &'static str,
    /// Its place in the log. A text, because CloudEvents' own integers end at 2^31.
    pub position: String,
    /// Its place in its stream, from 1, as a text.
    pub sequence: String,
    /// The id that the whole chain of work shares, from the first request on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlationid: Option<String>,
    /// The request or event that caused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub causationid: Option<String>,
    /// The trace that it is part of, as W3C Trace Context has it: CloudEvents' extension for distributed tracing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// What happened.
    pub data: T,
}

/// The public form of a recorded event. None: it has none.
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
