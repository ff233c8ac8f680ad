//! The chat API: accounts, chat with streaming, history, replies.
//!
//! [`wire`] holds its formats; [`accounts`], [`chat`], [`history`] and [`replies`] its routes.

pub mod accounts;
pub mod answer;
pub mod chat;
pub mod history;
pub mod replies;
pub mod wire;

use aide::axum::ApiRouter;
use axum::Extension;

use super::Doors;
use super::extract::Surface;

/// Every route of this door.
pub fn routes() -> ApiRouter<Doors> {
    ApiRouter::new()
        .merge(accounts::routes())
        .merge(chat::routes())
        .merge(history::routes())
        .merge(replies::routes())
        .layer(Extension(Surface("api")))
}
