//! The API surfaces. Each translates one wire format into calls of the use cases in [`crate::app`].
//!
//! To add a surface, add a folder (or file) with a `routes` function here, declare it with a `mod` line, and list it in
//! `SURFACES`. Its routes, their OpenAPI description and the architecture test follow from the list.

pub mod api;
pub mod chatkit;
pub mod health;
pub mod password_reset;
pub mod root;
pub mod websocket;

use aide::axum::ApiRouter;
use axum::Extension;

use super::ApiState;
use super::extract::Surface;

/// The routes of one surface.
type Routes = fn() -> ApiRouter<ApiState>;

/// Every surface: the name recorded with the events of its commands, and its routes.
const SURFACES: &[(&str, Routes)] = &[
    ("api", api::routes),
    ("api", websocket::routes),
    ("chatkit", chatkit::routes),
    ("http", root::routes),
    ("http", health::routes),
    ("page", password_reset::routes),
];

/// Returns the routes of every surface.
pub(super) fn routes() -> ApiRouter<ApiState> {
    SURFACES.iter().fold(ApiRouter::new(), |router, (name, routes)| {
        router.merge(routes().layer(Extension(Surface(name))))
    })
}
