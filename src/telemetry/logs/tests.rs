use std::io;
use std::sync::{Arc, Mutex};

use opentelemetry::trace::TraceContextExt as _;
use serde_json::Value;
use tracing_subscriber::fmt::MakeWriter;

use super::*;

/// Captures what was written.
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
fn line_with_any_field_value_stays_one_line() {
    let nasty = "first\r\nsecond\n{\"level\":\"ERROR\"}\u{1b}[31mred\u{1b}]0;title\u{7}\u{2028}\u{85}\"\\";
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

/// Socket content is in no log, whatever the filter.
#[test]
fn no_filter_logs_content_of_libraries() {
    for configured in [
        "trace",
        "tungstenite::protocol=trace",
        "info,tungstenite::protocol::frame=trace,tokio_tungstenite=debug",
    ] {
        let written = Written::default();
        let lines = layer().json().with_writer(written.clone());
        let filter = EnvFilter::try_new(configured).unwrap();
        let registry = tracing_subscriber::registry().with(filter).with(content_filter()).with(lines);
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
fn line_without_a_trace_names_none() {
    assert!(!opentelemetry::Context::current().has_active_span());
    assert_eq!(traces::current_ids(), None);
}
