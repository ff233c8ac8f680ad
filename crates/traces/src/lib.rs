//! Traces: what one request sets off, from the door over the log and NATS to the provider and the recorded reply, as spans
//! that are sent to a collector.
//!
//! Spans are made here and nowhere else: [`spans`] lists every one of them, [`attributes`] everything that one may say. So
//! no library's own spans, and nothing that somebody happened to log, can come to be exported. A trace goes on in other
//! processes by its ids ([`parent`]), which stand in the metadata of events.
//!
//! Without an endpoint nothing is made: every function here then looks at one atomic and returns.

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

/// What spans are made with; set once, when the process makes any.
static TRACING: OnceLock<Tracing> = OnceLock::new();

struct Tracing {
    tracer: SdkTracer,
    /// Whether the AI provider is told the ids of the trace.
    tell_provider: bool,
}

/// Makes this process create spans with `tracer`; `tell_provider` adds trace ids to requests to AI providers. Returns
/// `false` when a tracer is installed already.
pub fn install(tracer: SdkTracer, tell_provider: bool) -> bool {
    TRACING.set(Tracing { tracer, tell_provider }).is_ok()
}

/// Whether this process makes spans.
pub fn is_on() -> bool {
    TRACING.get().is_some()
}

/// The time at which a span may begin that is made only later; none when no spans are made.
pub fn now() -> Option<SystemTime> {
    is_on().then(opentelemetry::time::now)
}

/// The ids of the span that is under way here.
pub fn current_ids() -> Option<(TraceId, SpanId)> {
    if !is_on() {
        return None;
    }
    Context::map_current(|context| {
        let span = context.span();
        let context = span.span_context();
        context.is_valid().then(|| (context.trace_id(), context.span_id()))
    })
}

/// What an AI provider is told of the span that is under way here; nothing, unless it was configured.
pub fn for_provider() -> Option<String> {
    TRACING.get().filter(|tracing| tracing.tell_provider)?;
    Context::map_current(|context| parent::write(context.span().span_context()))
}

/// Has `future` go on in the span that is under way here, wherever it is polled.
pub fn carried<F: Future>(future: F) -> Traced<F> {
    match TRACING.get() {
        Some(_) => Either::Left(future.with_current_context()),
        None => Either::Right(future),
    }
}

/// A future that may be part of a span.
pub type Traced<F> = Either<WithContext<F>, F>;

/// A span, ended when it is dropped; or nothing, when none are made.
#[derive(Debug, Default)]
#[must_use = "it ends when it is dropped"]
pub struct Span(Option<Context>);

impl Span {
    /// Begins a span. What is said of it is only put together when one is made.
    fn begin(
        kind: SpanKind,
        parent: Parent,
        began: Option<SystemTime>,
        say: impl FnOnce() -> (Cow<'static, str>, Vec<KeyValue>),
    ) -> Self {
        let Some(tracing) = TRACING.get() else { return Self(None) };
        let context = parent.context();
        let (name, attributes) = say();
        let mut builder = tracing.tracer.span_builder(name).with_kind(kind).with_attributes(attributes);
        builder.start_time = began;
        let span = tracing.tracer.build_with_context(builder, &context);
        Self(Some(context.with_span(span)))
    }

    /// Has `future` be part of this span: what begins within it is its child.
    pub fn around<F: Future>(&self, future: F) -> Traced<F> {
        match &self.0 {
            Some(context) => Either::Left(future.with_context(context.clone())),
            None => Either::Right(future),
        }
    }

    /// The same for what does not wait.
    pub fn within<T>(&self, act: impl FnOnce() -> T) -> T {
        let _guard = self.0.clone().map(Context::attach);
        act()
    }

    /// What another process goes on with: the ids of this span, whether it is recorded or not.
    pub fn traceparent(&self) -> Option<String> {
        parent::write(self.0.as_ref()?.span().span_context())
    }

    /// Says something of it.
    fn set(&self, attribute: Attribute, value: impl Into<Value>) {
        if let Some(context) = &self.0
            && context.span().is_recording()
        {
            context.span().set_attribute(attribute.with(value));
        }
    }

    /// It came to nothing, for a reason that is one of a few words.
    fn fail(&self, reason: &'static str) {
        self.set(Attribute::ErrorType, reason);
        if let Some(context) = &self.0 {
            context.span().set_status(Status::error(""));
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        // Futures that were carried may still hold it.
        if let Some(context) = &self.0 {
            context.span().end();
        }
    }
}
