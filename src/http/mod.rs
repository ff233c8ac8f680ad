//! HTTP: the API surfaces and what they share.
//!
//! [`surfaces`] holds one folder or file per API surface. A surface uses the use cases of [`crate::app`] and the shared
//! modules here: [`extract`] reads requests, [`formats`] holds wire formats that several surfaces share, [`errors`] turns
//! failures into responses, [`openapi`] describes the routes, and [`transport`] carries requests and responses.
//!
//! Middleware order, outermost first: request id and response headers, CORS, panics, rate limits, timeouts and tracked
//! tasks, wait for a position, routes.

pub mod errors;
pub mod extract;
pub mod formats;
pub mod openapi;
pub mod surfaces;
pub mod transport;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;

use crate::app::Services;
use surfaces::health;
use transport::{client_address, middleware, rate_limits};

/// State that every handler can use.
#[derive(Clone)]
pub struct ApiState {
    /// The use cases.
    pub services: Arc<Services>,
    /// HTTP settings.
    pub settings: Arc<HttpSettings>,
}

/// HTTP settings.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// Largest request body, in bytes.
    pub max_body_bytes: usize,
    /// Timeout of a request, including the wait for a reply.
    pub request_timeout: Duration,
    /// Origins whose pages may call the API.
    pub cors: middleware::CorsRule,
    /// Proxies whose forwarding headers are trusted.
    pub proxies: client_address::TrustedProxies,
    /// Head of the log when the process started. The process is ready once the read models have passed it.
    pub ready_from: i64,
    /// Base URL of the links that clients receive. If unset, the request's `Host` is used.
    pub public_url: Option<String>,
    /// Limits of open connections.
    pub sockets: crate::config::SocketsConfig,
    /// Whether readiness requires NATS: in a process that only runs the relay.
    pub needs_nats: bool,
}

/// Returns the health and readiness routes only, for a process without the API.
pub fn probe_router(state: ApiState) -> Router {
    let mut api = openapi::description();
    with_middleware(health::routes().finish_api(&mut api), state)
}

/// Returns every route.
pub fn router(state: ApiState) -> Router {
    let mut api = openapi::description();
    let router = surfaces::routes().finish_api(&mut api);
    openapi::complete(&mut api, &state);
    with_middleware(router.merge(openapi::routes(api)), state)
}

/// Wraps the routes in the middleware that all of them share.
fn with_middleware(router: Router<ApiState>, state: ApiState) -> Router {
    router
        .fallback(errors::no_such_route)
        .method_not_allowed_fallback(errors::no_such_method)
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state(state.clone(), middleware::await_position))
        .layer(from_fn_with_state(state.clone(), middleware::spawn_tracked))
        .layer(from_fn_with_state(state.clone(), rate_limits::enforce))
        .layer(middleware::catch_panics())
        .layer(middleware::cors(&state.settings.cors))
        .layer(from_fn_with_state(state.clone(), middleware::request))
        .with_state(state)
}
