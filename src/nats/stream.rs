//! The stream of public events: created if missing, checked if it exists, never changed automatically.

use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType, Stream};

use super::connection::Nats;

/// Window in which JetStream detects duplicate messages by id.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);

/// Why the stream is unusable.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// NATS failed; worth a retry.
    #[error("cannot access the stream {name}: {reason}")]
    Unavailable {
        /// Name of the stream.
        name: String,
        /// Error of the client library.
        reason: String,
    },
    /// The stream exists with other settings than configured. The operator has to decide.
    #[error("the stream {name} differs from its configuration: {differences}")]
    Different {
        /// Name of the stream.
        name: String,
        /// The settings that differ.
        differences: String,
    },
}

/// Returns the configured settings.
pub fn wanted(nats: &Nats) -> Config {
    let config = nats.config();
    Config {
        name: nats.names().events_stream(),
        description: Some("Public events of Verbatim, made again from its log when they are lost".to_owned()),
        subjects: vec![nats.names().all_events()],
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::Old,
        storage: StorageType::File,
        num_replicas: config.replicas,
        max_age: config.max_age,
        max_bytes: config.max_bytes.unwrap_or(-1),
        max_messages: -1,
        max_messages_per_subject: -1,
        max_consumers: -1,
        duplicate_window: if config.max_age.is_zero() {
            DUPLICATE_WINDOW
        } else {
            DUPLICATE_WINDOW.min(config.max_age)
        },
        ..Config::default()
    }
}

/// Returns the stream, creating it if missing.
///
/// # Errors
/// See [`StreamError`].
pub async fn ensure(nats: &Nats) -> Result<Stream, StreamError> {
    let wanted = wanted(nats);
    let name = wanted.name.clone();
    let unavailable = |error: &dyn std::fmt::Display| StreamError::Unavailable {
        name: name.clone(),
        reason: error.to_string(),
    };
    let stream = match nats.jetstream().get_stream(&name).await {
        Ok(stream) => stream,
        Err(error) if is_missing(&error.kind()) => {
            tracing::info!(stream = %name, "creating the stream of public events");
            nats.jetstream().create_stream(wanted.clone()).await.map_err(|error| unavailable(&error))?
        }
        Err(error) => return Err(unavailable(&error)),
    };
    let differences = differences(&wanted, &stream.cached_info().config);
    if differences.is_empty() {
        Ok(stream)
    } else {
        Err(StreamError::Different { name, differences: differences.join("; ") })
    }
}

fn is_missing(kind: &GetStreamErrorKind) -> bool {
    matches!(kind, GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND)
}

/// Describes relevant settings that differ.
fn differences(wanted: &Config, found: &Config) -> Vec<String> {
    let mut differences = Vec::new();
    let mut compare = |what: &str, wanted: String, found: String| {
        if wanted != found {
            differences.push(format!("{what} is {found}, and {wanted} is configured"));
        }
    };
    let limit = |limit: i64| if limit <= 0 { "without limit".to_owned() } else { limit.to_string() };
    compare("subjects", format!("{:?}", wanted.subjects), format!("{:?}", found.subjects));
    compare("storage", format!("{:?}", wanted.storage), format!("{:?}", found.storage));
    compare("retention", format!("{:?}", wanted.retention), format!("{:?}", found.retention));
    compare("discard", format!("{:?}", wanted.discard), format!("{:?}", found.discard));
    compare("replicas", wanted.num_replicas.to_string(), found.num_replicas.to_string());
    compare("max_age", format!("{:?}", wanted.max_age), format!("{:?}", found.max_age));
    compare("max_bytes", limit(wanted.max_bytes), limit(found.max_bytes));
    compare("max_msgs", limit(wanted.max_messages), limit(found.max_messages));
    compare(
        "max_msgs_per_subject",
        limit(wanted.max_messages_per_subject),
        limit(found.max_messages_per_subject),
    );
    differences
}
