//! `POST /api/chat` (the answer, or 202 if it takes long), `POST /api/chat/stream` and its resumption.

use aggregates::ids::{ConversationId, ReplyId};
use aide::axum::ApiRouter;
use aide::axum::routing::{get_with, post_with};
use aide::transform::TransformOperation;
use axum::Json;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::response::Response;
use serde_json::json;

use super::replies::{cancelled, reply_failure};
use super::wire::{ChatAnswer, ChatRequest};
use crate::app::connection_limits::ConnectionKind;
use crate::app::connections::ConnectionGuard;
use crate::app::conversations::{NewMessage, Sent};
use crate::app::{Actor, AppError, Kind, RequestContext};
use crate::http::ApiState;
use crate::http::errors::ApiError;
use crate::http::extract::auth::SignedIn;
use crate::http::extract::{Command, PathId};
use crate::http::formats::answer::Answer;
use crate::http::openapi::failures::may_fail_with;
use crate::http::transport::middleware::POSITION;
use crate::http::transport::sse::{self, LastEventId};
use crate::live::Resume;

const TAG: &str = "chat";

/// Returns the routes of chat.
pub(super) fn routes() -> ApiRouter<ApiState> {
    ApiRouter::new()
        .api_route(
            "/api/chat",
            post_with(chat, |op| {
                op.id("chat")
                    .tag(TAG)
                    .summary("Send a message and get its answer")
                    .description(
                        "Waits for the answer for a bounded time, then responds with 202 and a `Location` to wait at. A \
                         conversation has one reply in progress at a time: further messages are stored and answered in order.",
                    )
                    .with(may_fail_with(&[404, 409, 429]))
                    .response::<200, Json<ChatAnswer>>()
                    .response::<202, Json<ChatAnswer>>()
            }),
        )
        .api_route("/api/chat/stream", post_with(stream, |op| {
            stream_docs(op.id("chat_stream").summary("Send a message and stream its answer"))
                .with(may_fail_with(&[404, 409, 429]))
        }))
        .api_route(
            "/api/chat/stream/{id}",
            get_with(resume, |op| {
                stream_docs(op.id("resume_stream").summary("Follow a reply, from the beginning or from `Last-Event-ID`"))
            }),
        )
}

pub(super) fn stream_docs(op: TransformOperation<'_>) -> TransformOperation<'_> {
    op.tag(TAG).description(
        "Server-sent events: `message` (ids of what was sent), `reply.delta` {reply_id, attempt, offset, text}, \
         `reply.restart` {reply_id, attempt} (voids the text so far), and at the end one of `reply.done`, `reply.failed` or \
         `reply.cancelled`, with the reply's provenance and its text (or only a `reason` if the conversation was \
         deleted). Event ids are `reply:attempt:offset`; an interrupted stream \
         resumes with `GET /api/chat/stream/{reply_id}` and the last id in `Last-Event-ID`.",
    )
    .response_with::<200, (), _>(|response| {
        let mut response = response.description("A stream of server-sent events.");
        response.inner().content.insert("text/event-stream".to_owned(), aide::openapi::MediaType::default());
        response
    })
}

async fn send(
    state: &ApiState,
    context: &RequestContext,
    actor: Actor,
    body: &ChatRequest,
) -> Result<Sent, AppError> {
    let conversation = match body.session_id.as_deref() {
        // Treat an unparsable id like an unknown conversation.
        Some(id) => Some(id.parse::<ConversationId>().map_err(|_| AppError::not_found())?),
        None => None,
    };
    let message = NewMessage::text(body.message.as_str()).with_model(body.model.clone());
    state.services.conversations.send(context, actor, conversation, message).await
}

async fn chat(
    State(state): State<ApiState>,
    SignedIn(actor): SignedIn,
    command: Command<ChatRequest>,
) -> Result<Answer<ChatAnswer>, ApiError> {
    let sent = send(&state, &command.context, actor, &command.body).await?;
    await_answer(&state, actor, &sent).await
}

/// Waits for the answer to a message; after a bounded time, responds with the location to wait at.
pub(super) async fn await_answer(
    state: &ApiState,
    actor: Actor,
    sent: &Sent,
) -> Result<Answer<ChatAnswer>, ApiError> {
    let ended = match state.services.replies.await_reply(actor, sent.reply, sent.position).await {
        // The conversation was deleted meanwhile, and its reply cancelled. The message was stored all the same.
        Err(error) if error.kind == Kind::NotFound => return Err(cancelled()),
        ended => ended?,
    };
    match ended {
        Some(ended) if ended.reply.state == "completed" => {
            Ok(Answer::ok(ChatAnswer::completed(sent, &ended)).with_position(Some(ended.reply.position)))
        }
        Some(ended) => Err(reply_failure(sent, &ended)),
        None => {
            let location = format!("/api/replies/{}?wait=true", sent.reply);
            Ok(Answer::accepted(ChatAnswer::pending(sent), location).with_position(sent.position))
        }
    }
}

async fn stream(
    State(state): State<ApiState>,
    SignedIn(actor): SignedIn,
    command: Command<ChatRequest>,
) -> Result<Response, ApiError> {
    let connection = state.services.connections.open(actor, ConnectionKind::Stream)?;
    let sent = send(&state, &command.context, actor, &command.body).await?;
    Ok(stream_reply(&state, actor, connection, &sent))
}

/// Streams the answer to a message.
pub(super) fn stream_reply(
    state: &ApiState,
    actor: Actor,
    connection: ConnectionGuard,
    sent: &Sent,
) -> Response {
    let follower = state.services.replies.follow(actor, sent.reply, Resume::default(), sent.position);
    let opening = json!({
        "message_id": sent.answer, "user_message_id": sent.message, "session_id": sent.conversation,
        "reply_id": sent.reply, "position": sent.position,
    });
    let mut response = sse::respond(connection, sent.reply, follower, Some(opening));
    if let Some(position) = sent.position {
        response.headers_mut().insert(POSITION, HeaderValue::from(position));
    }
    response
}

async fn resume(
    State(state): State<ApiState>,
    SignedIn(actor): SignedIn,
    PathId(id): PathId,
    last: LastEventId,
) -> Result<Response, ApiError> {
    let reply = ReplyId::new(id);
    let from = last.of(reply)?;
    let row = state.services.replies.reply(actor, reply).await?;
    let connection = state.services.connections.open(actor, ConnectionKind::Stream)?;
    // Start from the position just seen: a read model below it was rolled back and does not know the reply's end.
    let follower = state.services.replies.follow(actor, reply, from, Some(row.position));
    Ok(sse::respond(connection, reply, follower, None))
}
