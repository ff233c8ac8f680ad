//! Traces: the path of one request from the API through the log and NATS to the provider and the recorded reply, as spans
//! that a collector receives.
//!
//! Spans are created only here: [`spans`] lists all of them, and [`attributes`] lists all their attributes. Spans of
//! libraries and log messages are therefore never exported. A trace continues in other processes through the ids in the
//! metadata of events ([`parent`]).
//!
//! Without a collector's endpoint no spans are created: every function here then reads one atomic and returns.

pub mod attributes;
pub mod parent;
pub mod spans;

use std::borrow::Cow;
use std::future::Future;
use std::sync::OnceLock;
use std::time::SystemTime;

use futures::future::Either;
use opentelemetry::context::{Context, FutureExt as _, WithContext};
use opentelemetry::trace::{SpanId, SpanKind, Status, TraceContextExt as _, TraceId, Tracer as _};
use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::trace::SdkTracer;

use attributes::Attribute;
pub use parent::Parent;

/// The installed tracer; set once, if tracing is configured.
static TRACING: OnceLock<Tracing> = OnceLock::new();

struct Tracing {
    tracer: SdkTracer,
    /// Whether requests to AI providers carry the trace ids.
    tell_provider: bool,
}

/// Makes this process create spans with `tracer`; `tell_provider` adds trace ids to requests to AI providers. Returns
/// `false` when a tracer is installed already.
pub fn install(tracer: SdkTracer, tell_provider: bool) -> bool {
    TRACING.set(Tracing { tracer, tell_provider }).is_ok()
}

/// Returns whether this process creates spans.
pub fn is_enabled() -> bool {
    TRACING.get().is_some()
}

/// Returns the start time for a span that is created later; `None` if tracing is off.
pub fn start_time() -> Option<SystemTime> {
    is_enabled().then(opentelemetry::time::now)
}

/// Returns the ids of the current span.
pub fn current_ids() -> Option<(TraceId, SpanId)> {
    if !is_enabled() {
        return None;
    }
    Context::map_current(|context| {
        let span = context.span();
        let context = span.span_context();
        context.is_valid().then(|| (context.trace_id(), context.span_id()))
    })
}

/// Returns the `traceparent` to send to an AI provider; `None` unless configured.
pub fn provider_traceparent() -> Option<String> {
    TRACING.get().filter(|tracing| tracing.tell_provider)?;
    Context::map_current(|context| parent::format(context.span().span_context()))
}

/// Runs `future` within the current span, wherever it is polled.
pub fn in_current_span<F: Future>(future: F) -> Traced<F> {
    match TRACING.get() {
        Some(_) => Either::Left(future.with_current_context()),
        None => Either::Right(future),
    }
}

/// A future that may run within a span.
pub type Traced<F> = Either<WithContext<F>, F>;

/// A span that ends when it is dropped. Does nothing if tracing is off.
#[derive(Debug, Default)]
#[must_use = "the span ends when it is dropped"]
pub struct Span(Option<Context>);

impl Span {
    /// Starts a span. `describe` returns its name and attributes, and is called only if tracing is on.
    fn start(
        kind: SpanKind,
        parent: Parent,
        started: Option<SystemTime>,
        describe: impl FnOnce() -> (Cow<'static, str>, Vec<KeyValue>),
    ) -> Self {
        let Some(tracing) = TRACING.get() else { return Self(None) };
        let context = parent.context();
        let (name, attributes) = describe();
        let mut builder = tracing.tracer.span_builder(name).with_kind(kind).with_attributes(attributes);
        builder.start_time = started;
        let span = tracing.tracer.build_with_context(builder, &context);
        Self(Some(context.with_span(span)))
    }

    /// Runs `future` within this span: spans that it starts are children.
    pub fn run<F: Future>(&self, future: F) -> Traced<F> {
        match &self.0 {
            Some(context) => Either::Left(future.with_context(context.clone())),
            None => Either::Right(future),
        }
    }

    /// Runs a function within this span.
    pub fn in_scope<T>(&self, run: impl FnOnce() -> T) -> T {
        let _guard = self.0.clone().map(Context::attach);
        run()
    }

    /// Returns the ids with which another process continues the trace, whether the span is sampled or not.
    pub fn traceparent(&self) -> Option<String> {
        parent::format(self.0.as_ref()?.span().span_context())
    }

    /// Sets an attribute.
    fn set(&self, attribute: Attribute, value: impl Into<Value>) {
        if let Some(context) = &self.0
            && context.span().is_recording()
        {
            context.span().set_attribute(attribute.with(value));
        }
    }

    /// Marks the span as failed; `reason` is one of a few words.
    fn fail(&self, reason: &'static str) {
        self.set(Attribute::ErrorType, reason);
        if let Some(context) = &self.0 {
            context.span().set_status(Status::error(""));
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        // End it explicitly: futures that run in it may still hold the context.
        if let Some(context) = &self.0 {
            context.span().end();
        }
    }
}
