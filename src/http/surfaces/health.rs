//! `/health` for people and monitors, `/livez` and `/readyz` for orchestrators.

use aide::axum::ApiRouter;
use aide::axum::routing::get_with;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

use crate::http::ApiState;

/// Returns the routes.
pub fn routes() -> ApiRouter<ApiState> {
    ApiRouter::new()
        .api_route(
            "/health",
            get_with(health, |op| {
                op.id("health")
                    .tag("service")
                    .summary("Get the health of the service")
                    .response::<200, Json<Health>>()
                    .response::<503, Json<Health>>()
            }),
        )
        .api_route(
            "/livez",
            get_with(livez, |op| {
                op.id("livez").tag("service").summary("The process runs").response::<200, Json<Liveness>>()
            }),
        )
        .api_route(
            "/readyz",
            get_with(readyz, |op| {
                op.id("readyz")
                    .tag("service")
                    .summary(
                        "Whether requests can be served: read models have passed the log's head at start",
                    )
                    .response::<200, Json<Readiness>>()
                    .response::<503, Json<Readiness>>()
            }),
        )
}

/// Health of the service.
#[derive(Debug, Serialize, JsonSchema)]
struct Health {
    /// `healthy` or `unhealthy`.
    #[schemars(extend("enum" = ["healthy", "unhealthy"]))]
    status: &'static str,
    /// `connected` or `disconnected`.
    database: &'static str,
    /// The event log.
    event_store: EventStore,
    /// The read models.
    projections: Vec<Projection>,
    /// `connected` or `disconnected`; absent without NATS.
    #[serde(skip_serializing_if = "Option::is_none")]
    nats: Option<&'static str>,
    /// The relay of this process; absent when it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    relay: Option<Relay>,
    /// AI providers in the order in which they are asked, as this process sees them.
    providers: Vec<Provider>,
}

/// An AI provider with one of its keys.
#[derive(Debug, Serialize, JsonSchema)]
struct Provider {
    /// Provider name.
    name: &'static str,
    /// Number of the key; absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<u32>,
    /// `closed`, or `open`: the provider kept failing and only gets an occasional probe.
    circuit: &'static str,
    /// Code of the last failure since the last success.
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<&'static str>,
}

/// The relay of this process.
#[derive(Debug, Serialize, JsonSchema)]
struct Relay {
    /// Position up to which the relay has published; 0 while another process' relay is active.
    position: i64,
    /// `running`, or `stopped` until an operator intervenes.
    status: &'static str,
}

/// The event log.
#[derive(Debug, Serialize, JsonSchema)]
struct EventStore {
    /// Highest settled position.
    position: Option<i64>,
}

/// One read model.
#[derive(Debug, Serialize, JsonSchema)]
struct Projection {
    /// Name of the read model.
    name: &'static str,
    /// Position of the last applied event.
    position: i64,
    /// Number of positions the read model is behind.
    lag: i64,
    /// `running`, or `stopped` at an event that it cannot apply.
    status: &'static str,
}

async fn health(State(state): State<ApiState>) -> (StatusCode, Json<Health>) {
    let health = state.services.health.check().await;
    let healthy = health.is_healthy();
    let body = Health {
        status: if healthy { "healthy" } else { "unhealthy" },
        database: if health.settled.is_some() { "connected" } else { "disconnected" },
        event_store: EventStore { position: health.settled },
        projections: health
            .models
            .iter()
            .map(|model| Projection {
                name: model.name,
                position: model.position,
                lag: health.settled.map_or(0, |settled| (settled - model.position).max(0)),
                status: status(model.stopped),
            })
            .collect(),
        nats: health.nats.map(|connected| if connected { "connected" } else { "disconnected" }),
        relay: health.relay.map(|relay| Relay { position: relay.position, status: status(relay.stopped) }),
        providers: health
            .providers
            .iter()
            .map(|one| Provider {
                name: one.provider,
                key: one.key,
                circuit: if one.open { "open" } else { "closed" },
                trouble: one.trouble,
            })
            .collect(),
    };
    (if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, Json(body))
}

fn status(stopped: bool) -> &'static str {
    if stopped { "stopped" } else { "running" }
}

/// Liveness of the process.
#[derive(Debug, Serialize, JsonSchema)]
struct Liveness {
    /// Always `alive`.
    #[schemars(extend("const" = "alive"))]
    status: &'static str,
}

async fn livez() -> Json<Liveness> {
    Json(Liveness { status: "alive" })
}

/// Readiness of the process.
#[derive(Debug, Serialize, JsonSchema)]
struct Readiness {
    /// `ready` or `not_ready`.
    #[schemars(extend("enum" = ["ready", "not_ready"]))]
    status: &'static str,
    /// Reasons why the process is not ready.
    missing: Vec<String>,
}

async fn readyz(State(state): State<ApiState>) -> (StatusCode, Json<Readiness>) {
    let mut missing = Vec::new();
    if state.services.stopping.is_cancelled() {
        missing.push("shutting down".to_owned());
    }
    let health = state.services.health.check().await;
    if health.settled.is_none() {
        missing.push("database".to_owned());
    }
    // Replies work without NATS. A process that only runs the relay has no use without it.
    if !state.settings.needs_nats {
        for model in state.services.health.behind(state.settings.ready_from) {
            missing.push(format!("read model {model}"));
        }
    } else if health.nats != Some(true) {
        missing.push("NATS".to_owned());
    }
    let (code, status) = if missing.is_empty() {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not_ready")
    };
    (code, Json(Readiness { status, missing }))
}
