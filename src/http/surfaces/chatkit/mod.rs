//! The ChatKit surface: one endpoint for all requests of its front end, plus accounts and files.
//!
//! [`wire`] holds the formats. [`endpoint`] parses every request and dispatches it to a document (`queries`) or a
//! stream (`runs`, which `stream` carries on). `actions` handles widget actions; `items` shows a conversation's items.
//! [`accounts`] signs users up and in; [`files`] stores and returns files, shown as [`attachment`]s.

pub mod accounts;
mod actions;
pub mod attachment;
mod body;
pub mod endpoint;
pub mod files;
mod items;
mod queries;
mod runs;
mod stream;
pub mod wire;

use aide::axum::ApiRouter;

use crate::http::ApiState;

/// Returns the routes of the surface.
pub fn routes() -> ApiRouter<ApiState> {
    ApiRouter::new().merge(endpoint::routes()).merge(accounts::routes()).merge(files::routes())
}
