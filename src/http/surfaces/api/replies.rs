//! `/api/replies/{id}`: provenance of a reply, waiting for it, cancelling it.

use aggregates::ids::ReplyId;
use aide::axum::ApiRouter;
use aide::axum::routing::{get_with, post_with};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::app::conversations::Sent;
use crate::http::ApiState;
use crate::http::errors::{ApiError, PersistedMessage};
use crate::http::extract::auth::SignedIn;
use crate::http::extract::{EmptyCommand, PathId, Query};
use crate::http::formats::answer::Answer;
use crate::http::formats::reply::ReplyAnswer;
use crate::http::openapi::failures::may_fail_with;
use crate::live::stream::Ended;

const TAG: &str = "replies";

/// Returns the routes of replies.
pub(super) fn routes() -> ApiRouter<ApiState> {
    ApiRouter::new()
        .api_route(
            "/api/replies/{id}",
            get_with(provenance, |op| {
                op.id("reply")
                    .tag(TAG)
                    .summary("Get a reply's provenance")
                    .description(
                        "Provider, model, parameters, prompt versions, input messages, attempts, usage and timings. With `wait=true` the request waits, for a bounded time, until the reply has ended.",
                    )
                    .response::<200, Json<ReplyAnswer>>()
            }),
        )
        .api_route(
            "/api/replies/{id}/cancel",
            post_with(cancel, |op| {
                op.id("cancel_reply")
                    .tag(TAG)
                    .summary("Cancel a reply; its text so far is stored")
                    .with(may_fail_with(&[409]))
                    .response::<200, Json<ReplyAnswer>>()
            }),
        )
}

/// Options of a reply's query.
#[derive(Debug, Deserialize, JsonSchema)]
struct ReplyQuery {
    /// Whether to wait until the reply has ended.
    #[serde(default)]
    wait: bool,
}

async fn provenance(
    State(state): State<ApiState>,
    SignedIn(actor): SignedIn,
    PathId(id): PathId,
    Query(query): Query<ReplyQuery>,
) -> Result<Answer<ReplyAnswer>, ApiError> {
    let reply = ReplyId::new(id);
    let mut row = state.services.replies.reply(actor, reply).await?;
    if query.wait
        && !row.has_ended()
        && let Some(ended) = state.services.replies.await_reply(actor, reply, Some(row.position)).await?
    {
        row = ended.reply;
    }
    let position = row.position;
    Ok(Answer::ok(row.into()).with_position(Some(position)))
}

async fn cancel(
    State(state): State<ApiState>,
    SignedIn(actor): SignedIn,
    PathId(id): PathId,
    command: EmptyCommand,
) -> Result<Answer<ReplyAnswer>, ApiError> {
    let (row, position) =
        state.services.replies.cancel_reply(&command.context, actor, ReplyId::new(id)).await?;
    Ok(Answer::ok(row.into()).with_position(position))
}

/// Creates the error for a reply that ended without an answer. It names the stored message.
pub(super) fn reply_failure(sent: &Sent, ended: &Ended) -> ApiError {
    let error = if ended.reply.state == "cancelled" {
        cancelled()
    } else {
        let reason = ended.reply.failure.as_deref().unwrap_or("internal");
        ApiError::http(
            StatusCode::INTERNAL_SERVER_ERROR,
            "reply_failed",
            format!("The message was stored, but the AI provider did not answer ({reason})."),
        )
    };
    error.with_kept(PersistedMessage {
        session_id: sent.conversation.uuid(),
        user_message_id: sent.message.uuid(),
        reply_id: sent.reply.uuid(),
        position: Some(ended.reply.position),
    })
}

/// Creates the error for a cancelled reply.
pub(super) fn cancelled() -> ApiError {
    ApiError::http(StatusCode::CONFLICT, "reply_cancelled", "The reply was cancelled.")
}
