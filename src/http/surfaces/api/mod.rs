//! The chat API: accounts and administration, chat with streaming, history, models, quizzes, replies, usage.
//!
//! [`wire`] and [`account_wire`] hold its formats; [`accounts`], [`admin`], [`branches`], [`chat`], [`history`],
//! [`models`], [`quizzes`], [`replies`] and [`usage`] its routes.

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

/// Returns the routes of the surface.
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
