//! Logs, on standard error, as lines for people or JSON. A line that is written within a trace names it.

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

/// What is never logged below `info`, whatever the configured filter says: these libraries write down what they carry, word for
/// word.
const WITHHELD: [&str; 2] = ["tungstenite", "tokio_tungstenite"];

/// Keeps back what is [`WITHHELD`]. A filter of its own: among the directives of one, the more specific ones win.
fn withheld() -> FilterFn<fn(&Metadata<'_>) -> bool> {
    FilterFn::new(|metadata| {
        let module = metadata.target().split("::").next().unwrap_or_default();
        *metadata.level() <= Level::INFO || !WITHHELD.contains(&module)
    })
}

/// Starts logging as configured; `traced`: lines are to name the trace that they belong to. A second call changes nothing.
pub fn start_logs(config: &LogConfig, traced: bool) {
    let configured = EnvFilter::try_new(&config.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let registry = tracing_subscriber::registry().with(configured).with(withheld());
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
        tracing::debug!("logging had been started before");
    }
}

/// JSON lines that name their trace at the top level, where those who collect logs look for it.
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

/// Lines for people that begin with their trace.
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
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use opentelemetry::trace::TraceContextExt as _;
    use serde_json::Value;
    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    /// What was written.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Written {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    #[test]
    fn whatever_stands_in_a_field_a_line_stays_one_line() {
        let nasty =
            "first\r\nsecond\n{\"level\":\"ERROR\"}\u{1b}[31mred\u{1b}]0;title\u{7}\u{2028}\u{85}\"\\";
        let written = Written::default();
        let events = || format().json().flatten_event(true);
        let plain = layer().json().event_format(events()).with_writer(written.clone());
        let traced = layer().json().event_format(TracedJson(events())).with_writer(written.clone());
        let registry = tracing_subscriber::registry().with(plain).with(traced);
        tracing::subscriber::with_default(registry, || {
            let span = tracing::info_span!("http.request", http.route = %nasty);
            let _entered = span.enter();
            tracing::warn!(shown = %nasty, debugged = ?nasty, value = nasty, "said: {nasty}");
        });
        let written = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<&str> = written.split_terminator('\n').collect();
        assert_eq!(lines.len(), 2, "{written}");
        for line in lines {
            assert!(!line.contains(|c: char| c.is_ascii_control()), "{line:?}");
            let line: Value = serde_json::from_str(line).unwrap();
            assert_eq!((&line["shown"], &line["value"]), (&Value::from(nasty), &Value::from(nasty)));
            assert_eq!(line["span"]["http.route"], nasty);
            assert_eq!(line["level"], "WARN");
        }
    }

    /// The words of sockets stand in no log, however closely somebody looks.
    #[test]
    fn no_filter_brings_what_libraries_carry_into_the_log() {
        for configured in [
            "trace",
            "tungstenite::protocol=trace",
            "info,tungstenite::protocol::frame=trace,tokio_tungstenite=debug",
        ] {
            let written = Written::default();
            let lines = layer().json().with_writer(written.clone());
            let filter = EnvFilter::try_new(configured).unwrap();
            let registry = tracing_subscriber::registry().with(filter).with(withheld()).with(lines);
            tracing::subscriber::with_default(registry, || {
                tracing::trace!(target: "tungstenite", "canary");
                tracing::trace!(target: "tungstenite::protocol", "canary");
                tracing::trace!(target: "tungstenite::protocol::frame", "canary");
                tracing::debug!(target: "tokio_tungstenite::compat", "canary");
                tracing::error!(target: "tungstenite::protocol", "broken");
            });
            let written = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
            assert!(!written.contains("canary"), "{configured}: {written}");
            assert!(written.contains("broken"), "{configured}: {written}");
        }
    }

    #[test]
    fn without_a_trace_a_line_names_none() {
        assert!(!opentelemetry::Context::current().has_active_span());
        assert_eq!(traces::current_ids(), None);
    }
}
