//! `/api/history/{id}/messages/{message_id}/…`: regenerate a reply, edit a message. `/api/history/{id}/branches`: list
//! and switch branches.

use aggregates::ids::{ConversationId, MessageId};
use aide::axum::ApiRouter;
use aide::axum::routing::{get_with, post_with};
use aide::transform::TransformOperation;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};

use super::chat::{await_answer, stream_reply};
use super::wire::{BranchItem, BranchesAnswer, ChatAnswer, EditRequest, RegenerateRequest};
use crate::app::connection_limits::ConnectionKind;
use crate::app::connections::ConnectionGuard;
use crate::app::conversations::Sent;
use crate::app::conversations::branches::RegenerateTarget;
use crate::app::conversations::items::ReplyOptions;
use crate::app::{Actor, AppError};
use crate::http::ApiState;
use crate::http::errors::ApiError;
use crate::http::extract::auth::SignedIn;
use crate::http::extract::{
    Command, EmptyCommand, OptionalJson, PathBranch, PathId, PathMessage, ResponseFormat,
};
use crate::http::formats::answer::Answer;
use crate::http::openapi::failures::may_fail_with;

const TAG: &str = "branches";

/// Returns the routes of branches.
pub(super) fn routes() -> ApiRouter<ApiState> {
    ApiRouter::new()
        .api_route(
            "/api/history/{id}/messages/{message_id}/regenerate",
            post_with(regenerate, |op| {
                reply_docs(op.id("regenerate").summary("Regenerate a reply")).description(
                    "Names a message or its answer. The old answer and later messages stay on their branch; a new branch starts \
                     unless the message has nothing after it. Pending replies to the message and to later ones are cancelled. Responds \
                     like `/api/chat`, or with `Accept: text/event-stream` like `/api/chat/stream`.",
                )
            }),
        )
        .api_route(
            "/api/history/{id}/messages/{message_id}/edit",
            post_with(edit, |op| {
                reply_docs(op.id("edit_message").summary("Edit a message and get a reply to it")).description(
                    "The edited message starts a new branch; the old message and later ones stay on their branch. Files, quote and \
                     chosen tool carry over. Responds like `/api/chat`, or with `Accept: text/event-stream` like `/api/chat/stream`.",
                )
            }),
        )
        .api_route(
            "/api/history/{id}/branches",
            get_with(list, |op| {
                op.id("branches")
                    .tag(TAG)
                    .summary("List the branches of a conversation, oldest first")
                    .response::<200, Json<BranchesAnswer>>()
            }),
        )
        .api_route(
            "/api/history/{id}/branches/{branch}/activate",
            post_with(activate, |op| {
                op.id("activate_branch")
                    .tag(TAG)
                    .summary("Switch to another branch")
                    .description(
                        "409 `replies_pending` while replies are in progress on the active branch. Counts against the user's \
                         messages per minute.",
                    )
                    .with(may_fail_with(&[409, 429]))
                    .response::<200, Json<BranchItem>>()
            }),
        )
}

fn reply_docs(op: TransformOperation<'_>) -> TransformOperation<'_> {
    op.tag(TAG)
        .with(may_fail_with(&[409, 429]))
        .response::<200, Json<ChatAnswer>>()
        .response::<202, Json<ChatAnswer>>()
}

/// Reserves a connection if the client asks for a stream, before the command runs.
fn open_connection(
    state: &ApiState,
    actor: Actor,
    format: ResponseFormat,
) -> Result<Option<ConnectionGuard>, AppError> {
    match format {
        ResponseFormat::Document => Ok(None),
        ResponseFormat::Stream => state.services.connections.open(actor, ConnectionKind::Stream).map(Some),
    }
}

async fn respond(
    state: &ApiState,
    actor: Actor,
    connection: Option<ConnectionGuard>,
    sent: &Sent,
) -> Result<Response, ApiError> {
    match connection {
        Some(connection) => Ok(stream_reply(state, actor, connection, sent)),
        None => Ok(await_answer(state, actor, sent).await?.into_response()),
    }
}

async fn regenerate(
    State(state): State<ApiState>,
    SignedIn(actor): SignedIn,
    at: PathMessage,
    format: ResponseFormat,
    OptionalJson(command): OptionalJson<RegenerateRequest>,
) -> Result<Response, ApiError> {
    let connection = open_connection(&state, actor, format)?;
    let (conversation, message) = (ConversationId::new(at.conversation), MessageId::new(at.message));
    let reply = ReplyOptions { model: command.body.model, interactive: false };
    let again = RegenerateTarget::MessageOrAnswer(message);
    let sent =
        state.services.conversations.regenerate(&command.context, actor, conversation, again, reply).await?;
    respond(&state, actor, connection, &sent).await
}

async fn edit(
    State(state): State<ApiState>,
    SignedIn(actor): SignedIn,
    at: PathMessage,
    format: ResponseFormat,
    command: Command<EditRequest>,
) -> Result<Response, ApiError> {
    let connection = open_connection(&state, actor, format)?;
    let (conversation, message) = (ConversationId::new(at.conversation), MessageId::new(at.message));
    let EditRequest { message: text, model } = command.body;
    let reply = ReplyOptions { model, interactive: false };
    let sent = state
        .services
        .conversations
        .edit(&command.context, actor, conversation, message, &text, reply)
        .await?;
    respond(&state, actor, connection, &sent).await
}

async fn list(
    State(state): State<ApiState>,
    SignedIn(actor): SignedIn,
    PathId(id): PathId,
) -> Result<Answer<BranchesAnswer>, ApiError> {
    let rows = state.services.conversations.branches(actor, ConversationId::new(id)).await?;
    let active = rows.iter().find(|row| row.active).map_or(0, |row| row.branch);
    Ok(Answer::ok(BranchesAnswer {
        session_id: id,
        active: u32::try_from(active).unwrap_or_default(),
        items: rows.into_iter().map(BranchItem::from).collect(),
    }))
}

async fn activate(
    State(state): State<ApiState>,
    SignedIn(actor): SignedIn,
    at: PathBranch,
    command: EmptyCommand,
) -> Result<Answer<BranchItem>, ApiError> {
    let conversation = ConversationId::new(at.conversation);
    let (row, position) =
        state.services.conversations.switch_branch(&command.context, actor, conversation, at.branch).await?;
    Ok(Answer::ok(row.into()).with_position(position))
}
