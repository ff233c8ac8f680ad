//! Every span that there is, with what each says, from the door inwards.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use opentelemetry::Value;
use opentelemetry::trace::SpanKind;
use uuid::Uuid;

use super::attributes::Attribute as A;
use super::{Parent, Span, is_on};

/// A request at a door, up to the head of its answer; `told` is what the caller says of its own trace.
pub fn request(method: &'static str, route: &str, request: &str, told: Option<&str>) -> Span {
    Span::begin(SpanKind::Server, Parent::told(told), None, || {
        let said = vec![
            A::HttpMethod.with(method),
            A::HttpRoute.with(route.to_owned()),
            A::RequestId.with(request.to_owned()),
        ];
        (format!("{method} {route}").into(), said)
    })
}

/// A frame of a socket that asks for something. It begins a trace: a socket may stay open for days.
pub fn frame(kind: &'static str, request: &str) -> Span {
    Span::begin(SpanKind::Server, Parent::Told(None), None, || {
        (format!("frame {kind}").into(), vec![A::Frame.with(kind), A::RequestId.with(request.to_owned())])
    })
}

/// A command, from loading its aggregates to what came of it.
pub fn command<'a>(surface: &str, aggregates: impl Iterator<Item = &'a str>) -> Span {
    Span::begin(SpanKind::Internal, Parent::Current, None, || {
        let mut types: Vec<&str> = aggregates.collect();
        types.dedup();
        let types = types.join(",");
        (Cow::Borrowed("command"), vec![A::Surface.with(surface.to_owned()), A::Aggregates.with(types)])
    })
}

/// An append: the wait for others that share its transaction, and the transaction.
pub fn append(events: usize) -> Span {
    Span::begin(SpanKind::Client, Parent::Current, None, || {
        (Cow::Borrowed("append"), vec![A::DbSystem.with("postgresql"), A::Events.with(integer(events))])
    })
}

/// How long after it was recorded an event is still published as part of its trace. Later, a stream is filled again.
const LATE: Duration = Duration::from_secs(600);

/// A public event on its way to NATS, up to its acknowledgement, as part of the trace that its metadata names; nothing
/// when they name none, or did so long ago.
pub fn publish(
    event: &'static str,
    subject: &str,
    id: &str,
    recorded: SystemTime,
    told: Option<&str>,
) -> Span {
    let late = || opentelemetry::time::now().duration_since(recorded).is_ok_and(|age| age > LATE);
    let parent = Parent::told(told.filter(|_| is_on() && !late()));
    if !matches!(parent, Parent::Told(Some(_))) {
        return Span::default();
    }
    Span::begin(SpanKind::Producer, parent, None, || {
        let said = vec![
            A::MessagingSystem.with("nats"),
            A::MessagingOperation.with("publish"),
            A::MessagingOperationType.with("send"),
            A::MessagingDestination.with(subject.to_owned()),
            A::MessagingMessageId.with(id.to_owned()),
        ];
        (format!("publish {event}").into(), said)
    })
}

/// An attempt at a reply. It goes on with the trace that asked for the reply, whenever and wherever that was.
pub fn attempt(
    reply: Uuid,
    conversation: Uuid,
    attempt: u32,
    waited: Duration,
    asked: Option<&str>,
    began: Option<SystemTime>,
) -> Span {
    Span::begin(SpanKind::Consumer, Parent::told(asked), began, || {
        let said = vec![
            A::ReplyId.with(reply.to_string()),
            A::ConversationId.with(conversation.to_string()),
            A::Attempt.with(i64::from(attempt)),
            A::WaitedMs.with(i64::try_from(waited.as_millis()).unwrap_or(i64::MAX)),
        ];
        (Cow::Borrowed("reply.attempt"), said)
    })
}

/// What a provider is to be sent is read and put together.
pub fn context(began: Option<SystemTime>) -> Span {
    Span::begin(SpanKind::Internal, Parent::Current, began, || (Cow::Borrowed("reply.context"), Vec::new()))
}

/// A title is asked for and recorded.
pub fn title() -> Span {
    Span::begin(SpanKind::Internal, Parent::Current, None, || (Cow::Borrowed("reply.title"), Vec::new()))
}

/// A call of an AI provider, as the conventions for generative AI have it, without a word of what was said.
pub fn chat(
    provider: &'static str,
    model: &str,
    conversation: Uuid,
    max_tokens: u32,
    temperature: Option<f32>,
) -> Span {
    Span::begin(SpanKind::Client, Parent::Current, None, || {
        let mut said = vec![
            A::GenAiOperation.with("chat"),
            A::GenAiProvider.with(provider),
            A::GenAiRequestModel.with(model.to_owned()),
            A::ConversationId.with(conversation.to_string()),
            A::GenAiMaxTokens.with(i64::from(max_tokens)),
        ];
        said.extend(temperature.map(|temperature| A::GenAiTemperature.with(f64::from(temperature))));
        (format!("chat {model}").into(), said)
    })
}

/// What an attempt came to is recorded.
pub fn record() -> Span {
    Span::begin(SpanKind::Internal, Parent::Current, None, || (Cow::Borrowed("reply.record"), Vec::new()))
}

impl Span {
    /// The request was answered with this status.
    pub fn answered(&self, status: u16) {
        self.set(A::HttpStatus, i64::from(status));
        if status >= 500 {
            self.fail("server_error");
        }
    }

    /// What was to be done came to this, in one word.
    pub fn ended(&self, outcome: &'static str) {
        self.set(A::Outcome, outcome);
    }

    /// The log stands here now.
    pub fn reached(&self, position: i64) {
        self.set(A::Position, position);
    }

    /// It did not work, for this reason.
    pub fn failed(&self, reason: &'static str) {
        self.fail(reason);
    }

    /// The context is put together.
    pub fn built(&self, turns: usize, files: usize) {
        self.set(A::ContextTurns, integer(turns));
        self.set(A::ContextFiles, integer(files));
    }

    /// The first text has come.
    pub fn first_text(&self, after: Duration) {
        self.set(A::GenAiFirstChunk, after.as_secs_f64());
    }

    /// The provider has said that it is done.
    pub fn completed(&self, finish: &'static str, model: &str, id: Option<&str>, usage: Option<(u32, u32)>) {
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
