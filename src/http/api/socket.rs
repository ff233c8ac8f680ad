//! `/api/chat/ws`, and the tickets that open it.

use aide::axum::ApiRouter;
use aide::axum::routing::{get_with, post_with};
use axum::Json;
use axum::extract::State;
use axum::response::Response;

use super::wire::TicketAnswer;
use crate::auth::tickets::LIFETIME;
use crate::http::Doors;
use crate::http::answer::Answer;
use crate::http::auth::Admitted;
use crate::http::error::ApiError;
use crate::http::socket::Knock;

const TAG: &str = "chat";

/// The routes.
pub(super) fn routes() -> ApiRouter<Doors> {
    ApiRouter::new()
        .api_route(
            "/api/chat/ws",
            get_with(open, |op| {
                op.id("chat_socket")
                    .tag(TAG)
                    .summary("A WebSocket: send messages, follow replies, be told what happens")
                    .description(
                        "The token comes in the `Authorization` header, as `token`, or as a single-use `ticket`. With \
                         `after`, what was stored after that position is sent first. Frames are JSON objects with a \
                         `type`; a frame {message, session_id} without one sends a message. See docs/websocket.md.",
                    )
                    .response_with::<101, (), _>(|response| response.description("The socket is open."))
            }),
        )
        .api_route(
            "/api/chat/ws/ticket",
            post_with(ticket, |op| {
                op.id("chat_socket_ticket")
                    .tag(TAG)
                    .summary("A ticket that opens one socket")
                    .description("Good once, for 30 seconds, on every node: for browsers, which cannot set a header there.")
                    .response::<201, Json<TicketAnswer>>()
            }),
        )
}

async fn open(State(doors): State<Doors>, knock: Knock) -> Result<Response, ApiError> {
    knock.open(&doors, "api")
}

async fn ticket(
    State(doors): State<Doors>,
    Admitted(admission): Admitted,
) -> Result<Answer<TicketAnswer>, ApiError> {
    doors.services.rate_limits.count_command(admission.actor)?;
    let ticket = doors.services.sign_in.ticket(admission).await?;
    Ok(Answer::created(TicketAnswer { ticket, expires_in: LIFETIME.as_secs() }))
}
