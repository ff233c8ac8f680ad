//! The chat API: accounts and their administration, chat with streaming, history, models, quizzes, replies, and a WebSocket.
//!
//! [`wire`] and [`account_wire`] hold its formats; [`accounts`], [`admin`], [`branches`], [`chat`], [`history`], [`models`],
//! [`quizzes`], [`replies`], [`socket`] and [`usage`] its routes.

pub mod account_wire;
pub mod accounts;
pub mod admin;
pub mod branches;
pub mod chat;
pub mod history;
pub mod models;
pub mod quizzes;
pub mod replies;
pub mod usage;
pub mod wire;

use aide::axum::ApiRouter;

use crate::http::ApiState;

/// Every route of this door.
pub fn routes() -> ApiRouter<ApiState> {
    ApiRouter::new()
        .merge(accounts::routes())
        .merge(admin::routes())
        .merge(branches::routes())
        .merge(chat::routes())
        .merge(history::routes())
        .merge(models::routes())
        .merge(quizzes::routes())
        .merge(replies::routes())
        .merge(usage::routes())
}
