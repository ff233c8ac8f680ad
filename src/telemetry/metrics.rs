//! Prometheus metrics, served on their own address.

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// Upper bounds of histograms in seconds: from an append to the longest reply.
const BUCKETS: [f64; 16] =
    [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 180.0];

/// Counters without labels, initialized to 0: a counter that appears with its first count shows no increase to an alert.
const COUNTERS: [&str; 17] = [
    "verbatim_append_conflicts_total",
    "verbatim_append_batches_split_total",
    "verbatim_chatkit_hang_ups_total",
    "verbatim_connections_refused_total",
    "verbatim_consumer_failures_total",
    "verbatim_events_appended_total",
    "verbatim_file_objects_swept_total",
    "verbatim_file_sweep_failures_total",
    "verbatim_files_stored_total",
    "verbatim_live_rejected_total",
    "verbatim_log_read_failures_total",
    "verbatim_panics_total",
    "verbatim_relay_failures_total",
    "verbatim_relay_published_total",
    "verbatim_slow_clients_cut_total",
    "verbatim_spans_exported_total",
    "verbatim_tool_calls_rejected_total",
];

/// Counters with one label, whose values are known.
const LABELLED: [(&str, &str, &[&str]); 6] = [
    ("verbatim_command_failures_total", "reason", &["busy", "unavailable", "internal"]),
    ("verbatim_file_store_failures_total", "reason", &["full", "failed", "missing"]),
    ("verbatim_reply_attempts_total", "outcome", &["done", "retry", "dead"]),
    ("verbatim_sign_ins_total", "outcome", &["accepted", "rejected", "locked"]),
    ("verbatim_spans_dropped_total", "reason", &["queue_full", "rejected"]),
    (
        "verbatim_throttled_total",
        "policy",
        &[
            "rate", "messages", "tokens", "at_once", "reads", "commands", "sign_in", "register", "refresh",
            "reset", "claim",
        ],
    ),
];

/// Starts the recorder. Returns `None` if another one is installed already.
pub fn start_metrics() -> Option<PrometheusHandle> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &BUCKETS)
        .ok()?
        .install_recorder()
        .ok()?;
    for name in COUNTERS {
        metrics::counter!(name).increment(0);
    }
    for (name, label, values) in LABELLED {
        for value in values {
            metrics::counter!(name, label => *value).increment(0);
        }
    }
    Some(handle)
}
