//! The ChatKit door: one endpoint for everything that its front end asks, and what stands around it.
//!
//! [`wire`] holds its formats; [`endpoint`] takes every request and has it answered with a document (`queries`) or a stream
//! (`runs`, whose end is in `stream`); `actions` are what is done with widgets; `items` shows what stands in a conversation.
//! [`accounts`] signs people up and in; [`files`] takes and gives files, shown as [`attachment`]s.

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

/// Every route of this door.
pub fn routes() -> ApiRouter<ApiState> {
    ApiRouter::new().merge(endpoint::routes()).merge(accounts::routes()).merge(files::routes())
}
