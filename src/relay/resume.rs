//! Resume point of the relay, read from the stream, the only source that knows what was published.

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::stream::{RawMessageErrorKind, State, Stream};

use super::RelayError;
use super::envelope::POSITION;
use super::lease::LastPublished;

/// Maximum number of messages searched, from the end of the stream, for one of ours.
const MAX_LOOK_BACK: u64 = 1_000;

/// Where to resume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ResumePoint {
    /// Sequence of the last message in the stream, ours or not; the next one has to follow it.
    pub(super) last_sequence: u64,
    /// Position of the last published event.
    pub(super) position: i64,
    /// Whether the stream was emptied and has to be filled again.
    pub(super) emptied: bool,
}

/// Reads the resume point from `stream`. `created` is its creation time.
///
/// # Errors
/// Fails if NATS does not answer.
pub(super) async fn resume_point(
    stream: &Stream,
    state: &State,
    created: &str,
    remembered: &LastPublished,
    max_age_seconds: f64,
) -> Result<ResumePoint, RelayError> {
    let last_sequence = state.last_sequence;
    let known = remembered.stream_created.as_deref() == Some(created);
    if state.messages > 0 {
        let lowest = state.first_sequence.max(last_sequence.saturating_sub(MAX_LOOK_BACK));
        for sequence in (lowest..=last_sequence).rev() {
            if let Some(position) = position_at(stream, sequence).await? {
                return Ok(ResumePoint { last_sequence, position, emptied: false });
            }
        }
    }
    let at = |position, emptied| ResumePoint { last_sequence, position, emptied };
    if last_sequence == 0 || !known {
        // New or recreated: the stored row describes another stream.
        return Ok(at(0, remembered.position > 0));
    }
    let aged = max_age_seconds > 0.0 && remembered.idle_seconds.is_some_and(|idle| idle >= max_age_seconds);
    if aged || state.messages > 0 {
        // Its messages have expired as configured, or foreign messages are at its end.
        return Ok(at(remembered.position, false));
    }
    Ok(at(0, true))
}

/// Returns the position in a message's header; `None` if the message is gone or not ours.
async fn position_at(stream: &Stream, sequence: u64) -> Result<Option<i64>, RelayError> {
    match stream.get_raw_message(sequence).await {
        Ok(message) => Ok(message
            .headers
            .get(POSITION)
            .and_then(|position| position.as_str().parse().ok())
            .filter(|position| *position > 0)),
        Err(error) => match error.kind() {
            RawMessageErrorKind::NoMessageFound => Ok(None),
            RawMessageErrorKind::JetStream(error) if error.error_code() == ErrorCode::NO_MESSAGE_FOUND => {
                Ok(None)
            }
            _ => Err(RelayError::Nats(error.to_string())),
        },
    }
}
