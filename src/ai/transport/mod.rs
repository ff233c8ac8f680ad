//! What the adapters of OpenAI's two protocols share: where a server is and with which key it is called
//! (`endpoint`), one call of it (`transport`), its events under limits (`sse`), their way to pieces (`pieces`),
//! its errors by name (`errors`), how long it asks to wait (`wait`), and speech written down (`transcribe`).
//!
//! async-openai builds the requests, makes the calls and parses the streams. Three of its habits do not fit here,
//! and its public `middleware` and `byot` features let us change each:
//!
//! - Its default executor tries three times more on 429, 5xx and connection errors. Our own attempts are what
//!   is counted and recorded, so every call goes through our own service, `transport`, which tries once.
//! - It hides the response's headers (`Retry-After`), reads error bodies without limit, and logs them, as it
//!   logs every event that it cannot read; those may hold the conversation. `transport` answers for every
//!   status but success itself, and `sse` lets through only events that cannot fail to parse.
//! - Its event types know a fixed list of events, with every field required, and fail on anything else, be it
//!   a new event of OpenAI's or a server that leaves out a field we never look at. So events are taken as JSON
//!   values (`create_stream_byot`) and each adapter reads the few fields that matter.
//!
//! **What is bounded.** The crate moves events from the connection to us through a channel without bound, in
//! a task of its own that ends when our stream is dropped. `transport` feeds that task only on demand: it
//! reads on from the connection only after we have found the channel empty, so the channel holds the events of
//! two reads at most, however slow the reader is, and the provider feels the back pressure through TCP. One
//! event is at most 1 MiB, the whole body 64 MiB (`sse`), text 64 KiB and time 150 s ([`limits`](super::limits)).
//! Not bounded by us: what the HTTP client itself buffers for one connection (some hundred KiB).

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
pub(super) use stream_events::{Out, Reader, pieces};
