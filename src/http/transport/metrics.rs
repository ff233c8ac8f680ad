//! The `/metrics` endpoint, for Prometheus, on an address of its own.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;

use super::serve::serve;
use crate::config::ServeLimits;
use crate::lifecycle::Lifecycle;

/// How often old samples are folded into the histograms.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);
/// Limits of the metrics listener.
const LIMITS: ServeLimits = ServeLimits { connections: 64, slow: Duration::from_secs(30) };

/// Serves `/metrics` on its own address and returns the address that was bound.
///
/// # Errors
/// Returns the I/O error when the address cannot be bound.
pub async fn serve_metrics(
    handle: PrometheusHandle,
    address: SocketAddr,
    lifecycle: &Lifecycle,
) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let local = listener.local_addr()?;
    let rendering = handle.clone();
    let router = Router::new().route("/metrics", get(move || std::future::ready(rendering.render())));
    lifecycle.service(serve(
        listener,
        router,
        LIMITS,
        lifecycle.stop_accepting.clone(),
        lifecycle.work.clone(),
    ));
    let stop = lifecycle.stop_services.clone();
    lifecycle.service(async move {
        loop {
            tokio::select! {
                () = tokio::time::sleep(UPKEEP_INTERVAL) => handle.run_upkeep(),
                () = stop.cancelled() => return,
            }
        }
    });
    Ok(local)
}
