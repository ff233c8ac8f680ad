//! Shared parts of the adapters for OpenAI's two protocols: address and key of a server (`endpoint`), one HTTP call
//! (`http`), its events within limits (`sse_decoder`), their conversion (`stream_events`), error classification (`errors`),
//! retry hints (`retry_after`), and transcription (`transcribe`).
//!
//! async-openai builds the requests, sends them and parses the streams. Three of its behaviors do not fit here; its
//! public `middleware` and `byot` features let us replace each:
//!
//! - Its default executor retries three times on 429, 5xx and connection errors. Our own attempts are counted and
//!   recorded, so every call goes through our own service, `http`, which sends once.
//! - It hides the response's headers (`Retry-After`), reads error bodies without limit, and logs them as well as every
//!   event that it cannot parse; those may contain the conversation. `http` handles every status but success itself,
//!   and `sse_decoder` passes on only events that cannot fail to parse.
//! - Its event types are a fixed list with all fields required. They fail on new events of OpenAI's and on servers that
//!   omit fields we never read. So events are taken as JSON values (`create_stream_byot`), and each adapter reads the few
//!   fields that matter.
//!
//! **Limits.** The crate moves events from the connection through an unbounded channel, in a task that ends when our
//! stream is dropped. `http` feeds that task on demand: it reads from the connection only after we have found the channel
//! empty. So the channel holds the events of at most two reads, and the provider sees back pressure through TCP. One event
//! is at most 1 MiB, the whole body 64 MiB (`sse_decoder`), text 64 KiB and time 150 s ([`limits`](super::limits)). Not
//! limited by us: the HTTP client's buffers of a connection (a few hundred KiB).

mod base_url;
mod endpoint;
pub(super) mod errors;
mod http;
mod key;
mod retry_after;
mod sse_decoder;
mod stream_events;
mod transcribe;

pub(super) use endpoint::{Endpoint, EndpointSettings};
#[cfg(test)]
pub(super) use http::CallControl;
pub use key::ApiKey;
pub(super) use stream_events::{Out, Reader, stream_events};
