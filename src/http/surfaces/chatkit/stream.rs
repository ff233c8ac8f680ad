//! The stream of one run: opening events, the reply while it is written, then the items it produced.
//!
//! A client cancels by disconnecting; [`CancelOnHangUp`], which is dropped with the response body, notices that. A
//! shutdown or an ended login is not a hang-up: the stream ends with an `error`, and the reply continues.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use aggregates::ids::MessageId;
use axum::body::{Body, Bytes};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures::stream;
use tokio::time::Instant;

use super::endpoint::Caller;
use super::items::{self, Shown};
use super::wire::{ErrorCode, IdKind, ItemUpdate, NoticeLevel, StreamEvent, TextStream, Timestamp, frame};
use crate::app::connections::ConnectionGuard;
use crate::app::conversations::Sent;
use crate::app::{Actor, AppError, RequestContext, Services};
use crate::http::transport::middleware::POSITION;
use crate::live::stream::Ended;
use crate::live::{Frame, ReplyFollower, Resume};

/// How long a stream may be silent before a progress event is sent.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(10);
/// How long the end of a stream waits for a title.
const TITLE_TIMEOUT: Duration = Duration::from_secs(1);
/// Maximum attempts to record a hang-up, and the interval between them.
const MAX_ATTEMPTS: u32 = 5;
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

const STILL_WORKING: &str = "Still working …";
const RETRYING: &str = "Trying again …";
const RESTARTING: &str = "The server is restarting. The answer continues: reopen the thread to see it.";
const SIGNED_OUT: &str = "You have been signed out.";
const STOPPED: &str = "The answer was stopped.";
const DELETED: &str = "The thread has been deleted.";
const INTERRUPTED: &str = "The stream was interrupted. Reopen the thread to see the answer.";

/// Responds with events that are all known.
pub(super) fn complete_response(events: &[StreamEvent], position: Option<i64>) -> Response {
    let body: Vec<u8> = events.iter().flat_map(frame).collect();
    sse_response(Body::from(body), position)
}

/// Responds with the stream of a run.
pub(super) fn respond(run: Run) -> Response {
    let position = run.sent.position;
    let frames = stream::unfold(run, |mut run| async move {
        let event = run.next().await?;
        Some((Ok::<Bytes, Infallible>(frame(&event)), run))
    });
    sse_response(Body::from_stream(frames), position)
}

fn sse_response(body: Body, position: Option<i64>) -> Response {
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // Proxies must not buffer events.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    if let Some(position) = position {
        headers.insert(POSITION, HeaderValue::from(position));
    }
    response
}

/// An open stream.
pub(super) struct Run {
    caller: Caller,
    connection: ConnectionGuard,
    sent: Sent,
    follower: ReplyFollower,
    text: TextStream,
    ready: VecDeque<StreamEvent>,
    hang_up: CancelOnHangUp,
    progress_at: Instant,
    /// Whether the thread had a title before the run.
    has_title: bool,
    over: bool,
}

impl Run {
    /// Creates the run of the reply that `sent` asked for. `opening` events precede the stream's options.
    pub(super) fn new(
        caller: Caller,
        connection: ConnectionGuard,
        sent: Sent,
        has_title: bool,
        opening: Vec<StreamEvent>,
    ) -> Self {
        let services = &caller.state.services;
        let follower = services.replies.follow(caller.actor, sent.reply, Resume::default(), sent.position);
        let text = TextStream::new(
            IdKind::Thread.write(sent.conversation.uuid()),
            IdKind::Message.write(sent.answer.uuid()),
            Timestamp(services.core.clock.now()),
        );
        let hang_up = CancelOnHangUp {
            services: Arc::clone(services),
            actor: caller.actor,
            context: RequestContext { key: None, ..caller.context.clone() },
            sent: sent.clone(),
            read: String::new(),
            // A repeated request does not cancel on hang-up: the first one may still be read.
            armed: !sent.replayed,
        };
        let mut ready = VecDeque::from(opening);
        ready.push_back(StreamEvent::options(true));
        let progress_at = Instant::now() + PROGRESS_INTERVAL;
        Self { caller, connection, sent, follower, text, ready, hang_up, progress_at, has_title, over: false }
    }

    /// Queues further events.
    pub(super) fn push(&mut self, event: impl IntoIterator<Item = StreamEvent>) {
        self.ready.extend(event);
    }

    /// Returns the next event; `None` at the end.
    async fn next(&mut self) -> Option<StreamEvent> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.hang_up.sends(&event);
                self.progress_at = Instant::now() + PROGRESS_INTERVAL;
                return Some(event);
            }
            if self.over {
                return None;
            }
            let step = tokio::select! {
                // Checked first, so that a reply without pauses cannot hide the end of the login.
                biased;
                () = self.connection.ended() => Step::SignedOut,
                frame = self.follower.next() => Step::Frame(frame.map_err(AppError::from)),
                () = tokio::time::sleep_until(self.progress_at) => Step::Silent,
            };
            self.take(step).await;
        }
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Silent => self.ready.push_back(progress(STILL_WORKING)),
            Step::SignedOut => self.end_with(SIGNED_OUT),
            Step::Frame(Err(error)) => {
                tracing::warn!(%error, "failed to continue reply stream");
                self.end_with(INTERRUPTED);
            }
            Step::Frame(Ok(None)) => self.end_with(INTERRUPTED),
            Step::Frame(Ok(Some(Frame::Closing))) => self.end_with(RESTARTING),
            Step::Frame(Ok(Some(Frame::Restart { .. }))) => {
                self.ready.extend(self.text.restart());
                self.ready.push_back(progress(RETRYING));
            }
            Step::Frame(Ok(Some(Frame::Delta { text, .. }))) => self.ready.extend(self.text.delta(&text)),
            Step::Frame(Ok(Some(Frame::Deleted))) => {
                self.ready.extend(self.text.give_up());
                self.end_with(DELETED);
            }
            Step::Frame(Ok(Some(Frame::End(ended)))) => {
                // The reply has ended: there is nothing left to cancel.
                self.hang_up.armed = false;
                if let Err(error) = self.end(&ended).await {
                    tracing::warn!(%error, "failed to load end of reply stream");
                    self.ready.push_back(failure(ErrorCode::Custom, Some(INTERRUPTED.to_owned()), false));
                }
                self.over = true;
            }
        }
    }

    /// Ends the stream with an error. The reply continues, or no longer exists.
    fn end_with(&mut self, why: &str) {
        self.hang_up.armed = false;
        self.ready.push_back(failure(ErrorCode::Custom, Some(why.to_owned()), false));
        self.over = true;
    }

    /// Queues what follows the end of the reply.
    async fn end(&mut self, ended: &Ended) -> Result<(), AppError> {
        let kept = ended.answer.as_ref();
        match kept.and_then(|answer| answer.text.as_deref().map(|text| (text, answer.created_at))) {
            Some((text, at)) => self.ready.extend(self.text.end(text, at.into())),
            None => self.ready.extend(self.text.give_up()),
        }
        let reply = &ended.reply;
        match reply.state.as_str() {
            "completed" => {}
            "cancelled" => {
                let message = STOPPED.to_owned();
                self.ready.push_back(StreamEvent::Notice { level: NoticeLevel::Info, message, title: None });
                return Ok(());
            }
            _ => {
                let message = reply.failure.as_deref().map(failure_message);
                self.ready.push_back(failure(ErrorCode::Stream, message, true));
            }
        }
        let Caller { state, actor, base, .. } = &self.caller;
        let conversation = self.sent.conversation;
        if !reply.items.is_empty() {
            let rows =
                state.services.conversations.reply_items(conversation, &reply.items, reply.position).await?;
            let shown = Shown::of(state, base, *actor, &rows).await?;
            self.ready.extend(rows.iter().filter_map(|row| shown.item(row)).map(StreamEvent::done));
        }
        // The title is generated along with the first answers; an existing title is not sent again.
        if !self.has_title {
            let row =
                state.services.conversations.wait_for_title(*actor, conversation, TITLE_TIMEOUT).await?;
            if row.title.is_some() {
                self.ready.push_back(StreamEvent::ThreadUpdated { thread: Box::new(items::thread(&row)) });
            }
        }
        Ok(())
    }
}

/// What a run waits for.
enum Step {
    Frame(Result<Option<Frame>, AppError>),
    SignedOut,
    Silent,
}

fn progress(text: &str) -> StreamEvent {
    StreamEvent::Progress { text: text.to_owned(), icon: None }
}

fn failure(code: ErrorCode, message: Option<String>, allow_retry: bool) -> StreamEvent {
    StreamEvent::Error { code, message, allow_retry }
}

/// Returns the user's text for the reason of a failure.
fn failure_message(reason: &str) -> String {
    match reason {
        "rate_limited" => "The model is receiving too many requests. Try again later.",
        "quota_exceeded" => "The quota of the AI provider is used up.",
        "key_missing" | "key_invalid" => "The model is unavailable: its key is missing or invalid.",
        "model_unknown" => "The model is unknown.",
        "content_filter" => "The model's filter refused to answer.",
        "too_long" => "The message or its answer is too long.",
        "timeout" | "deadline" => "The answer took too long.",
        _ => "The answer failed.",
    }
    .to_owned()
}

/// Cancels the reply when the response body is dropped before the end of the stream.
struct CancelOnHangUp {
    services: Arc<Services>,
    actor: Actor,
    context: RequestContext,
    sent: Sent,
    /// Text of the answer that was sent.
    read: String,
    armed: bool,
}

impl CancelOnHangUp {
    /// Records what is sent. Queued events do not count as read.
    fn sends(&mut self, event: &StreamEvent) {
        match event {
            StreamEvent::ItemUpdated { update, .. } => {
                if let ItemUpdate::TextDelta { delta, .. } = update.as_ref() {
                    self.read.push_str(delta);
                }
            }
            StreamEvent::ItemRemoved { .. } => self.read.clear(),
            _ => {}
        }
    }
}

impl Drop for CancelOnHangUp {
    fn drop(&mut self) {
        if !self.armed || self.services.stopping.is_cancelled() {
            return;
        }
        let (services, actor, context) = (self.services.clone(), self.actor, self.context.clone());
        let (sent, read) = (self.sent.clone(), std::mem::take(&mut self.read));
        // One id for all attempts.
        let note = MessageId::new(services.core.clock.id());
        self.services.tasks.spawn(async move {
            for _ in 0..MAX_ATTEMPTS {
                match services
                    .replies
                    .cancel_on_disconnect(&context, actor, (sent.conversation, sent.reply), &read, note)
                    .await
                {
                    Ok(()) => return metrics::counter!("verbatim_chatkit_hang_ups_total").increment(1),
                    Err(error) => {
                        tracing::warn!(%error, reply.id = %sent.reply, "failed to record hang-up, retrying");
                    }
                }
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
        });
    }
}
