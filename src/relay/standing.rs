//! Where the relay stands: read from the stream, because only the stream knows what it has.

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::stream::{RawMessageErrorKind, State, Stream};

use super::RelayError;
use super::envelope::POSITION;
use super::row::Remembered;

/// How many messages at the end of the stream are looked at for one of ours.
const LOOK_BACK: u64 = 1_000;

/// Where to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    /// Number of the last message in the stream, whosever it is: what the next one has to follow.
    pub(super) last_sequence: u64,
    /// Position of the last event that the stream has, or had.
    pub(super) position: i64,
    /// Whether the stream was emptied, and is to be filled again.
    pub(super) emptied: bool,
}

/// Reads where `stream` stands. `created` is when it was made.
///
/// # Errors
/// NATS does not answer.
pub(super) async fn standing(
    stream: &Stream,
    state: &State,
    created: &str,
    remembered: &Remembered,
    max_age_seconds: f64,
) -> Result<Standing, RelayError> {
    let last_sequence = state.last_sequence;
    let known = remembered.stream_created.as_deref() == Some(created);
    if state.messages > 0 {
        let lowest = state.first_sequence.max(last_sequence.saturating_sub(LOOK_BACK));
        for sequence in (lowest..=last_sequence).rev() {
            if let Some(position) = position_at(stream, sequence).await? {
                return Ok(Standing { last_sequence, position, emptied: false });
            }
        }
    }
    let at = |position, emptied| Standing { last_sequence, position, emptied };
    if last_sequence == 0 || !known {
        // New, or made anew: whatever the row says was about another one.
        return Ok(at(0, remembered.position > 0));
    }
    let aged = max_age_seconds > 0.0 && remembered.idle_seconds.is_some_and(|idle| idle >= max_age_seconds);
    if aged || state.messages > 0 {
        // Its messages have run out, as configured, or strangers' stand at its end.
        return Ok(at(remembered.position, false));
    }
    Ok(at(0, true))
}

/// The position that a message of ours tells. None: it is gone, or a stranger's.
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
