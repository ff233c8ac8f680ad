//! Every span with its attributes, from the API inwards.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use opentelemetry::Value;
use opentelemetry::trace::SpanKind;
use uuid::Uuid;

use super::attributes::Attribute as A;
use super::{Parent, Span, is_enabled};

/// Starts the span of an HTTP request, until the head of its response. `traceparent` is the caller's header.
pub fn request(method: &'static str, route: &str, request: &str, traceparent: Option<&str>) -> Span {
    Span::start(SpanKind::Server, Parent::from_traceparent(traceparent), None, || {
        let attributes = vec![
            A::HttpMethod.with(method),
            A::HttpRoute.with(route.to_owned()),
            A::RequestId.with(request.to_owned()),
        ];
        (format!("{method} {route}").into(), attributes)
    })
}

/// Starts the span of a WebSocket frame with a command. It starts a trace, because sockets stay open for days.
pub fn frame(kind: &'static str, request: &str) -> Span {
    Span::start(SpanKind::Server, Parent::Remote(None), None, || {
        (format!("frame {kind}").into(), vec![A::Frame.with(kind), A::RequestId.with(request.to_owned())])
    })
}

/// Starts the span of a command, from loading its aggregates to its outcome.
pub fn command<'a>(surface: &str, aggregates: impl Iterator<Item = &'a str>) -> Span {
    Span::start(SpanKind::Internal, Parent::Current, None, || {
        let mut types: Vec<&str> = aggregates.collect();
        types.dedup();
        let types = types.join(",");
        (Cow::Borrowed("command"), vec![A::Surface.with(surface.to_owned()), A::Aggregates.with(types)])
    })
}

/// Starts the span of an append: the wait for the group commit, and the transaction.
pub fn append(events: usize) -> Span {
    Span::start(SpanKind::Client, Parent::Current, None, || {
        (Cow::Borrowed("append"), vec![A::DbSystem.with("postgresql"), A::Events.with(integer(events))])
    })
}

/// Maximum age of an event that is published as part of its trace. Older events are published when a stream is refilled.
const MAX_PUBLISH_AGE: Duration = Duration::from_secs(600);

/// Starts the span of publishing a public event, until its acknowledgement, in the trace that its metadata name. Does
/// nothing if they name none or the event is old.
pub fn publish(
    event: &'static str,
    subject: &str,
    id: &str,
    recorded: SystemTime,
    traceparent: Option<&str>,
) -> Span {
    let is_old =
        || opentelemetry::time::now().duration_since(recorded).is_ok_and(|age| age > MAX_PUBLISH_AGE);
    let parent = Parent::from_traceparent(traceparent.filter(|_| is_enabled() && !is_old()));
    if !matches!(parent, Parent::Remote(Some(_))) {
        return Span::default();
    }
    Span::start(SpanKind::Producer, parent, None, || {
        let attributes = vec![
            A::MessagingSystem.with("nats"),
            A::MessagingOperation.with("publish"),
            A::MessagingOperationType.with("send"),
            A::MessagingDestination.with(subject.to_owned()),
            A::MessagingMessageId.with(id.to_owned()),
        ];
        (format!("publish {event}").into(), attributes)
    })
}

/// Starts the span of an attempt at a reply, in the trace of the request (`requested_by`).
pub fn attempt(
    reply: Uuid,
    conversation: Uuid,
    attempt: u32,
    queued: Duration,
    requested_by: Option<&str>,
    started: Option<SystemTime>,
) -> Span {
    Span::start(SpanKind::Consumer, Parent::from_traceparent(requested_by), started, || {
        let attributes = vec![
            A::ReplyId.with(reply.to_string()),
            A::ConversationId.with(conversation.to_string()),
            A::Attempt.with(i64::from(attempt)),
            A::QueuedMs.with(i64::try_from(queued.as_millis()).unwrap_or(i64::MAX)),
        ];
        (Cow::Borrowed("reply.attempt"), attributes)
    })
}

/// Starts the span of building the prompt.
pub fn context(started: Option<SystemTime>) -> Span {
    Span::start(SpanKind::Internal, Parent::Current, started, || (Cow::Borrowed("reply.context"), Vec::new()))
}

/// Starts the span of requesting and recording a title.
pub fn title() -> Span {
    Span::start(SpanKind::Internal, Parent::Current, None, || (Cow::Borrowed("reply.title"), Vec::new()))
}

/// Starts the span of a provider call, following OpenTelemetry's conventions for generative AI, without content.
pub fn chat(
    provider: &'static str,
    model: &str,
    conversation: Uuid,
    max_tokens: u32,
    temperature: Option<f32>,
) -> Span {
    Span::start(SpanKind::Client, Parent::Current, None, || {
        let mut attributes = vec![
            A::GenAiOperation.with("chat"),
            A::GenAiProvider.with(provider),
            A::GenAiRequestModel.with(model.to_owned()),
            A::ConversationId.with(conversation.to_string()),
            A::GenAiMaxTokens.with(i64::from(max_tokens)),
        ];
        attributes.extend(temperature.map(|temperature| A::GenAiTemperature.with(f64::from(temperature))));
        (format!("chat {model}").into(), attributes)
    })
}

/// Starts the span of recording an attempt's outcome.
pub fn record() -> Span {
    Span::start(SpanKind::Internal, Parent::Current, None, || (Cow::Borrowed("reply.record"), Vec::new()))
}

impl Span {
    /// Records the status of the response.
    pub fn record_status(&self, status: u16) {
        self.set(A::HttpStatus, i64::from(status));
        if status >= 500 {
            self.fail("server_error");
        }
    }

    /// Records the outcome, in one word.
    pub fn record_outcome(&self, outcome: &'static str) {
        self.set(A::Outcome, outcome);
    }

    /// Records the position of the last event.
    pub fn record_position(&self, position: i64) {
        self.set(A::Position, position);
    }

    /// Records a failure, in one word.
    pub fn record_failure(&self, reason: &'static str) {
        self.fail(reason);
    }

    /// Records the size of the prompt.
    pub fn record_prompt(&self, turns: usize, files: usize) {
        self.set(A::ContextTurns, integer(turns));
        self.set(A::ContextFiles, integer(files));
    }

    /// Records the time to the first text.
    pub fn record_first_text(&self, after: Duration) {
        self.set(A::GenAiFirstChunk, after.as_secs_f64());
    }

    /// Records the provider's completion.
    pub fn record_completion(
        &self,
        finish: &'static str,
        model: &str,
        id: Option<&str>,
        usage: Option<(u32, u32)>,
    ) {
        self.set(A::GenAiFinishReasons, Value::Array(vec![opentelemetry::StringValue::from(finish)].into()));
        self.set(A::GenAiResponseModel, model.to_owned());
        if let Some(id) = id {
            self.set(A::GenAiResponseId, id.to_owned());
        }
        if let Some((input, output)) = usage {
            self.set(A::GenAiInputTokens, i64::from(input));
            self.set(A::GenAiOutputTokens, i64::from(output));
        }
    }
}

fn integer(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
