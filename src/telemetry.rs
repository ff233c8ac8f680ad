//! Logs and metrics.
//!
//! Logs go to standard error, as lines for people or JSON. Never logged: tokens, keys, passwords, message text, names,
//! addresses, query strings.

use std::net::SocketAddr;

use axum::Router;
use axum::routing::get;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{LogConfig, LogFormat};
use crate::http::serve::{ServeLimits, serve};
use crate::lifecycle::Lifecycle;

/// What is never logged, whatever the configured filter says: these libraries write down what they carry, word for word.
const WITHHELD: [&str; 2] = ["tungstenite=info", "tokio_tungstenite=info"];

/// Starts logging as configured. A second call changes nothing.
pub fn start_logs(config: &LogConfig) {
    let configured = EnvFilter::try_new(&config.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let withheld = WITHHELD.iter().filter_map(|directive| directive.parse().ok());
    let filter = withheld.fold(configured, EnvFilter::add_directive);
    let registry = tracing_subscriber::registry().with(filter);
    let writer = std::io::stderr;
    let started = match config.format {
        LogFormat::Json => {
            let layer = tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(writer);
            registry.with(layer).try_init()
        }
        LogFormat::Human => {
            registry.with(tracing_subscriber::fmt::layer().with_target(false).with_writer(writer)).try_init()
        }
    };
    if started.is_err() {
        tracing::debug!("logging had been started before");
    }
}

/// Starts counting. None when another recorder is installed already.
pub fn start_metrics() -> Option<PrometheusHandle> {
    let buckets = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &buckets)
        .ok()?
        .install_recorder()
        .ok()
}

/// Serves `/metrics` on its own address.
///
/// # Errors
/// The address cannot be had.
pub async fn serve_metrics(
    handle: PrometheusHandle,
    address: SocketAddr,
    lifecycle: &Lifecycle,
) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let local = listener.local_addr()?;
    let rendering = handle.clone();
    let router = Router::new().route("/metrics", get(move || std::future::ready(rendering.render())));
    let limits = ServeLimits { connections: 64, slow: std::time::Duration::from_secs(30) };
    lifecycle.service(serve(listener, router, limits, lifecycle.soft.clone(), lifecycle.work.clone()));
    let stop = lifecycle.last.clone();
    lifecycle.service(async move {
        loop {
            tokio::select! {
                () = tokio::time::sleep(std::time::Duration::from_secs(5)) => handle.run_upkeep(),
                () = stop.cancelled() => return,
            }
        }
    });
    Ok(local)
}
