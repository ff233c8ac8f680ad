//! The doors: HTTP routes of every API family, and what they share.
//!
//! A door is a folder: `mod.rs` lists its routes, `wire.rs` holds its own formats, the rest turns requests into use
//! cases of [`crate::app`] and their outcomes into answers. Doors use what stands beside this file and the use cases,
//! and nothing else: no SQL, no events, no other door.
//!
//! Order of the layers, outermost first: request id and answer headers → CORS → panics → limits → time limits and tracked tasks → routes.

pub mod accounts;
pub mod answer;
pub mod api;
pub mod auth;
pub mod chatkit;
pub mod client;
pub mod docs;
pub mod error;
pub mod extract;
pub mod frames;
pub mod health;
pub mod layers;
pub mod limits;
mod object;
pub mod request_id;
pub mod reset_page;
pub mod root;
pub mod serve;
pub mod socket;
pub mod sse;

use std::sync::Arc;
use std::time::Duration;

use aide::axum::ApiRouter;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;

use crate::app::Services;

/// What the doors share.
#[derive(Clone)]
pub struct Doors {
    /// The use cases.
    pub services: Arc<Services>,
    /// What can be set.
    pub settings: Arc<HttpSettings>,
}

/// What can be set about HTTP.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// The largest body, in bytes.
    pub max_body_bytes: usize,
    /// How long a request may take, reply waits included.
    pub request_timeout: Duration,
    /// Which pages of other origins may call us.
    pub cors: layers::CorsRule,
    /// Which proxies are believed about clients' addresses.
    pub proxies: client::Proxies,
    /// Head of the log when the process started: ready means that the read models have passed it.
    pub ready_from: i64,
    /// What links that clients are given begin with; none: with the `Host` of the request.
    pub public_url: Option<String>,
    /// What open connections may hold.
    pub sockets: crate::config::SocketsConfig,
    /// Whether this process only carries the log to NATS.
    pub needs_nats: bool,
}

/// Health and readiness only, for a process without the API.
pub fn bare_router(doors: Doors) -> Router {
    let mut api = docs::description();
    around(health::routes().finish_api(&mut api), doors)
}

/// Every route.
pub fn router(doors: Doors) -> Router {
    let mut api = docs::description();
    let router = ApiRouter::new()
        .merge(api::routes())
        .merge(chatkit::routes())
        .merge(root::routes())
        .merge(health::routes())
        .finish_api(&mut api);
    docs::complete(&mut api, &doors);
    around(router.merge(docs::routes(api)).merge(reset_page::routes()), doors)
}

/// What is around every route.
fn around(router: Router<Doors>, doors: Doors) -> Router {
    router
        .fallback(error::no_such_route)
        .method_not_allowed_fallback(error::no_such_method)
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn_with_state(doors.clone(), layers::positions))
        .layer(middleware::from_fn_with_state(doors.clone(), layers::tracked))
        .layer(middleware::from_fn_with_state(doors.clone(), limits::limited))
        .layer(layers::panics())
        .layer(layers::cors(&doors.settings.cors))
        .layer(middleware::from_fn_with_state(doors.clone(), layers::request))
        .with_state(doors)
}
