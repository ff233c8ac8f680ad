//! A reply's stream as server-sent events.
//!
//! Events: `message` (ids of the message that was sent), `reply.delta` (`id: reply:attempt:offset`), `reply.restart`,
//! and one of `reply.done`, `reply.failed` and `reply.cancelled` at the end. A stream that ends without one was
//! interrupted by a shutdown, a database outage or the end of the login. The client reconnects with `Last-Event-ID` and
//! misses nothing.

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
use serde_json::Value;

use crate::app::connections::ConnectionGuard;
use crate::http::ApiState;
use crate::http::errors::ApiError;
use crate::http::extract::header_parameter;
use crate::http::formats::reply::{Deleted, Delta, EndFrame, Restart, event_id, parse_event_id};
use crate::http::openapi::failures::add_failures;
use crate::live::{Frame, ReplyFollower, Resume};

/// Interval of keep-alive comments on a silent stream.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// Place from which a stream resumes.
#[derive(Debug)]
pub struct LastEventId(Option<HeaderValue>);

impl LastEventId {
    /// Returns where the stream of `reply` resumes; its beginning without the header.
    ///
    /// # Errors
    /// 400 if the id does not belong to this stream.
    pub fn of(&self, reply: ReplyId) -> Result<Resume, ApiError> {
        let Some(last) = &self.0 else { return Ok(Resume::default()) };
        let named = last.to_str().ok().and_then(parse_event_id).filter(|(of, _)| *of == reply);
        named.map(|(_, at)| at).ok_or_else(|| {
            ApiError::http(
                StatusCode::BAD_REQUEST,
                "invalid_last_event_id",
                "Last-Event-ID must be an event id of this reply's stream.",
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
        let description = "Id of the last received event of this stream; the stream resumes after it.";
        let schema =
            json_schema!({"type": "string", "maxLength": 128, "pattern": "^[0-9a-f-]{36}:[0-9]+:[0-9]+$"});
        operation.parameters.push(header_parameter("Last-Event-ID", description, schema));
        add_failures(operation, &[400]);
    }
}

/// Responds with the stream of a reply.
pub fn respond(
    connection: ConnectionGuard,
    reply: ReplyId,
    follower: ReplyFollower,
    opening: Option<Value>,
) -> Response {
    let events = events(connection, reply, follower, opening);
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE_INTERVAL).text("keep-alive");
    let mut response = Sse::new(events).keep_alive(keep_alive).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // Proxies must not buffer events.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

/// An open stream.
struct OpenStream {
    connection: ConnectionGuard,
    follower: ReplyFollower,
    /// Data of the first frame, `message`; `None` for a resumed stream.
    opening: Option<Value>,
}

enum State {
    Running(Box<OpenStream>),
    Ended,
}

fn events(
    connection: ConnectionGuard,
    reply: ReplyId,
    follower: ReplyFollower,
    opening: Option<Value>,
) -> impl Stream<Item = Result<Event, Infallible>> {
    let start = State::Running(Box::new(OpenStream { connection, follower, opening }));
    stream::unfold(start, move |state| async move {
        let State::Running(mut open) = state else { return None };
        if let Some(data) = open.opening.take() {
            let event = named("message", &data).id(event_id(reply, open.follower.at()));
            return Some((Ok(event), State::Running(open)));
        }
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
                let end = EndFrame::from(&*ended);
                let data = serde_json::to_value(&end).unwrap_or_default();
                let event = named(end.event_name(), &data).id(event_id(reply, open.follower.at()));
                (Ok(event), State::Ended)
            }
            Frame::Deleted => (Ok(named("reply.cancelled", &Deleted::new(reply))), State::Ended),
            Frame::Closing => (
                Ok(Event::default()
                    .comment("shutting down: reconnect with Last-Event-ID")
                    .retry(Duration::from_secs(1))),
                State::Ended,
            ),
        })
    })
}

impl OpenStream {
    /// Returns the next frame while the login is live.
    async fn next(&mut self) -> Option<Frame> {
        tokio::select! {
            // Checked first, so that a reply without pauses cannot hide the end of the login.
            biased;
            () = self.connection.ended() => None,
            frame = self.follower.next() => match frame {
                Ok(frame) => frame,
                Err(error) => {
                    tracing::warn!(%error, "failed to continue reply stream");
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
