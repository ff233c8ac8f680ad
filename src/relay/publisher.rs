//! Publishes a batch at once in the log's order; each message must directly follow the one before it.

use async_nats::HeaderMap;
use async_nats::jetstream::message::PublishMessage;
use event_store::RecordedEvent;

use super::RelayError;
use super::envelope::{self, POSITION};
use crate::nats::Nats;
use traces::spans;

/// Header with the trace context.
const TRACEPARENT: &str = "traceparent";

/// Publishes the public ones of `events` after message `last`; returns the sequence of the last message.
///
/// Every message names the sequence that it has to follow. After a message of another relay, a lost message or
/// a late one, NATS rejects the next message, and the resume point is read again.
///
/// # Errors
/// Fails on the first message that was not stored, or that JetStream took for a duplicate.
pub(super) async fn publish(
    nats: &Nats,
    mut last: u64,
    refills: i32,
    events: impl Iterator<Item = &RecordedEvent>,
) -> Result<u64, RelayError> {
    let mut sent = Vec::new();
    for recorded in events {
        let Some((name, event)) = envelope::public(recorded) else { continue };
        let payload = serde_json::to_vec(&event).map_err(|error| RelayError::Nats(error.to_string()))?;
        let mut headers = HeaderMap::new();
        headers.insert(POSITION, event.position.as_str());
        headers.insert("Content-Type", "application/cloudevents+json");
        let subject = nats.names().event(name);
        let span = spans::publish(name, &subject, &event.id, event.time.into(), event.traceparent.as_deref());
        // The span of the publication, not of the event: consumers continue this trace.
        if let Some(traceparent) = span.traceparent().or(event.traceparent) {
            headers.insert(TRACEPARENT, traceparent);
        }
        let id = if refills == 0 { event.id } else { format!("{}#{refills}", event.id) };
        let message = PublishMessage::build()
            .headers(headers)
            .message_id(id)
            .expected_last_sequence(last)
            .payload(payload.into());
        let acknowledged = nats
            .jetstream()
            .send_publish(subject, message)
            .await
            .map_err(|error| RelayError::Nats(error.to_string()))?;
        last += 1;
        sent.push((last, acknowledged, span));
    }
    #[cfg(feature = "fault-injection")]
    if !sent.is_empty() {
        // Flush, since the client only queues them.
        let _ = nats.client().flush().await;
        event_store::crash_points::pass("published");
    }
    let count = sent.len() as u64;
    for (expected, acknowledged, span) in sent {
        let acknowledged = acknowledged.await.map_err(|error| {
            span.record_failure("unavailable");
            RelayError::Nats(error.to_string())
        })?;
        if acknowledged.duplicate || acknowledged.sequence != expected {
            span.record_failure("not_as_expected");
            return Err(RelayError::Nats(format!(
                "message {expected} was taken for message {}",
                acknowledged.sequence
            )));
        }
    }
    metrics::counter!("verbatim_relay_published_total").increment(count);
    Ok(last)
}
