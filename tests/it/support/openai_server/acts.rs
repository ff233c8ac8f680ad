//! What the server can be told to do with a request.

use std::time::Duration;

use serde_json::Value;

/// What every error of the server says, so that tests can look for it where it must not be.
pub(crate) const ERROR_TEXT: &str = "canary text of a provider's error";

/// What the server does with one request.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// Answers with these deltas, this long apart, and ends as said.
    Reply {
        /// The pieces of text.
        deltas: Vec<String>,
        /// The pause before each piece.
        pause: Duration,
        /// How it ends.
        ending: Ending,
    },
    /// Calls a tool with these arguments, in fragments where the protocol has such.
    Call {
        /// The tool.
        name: &'static str,
        /// The arguments, as the model wrote them.
        arguments: &'static str,
    },
    /// Answers with this status and error object, and these headers.
    Error {
        /// The HTTP status.
        status: u16,
        /// The error's code.
        code: Value,
        /// Further headers.
        headers: Vec<(&'static str, String)>,
    },
    /// Takes the request and never answers.
    HangBeforeHeaders,
    /// Sends the headers, then nothing.
    SilentBody,
    /// Sends this as the body, with this content type, and ends.
    Raw {
        /// The content type.
        kind: &'static str,
        /// The body's parts, sent one by one.
        parts: Vec<Vec<u8>>,
    },
    /// Sends deltas without end, as fast as they are taken, each of this many bytes.
    Endless {
        /// The bytes of text in each delta.
        bytes: usize,
    },
    /// Sends nothing but comments, this long apart, so many of them; then a reply.
    Comments {
        /// How many.
        count: usize,
        /// The pause before each.
        pause: Duration,
    },
}

/// How a reply ends.
#[derive(Debug, Clone)]
pub(crate) enum Ending {
    /// As a whole one does.
    Completed,
    /// Whole; but, where the protocol has a mark for the end of the stream, without it.
    Unmarked,
    /// Whole, and then the connection stays open and says nothing more.
    HeldOpen,
    /// Whole, with these tokens read and written; none are told.
    Tokens(Option<(i64, i64)>),
    /// Whole, twice over.
    Twice,
    /// Cut short for this reason, in the words of the Responses API.
    Incomplete(&'static str),
    /// The response failed, with this code.
    Failed(&'static str),
    /// A bare error event with this code.
    Error(&'static str),
    /// The body ends as if all were well, without a last event.
    Nothing,
    /// The connection breaks in the middle of an event.
    Reset,
    /// It stays open and says nothing more.
    Silence,
}

impl Act {
    /// A good reply without pauses.
    pub(crate) fn reply(deltas: &[&str]) -> Self {
        Self::ending(deltas, Ending::Completed)
    }

    /// A reply without pauses that ends so.
    pub(crate) fn ending(deltas: &[&str], ending: Ending) -> Self {
        Self::paced(deltas, Duration::ZERO, ending)
    }

    /// A reply with this pause before each piece.
    pub(crate) fn paced(deltas: &[&str], pause: Duration, ending: Ending) -> Self {
        let deltas = deltas.iter().map(|&delta| delta.to_owned()).collect();
        Self::Reply { deltas, pause, ending }
    }

    /// An error with this status and code.
    pub(crate) fn error(status: u16, code: &str) -> Self {
        Self::Error { status, code: code.into(), headers: Vec::new() }
    }

    /// A rate limit that asks to wait so.
    pub(crate) fn limited(retry_after: &str) -> Self {
        let headers = vec![("retry-after", retry_after.to_owned())];
        Self::Error { status: 429, code: "rate_limit_exceeded".into(), headers }
    }
}

/// A step of a body.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Send(Vec<u8>),
    Pause(Duration),
    /// Nothing more, but the connection stays.
    Hold,
    /// The connection breaks.
    Break,
}

impl Step {
    /// The data of an event, and its name where it has one.
    pub(super) fn event(name: Option<&str>, data: &str) -> Self {
        let name = name.map(|name| format!("event: {name}\n")).unwrap_or_default();
        Self::Send(format!("{name}data: {data}\n\n").into_bytes())
    }
}

/// Steps with a pause before each, if there is one.
pub(super) fn paced(steps: impl IntoIterator<Item = Step>, pause: Duration) -> Vec<Step> {
    let pause = (!pause.is_zero()).then_some(Step::Pause(pause));
    steps.into_iter().flat_map(|step| pause.clone().into_iter().chain([step])).collect()
}
