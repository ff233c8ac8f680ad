//! The chat API: accounts, chat with streaming, history, quizzes, replies, and a WebSocket.
//!
//! [`wire`] holds its formats; [`accounts`], [`branches`], [`chat`], [`history`], [`quizzes`], [`replies`] and [`socket`] its routes.

pub mod accounts;
pub mod branches;
pub mod chat;
pub mod history;
pub mod quizzes;
pub mod replies;
pub mod socket;
pub mod wire;

use aide::axum::ApiRouter;
use axum::Extension;

use super::Doors;
use super::extract::Surface;

/// Every route of this door.
pub fn routes() -> ApiRouter<Doors> {
    ApiRouter::new()
        .merge(accounts::routes())
        .merge(branches::routes())
        .merge(chat::routes())
        .merge(history::routes())
        .merge(quizzes::routes())
        .merge(replies::routes())
        .merge(socket::routes())
        .layer(Extension(Surface("api")))
}
