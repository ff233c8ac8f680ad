//! Acts that the fake server can perform on a request.

use std::time::Duration;

use serde_json::Value;

/// Text in every error of the server; tests check that it does not leak.
pub(crate) const ERROR_TEXT: &str = "canary text of a provider's error";

/// Act of the server on one request.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// Streams these deltas with a pause before each, then the ending.
    Reply {
        /// Text deltas.
        deltas: Vec<String>,
        /// Pause before each delta.
        pause: Duration,
        /// How the stream ends.
        ending: Ending,
    },
    /// Calls a tool; streams the arguments in fragments where the protocol does.
    Call {
        /// Tool name.
        name: &'static str,
        /// Raw arguments as the model would write them.
        arguments: &'static str,
    },
    /// Answers with an error.
    Error {
        /// HTTP status.
        status: u16,
        /// Code of the error object.
        code: Value,
        /// Additional headers.
        headers: Vec<(&'static str, String)>,
    },
    /// Reads the request and never answers.
    HangBeforeHeaders,
    /// Sends the headers but never a body.
    SilentBody,
    /// Sends a raw body and ends.
    Raw {
        /// Content type.
        kind: &'static str,
        /// Parts of the body, sent one by one.
        parts: Vec<Vec<u8>>,
    },
    /// Sends deltas without end, as fast as the client reads them.
    Endless {
        /// Bytes of text in each delta.
        bytes: usize,
    },
    /// Sends only SSE comments with a pause before each, then a reply.
    Comments {
        /// Number of comments.
        count: usize,
        /// Pause before each comment.
        pause: Duration,
    },
}

/// How a reply ends.
#[derive(Debug, Clone)]
pub(crate) enum Ending {
    /// Completely.
    Completed,
    /// Completely, but without the protocol's end-of-stream marker.
    Unmarked,
    /// Completely, but the connection stays open and silent.
    HeldOpen,
    /// Completely, with these input and output token counts; `None` reports no usage.
    Tokens(Option<(i64, i64)>),
    /// Completely, with the final events sent twice.
    Twice,
    /// Incomplete for this reason (value of the Responses API).
    Incomplete(&'static str),
    /// The response failed, with this code.
    Failed(&'static str),
    /// A bare error event with this code.
    Error(&'static str),
    /// The body ends cleanly without a final event.
    Nothing,
    /// The connection breaks in the middle of an event.
    Reset,
    /// The connection stays open and silent.
    Silence,
}

impl Act {
    /// A complete reply without pauses.
    pub(crate) fn reply(deltas: &[&str]) -> Self {
        Self::ending(deltas, Ending::Completed)
    }

    /// A reply without pauses that ends this way.
    pub(crate) fn ending(deltas: &[&str], ending: Ending) -> Self {
        Self::paced(deltas, Duration::ZERO, ending)
    }

    /// A reply with this pause before each delta.
    pub(crate) fn paced(deltas: &[&str], pause: Duration, ending: Ending) -> Self {
        let deltas = deltas.iter().map(|&delta| delta.to_owned()).collect();
        Self::Reply { deltas, pause, ending }
    }

    /// An error with this status and code.
    pub(crate) fn error(status: u16, code: &str) -> Self {
        Self::Error { status, code: code.into(), headers: Vec::new() }
    }

    /// A rate-limit error with this `Retry-After`.
    pub(crate) fn limited(retry_after: &str) -> Self {
        let headers = vec![("retry-after", retry_after.to_owned())];
        Self::Error { status: 429, code: "rate_limit_exceeded".into(), headers }
    }
}

/// A step of streaming a body.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Send(Vec<u8>),
    Pause(Duration),
    /// Keeps the connection open and silent.
    Hold,
    /// Breaks the connection.
    Break,
}

impl Step {
    /// An SSE event with this data and, if given, name.
    pub(super) fn event(name: Option<&str>, data: &str) -> Self {
        let name = name.map(|name| format!("event: {name}\n")).unwrap_or_default();
        Self::Send(format!("{name}data: {data}\n\n").into_bytes())
    }
}

/// Puts the pause before each step unless it is zero.
pub(super) fn paced(steps: impl IntoIterator<Item = Step>, pause: Duration) -> Vec<Step> {
    let pause = (!pause.is_zero()).then_some(Step::Pause(pause));
    steps.into_iter().flat_map(|step| pause.clone().into_iter().chain([step])).collect()
}
