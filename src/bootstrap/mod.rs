//! Puts the parts together and runs them: `verbatim serve`.

mod baseline;
pub mod build;
pub mod database;
mod foundation;
pub mod lag;
mod purge;
pub mod secrets;
mod services;
mod workers;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use build::Built;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::net::TcpListener;

use crate::config::{Config, Cors, Role, Roles};
use crate::embedded::EmbeddedError;
use crate::http::transport::client_address::TrustedProxies;
use crate::http::transport::middleware::CorsRule;
use crate::http::{self, ApiState, HttpSettings};
use crate::lifecycle::{Lifecycle, Signals};
use crate::telemetry;

/// How long connections to the database may take to end, and the last spans to be sent, both at a time.
const CLOSE: Duration = Duration::from_secs(2);

/// Serves until a signal comes or something that is needed ends.
///
/// # Errors
/// Whatever keeps it from starting, as one plain sentence.
pub async fn serve(config: Config) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen().context("signals cannot be received")?;
    let lifecycle = Lifecycle::new();
    // Without anybody to fetch them, measurements would only pile up.
    let metrics = config.web.metrics.and_then(|_| telemetry::start_metrics());
    let traces = config.traces.as_ref().map(telemetry::export::start).transpose()?;
    let mut database = database::Opened::open(&config).await?;
    let secrets = secrets::Secrets::of(&config, database.embedded.as_ref())?;
    raise_file_limit();
    let listener = TcpListener::bind(config.web.listen)
        .await
        .with_context(|| format!("The address {} (HOST, PORT) cannot be listened on", config.web.listen))?;
    let address = listener.local_addr()?;
    let built = build::build(&config, &database, secrets, &lifecycle).await?;

    let router = router(&config, &built);
    lifecycle.service(http::transport::serve::serve(
        listener,
        router,
        config.sockets.serving(),
        lifecycle.stop_accepting.clone(),
        lifecycle.work.clone(),
    ));
    if let (Some(handle), Some(address)) = (metrics, config.web.metrics) {
        let local = http::transport::metrics::serve_metrics(handle, address, &lifecycle)
            .await
            .with_context(|| format!("The address {address} (METRICS_ADDR) cannot be listened on"))?;
        tracing::info!("metrics: http://{local}/metrics");
    }
    for note in &config.notes {
        tracing::warn!("{note}");
    }
    tracing::info!("{}", built.provider);
    if config.roles.has(Role::Api) || config.roles.has(Role::Worker) {
        tracing::info!("{}", built.mail);
    }
    tracing::info!("{}", database.describe());
    tracing::info!("files: {}", built.files.describe());
    if let Some(traces) = &config.traces {
        tracing::info!("traces: {}", traces.endpoint);
    }
    tracing::info!("Verbatim {} listens on http://{address}", crate::VERSION);

    let reason = tokio::select! {
        signal = signals.next() => Ok(signal),
        error = database.exited() => Err(error),
    };
    match &reason {
        Ok(signal) => tracing::info!("{signal}: shutting down"),
        Err(error) => tracing::error!("{error}"),
    }
    built.live_replies.close();
    let ended = tokio::select! {
        ended = lifecycle.shut_down(config.shutdown) => ended,
        signal = signals.next() => {
            tracing::warn!("{signal} again: leaving at once");
            return Ok(ExitCode::FAILURE);
        }
    };
    // A statement that hangs must not hold the exit up; the connections end with the process.
    let flushed = async {
        if let Some(traces) = traces {
            traces.flush(CLOSE).await;
        }
    };
    let (closed, ()) = tokio::join!(tokio::time::timeout(CLOSE, built.warm.close()), flushed);
    if closed.is_err() {
        tracing::warn!("connections to the database did not end in time");
    }
    if let (Some(embedded), Ok(_)) = (database.embedded.take(), &reason)
        && let Err(error) = embedded.stop().await
    {
        tracing::error!("{error}");
        return Ok(ExitCode::FAILURE);
    }
    tracing::info!(in_order = ended, "ended");
    Ok(if reason.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Lets this process have as many files, and so connections, open as the system allows: the usual default is made for
/// programs that count on a small number.
fn raise_file_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        if soft < hard { setrlimit(Resource::RLIMIT_NOFILE, hard, hard) } else { Ok(()) }
    });
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

/// What this process serves: the API, or only how it is.
pub fn router(config: &Config, built: &Built) -> Router {
    let settings = HttpSettings {
        max_body_bytes: config.web.max_body_bytes,
        request_timeout: config.web.request_timeout,
        cors: match &config.web.cors {
            Cors::Any => CorsRule::Any,
            Cors::Origins(origins) => {
                CorsRule::Listed(origins.iter().filter_map(|origin| origin.parse().ok()).collect())
            }
        },
        ready_from: built.ready_from,
        proxies: TrustedProxies {
            trusted: config.web.trusted_proxies.clone(),
            header: config.web.proxy_header,
        },
        public_url: config.files.public_url.clone(),
        sockets: config.sockets.clone(),
        needs_nats: config.roles == Roles::only(Role::Relay),
    };
    let state = ApiState { services: Arc::clone(&built.services), settings: Arc::new(settings) };
    if config.roles.has(Role::Api) { http::router(state) } else { http::probe_router(state) }
}

impl database::Opened {
    /// Becomes ready when the private server ends unexpectedly; never for another database.
    async fn exited(&mut self) -> EmbeddedError {
        match &mut self.embedded {
            Some(embedded) => embedded.exited().await,
            None => std::future::pending().await,
        }
    }
}
