//! A reply's stream as server-sent events.
//!
//! Events: `message` (what was taken: ids), `reply.delta` (`id: reply:attempt:offset`), `reply.restart`, and one end:
//! `reply.done`, `reply.failed` or `reply.cancelled`. A stream that ends without one was cut (the process goes down, the
//! database has not answered for long, or the login ended): a client comes back with `Last-Event-ID` and misses nothing.

use std::convert::Infallible;
use std::time::Duration;

use aggregates::ids::ReplyId;
use aide::OperationInput;
use aide::generate::GenContext;
use aide::openapi::Operation;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::{Stream, stream};
use schemars::json_schema;
use serde::Serialize;

use crate::app::connections::ConnectionGuard;
use crate::http::ApiState;
use crate::http::errors::ApiError;
use crate::http::extract::header_parameter;
use crate::http::formats::reply::{Deleted, Delta, Restart, event_id, parse_event_id};
use crate::http::openapi::failures::refuses;
use crate::live::stream::Ended;
use crate::live::{Frame, ReplyFollower, Resume};

/// How often a sign of life is sent on a silent stream.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How a door words the frames of its streams.
pub trait Wording: Send + 'static {
    /// The first frame, before any text.
    fn opening(&self) -> Option<(&'static str, serde_json::Value)>;
    /// The last frame.
    fn end(&self, ended: &Ended) -> (&'static str, serde_json::Value);
}

/// From where on a stream is to be sent.
#[derive(Debug)]
pub struct LastEventId(Option<HeaderValue>);

impl LastEventId {
    /// Where the stream of `reply` goes on; its beginning when the client named nothing.
    ///
    /// # Errors
    /// 400 when it is not an id of this stream.
    pub fn of(&self, reply: ReplyId) -> Result<Resume, ApiError> {
        let Some(last) = &self.0 else { return Ok(Resume::default()) };
        let named = last.to_str().ok().and_then(parse_event_id).filter(|(of, _)| *of == reply);
        named.map(|(_, at)| at).ok_or_else(|| {
            ApiError::http(
                StatusCode::BAD_REQUEST,
                "invalid_last_event_id",
                "Last-Event-ID must be an id that this reply's stream has sent.",
            )
        })
    }
}

impl FromRequestParts<ApiState> for LastEventId {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &ApiState) -> Result<Self, Infallible> {
        Ok(Self(parts.headers.get("last-event-id").cloned()))
    }
}

impl OperationInput for LastEventId {
    fn operation_input(_: &mut GenContext, operation: &mut Operation) {
        let description = "The id of the last event of this stream that has arrived: it goes on after it.";
        let schema =
            json_schema!({"type": "string", "maxLength": 128, "pattern": "^[0-9a-f-]{36}:[0-9]+:[0-9]+$"});
        operation.parameters.push(header_parameter("Last-Event-ID", description, schema));
        refuses(operation, &[400]);
    }
}

/// The answer that streams a reply.
pub fn respond(
    presence: ConnectionGuard,
    reply: ReplyId,
    follower: ReplyFollower,
    wording: impl Wording,
) -> Response {
    let events = events(presence, reply, follower, wording);
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE).text("keep-alive");
    let mut response = Sse::new(events).keep_alive(keep_alive).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // Proxies must not collect events.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

/// An open stream.
struct Open<W> {
    presence: ConnectionGuard,
    follower: ReplyFollower,
    wording: W,
}

enum State<W> {
    Opening(Box<Open<W>>),
    Running(Box<Open<W>>),
    Over,
}

fn events<W: Wording>(
    presence: ConnectionGuard,
    reply: ReplyId,
    follower: ReplyFollower,
    wording: W,
) -> impl Stream<Item = Result<Event, Infallible>> {
    let start = State::Opening(Box::new(Open { presence, follower, wording }));
    stream::unfold(start, move |state| async move {
        let mut open = match state {
            State::Opening(open) => match open.wording.opening() {
                Some((name, data)) => {
                    let event = named(name, &data).id(event_id(reply, open.follower.at()));
                    return Some((Ok(event), State::Running(open)));
                }
                None => open,
            },
            State::Running(open) => open,
            State::Over => return None,
        };
        let frame = open.next().await?;
        Some(match frame {
            Frame::Restart { attempt } => (
                Ok(named("reply.restart", &Restart { reply_id: reply.uuid(), attempt })),
                State::Running(open),
            ),
            Frame::Delta { attempt, offset, text } => {
                let delta = Delta { reply_id: reply.uuid(), attempt, offset, text };
                let id = event_id(reply, Resume { attempt, offset });
                (Ok(named("reply.delta", &delta).id(id)), State::Running(open))
            }
            Frame::End(ended) => {
                let (name, data) = open.wording.end(&ended);
                (Ok(named(name, &data).id(event_id(reply, open.follower.at()))), State::Over)
            }
            Frame::Deleted => (Ok(named("reply.cancelled", &Deleted::new(reply))), State::Over),
            Frame::Closing => (
                Ok(Event::default()
                    .comment("going down: come back with Last-Event-ID")
                    .retry(Duration::from_secs(1))),
                State::Over,
            ),
        })
    })
}

impl<W> Open<W> {
    /// The next frame, as long as the login is live.
    async fn next(&mut self) -> Option<Frame> {
        tokio::select! {
            // First: a reply that is written without a pause must not hide that the login has ended.
            biased;
            () = self.presence.ended() => None,
            frame = self.follower.next() => match frame {
                Ok(frame) => frame,
                Err(error) => {
                    tracing::warn!(%error, "a stream could not be continued");
                    None
                }
            },
        }
    }
}

fn named(name: &str, data: &impl Serialize) -> Event {
    let data = serde_json::to_string(data).unwrap_or_default();
    Event::default().event(name).data(data)
}
