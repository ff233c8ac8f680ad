//! Logs on standard error, as text or JSON. A line written within a trace contains its ids.

use std::fmt;

use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::FilterFn;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, format, layer};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{LogConfig, LogFormat};

/// Never logged below `info`, whatever the configured filter: these libraries log the content that they carry.
const CONTENT_TARGETS: [&str; 2] = ["tungstenite", "tokio_tungstenite"];

/// Suppresses [`CONTENT_TARGETS`]. A separate filter, because more specific directives win within one filter.
fn content_filter() -> FilterFn<fn(&Metadata<'_>) -> bool> {
    FilterFn::new(|metadata| {
        let module = metadata.target().split("::").next().unwrap_or_default();
        *metadata.level() <= Level::INFO || !CONTENT_TARGETS.contains(&module)
    })
}

/// Starts logging as configured; with `traced`, lines contain the ids of their trace. A second call does nothing.
pub fn start_logs(config: &LogConfig, traced: bool) {
    let configured = EnvFilter::try_new(&config.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let registry = tracing_subscriber::registry().with(configured).with(content_filter());
    let writer = std::io::stderr;
    let json = || format().json().flatten_event(true);
    let human = || format().with_target(false);
    let started = match (config.format, traced) {
        (LogFormat::Json, false) => {
            registry.with(layer().json().event_format(json()).with_writer(writer)).try_init()
        }
        (LogFormat::Json, true) => {
            registry.with(layer().json().event_format(TracedJson(json())).with_writer(writer)).try_init()
        }
        (LogFormat::Human, false) => {
            registry.with(layer().event_format(human()).with_writer(writer)).try_init()
        }
        (LogFormat::Human, true) => {
            registry.with(layer().event_format(TracedText(human())).with_writer(writer)).try_init()
        }
    };
    if started.is_err() {
        tracing::debug!("logging is already started");
    }
}

/// JSON lines with their trace at the top level, where log collectors look for it.
struct TracedJson<F>(F);

impl<S, N, F> FormatEvent<S, N> for TracedJson<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some((trace, span)) = traces::current_ids() else {
            return self.0.format_event(ctx, writer, event);
        };
        let mut line = String::with_capacity(512);
        self.0.format_event(ctx, Writer::new(&mut line), event)?;
        match line.trim_end().strip_suffix('}') {
            Some(open) => writeln!(writer, r#"{open},"trace_id":"{trace}","span_id":"{span}"}}"#),
            None => writer.write_str(&line),
        }
    }
}

/// Text lines that begin with their trace.
struct TracedText<F>(F);

impl<S, N, F> FormatEvent<S, N> for TracedText<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if let Some((trace, _)) = traces::current_ids() {
            write!(writer, "trace_id={trace} ")?;
        }
        self.0.format_event(ctx, writer, event)
    }
}

#[cfg(test)]
mod tests;
