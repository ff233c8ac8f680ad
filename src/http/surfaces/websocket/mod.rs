//! The WebSocket surface: `/api/chat/ws`, and the tickets that open it.
//!
//! [`upgrade`] authenticates and opens a connection, `session` runs it, `reader` enforces the limits on what a client sends,
//! and [`frames`] holds the wire formats.

pub mod frames;
mod reader;
mod session;
pub mod upgrade;

use aide::axum::ApiRouter;
use aide::axum::routing::{get_with, post_with};
use axum::Json;
use axum::extract::State;
use axum::response::Response;

use schemars::JsonSchema;
use serde::Serialize;

use crate::auth::tickets::TICKET_TTL;
use crate::http::ApiState;
use crate::http::errors::ApiError;
use crate::http::extract::auth::BearerToken;
use crate::http::formats::answer::Answer;
use upgrade::UpgradeRequest;

const TAG: &str = "chat";

/// Returns the routes.
pub fn routes() -> ApiRouter<ApiState> {
    ApiRouter::new()
        .api_route(
            "/api/chat/ws",
            get_with(open, |op| {
                op.id("chat_socket")
                    .tag(TAG)
                    .summary("Open a WebSocket: send messages, follow replies, receive updates")
                    .description(
                        "Send the token in the `Authorization` header, as `token`, or as a single-use `ticket`. With `after`, items stored \
                         after that position are sent first. Frames are JSON objects with a `type`; a frame {message, session_id} without \
                         one sends a message. See docs/websocket.md.",
                    )
                    .response_with::<101, (), _>(|response| response.description("The WebSocket is open."))
            }),
        )
        .api_route(
            "/api/chat/ws/ticket",
            post_with(ticket, |op| {
                op.id("chat_socket_ticket")
                    .tag(TAG)
                    .summary("Get a ticket that opens one WebSocket")
                    .description("Valid once, for 30 seconds, on every node. For browsers, which cannot set headers of a WebSocket.")
                    .response::<201, Json<TicketAnswer>>()
            }),
        )
}

/// A ticket that opens one socket.
#[derive(Serialize, JsonSchema)]
struct TicketAnswer {
    /// The ticket, for the `ticket` parameter of the WebSocket's URL.
    ticket: String,
    /// Seconds until the ticket expires.
    expires_in: u64,
}

async fn open(State(state): State<ApiState>, request: UpgradeRequest) -> Result<Response, ApiError> {
    request.open(&state, "api")
}

async fn ticket(
    State(state): State<ApiState>,
    BearerToken(authenticated): BearerToken,
) -> Result<Answer<TicketAnswer>, ApiError> {
    state.services.rate_limits.count_command(authenticated.actor)?;
    let ticket = state.services.sign_in.ticket(authenticated).await?;
    Ok(Answer::created(TicketAnswer { ticket, expires_in: TICKET_TTL.as_secs() }))
}
