//! `/api/auth/*` and `/api/users/me`: registration, sign-in, tokens, the current user.

use aide::axum::ApiRouter;
use aide::axum::routing::{get_with, post_with};
use axum::Json;
use axum::extract::State;

use super::wire::{PasswordRequest, ProofRequest, RefreshRequest, RegisterAnswer};
use crate::app::accounts::Registration;
use crate::http::Doors;
use crate::http::accounts::{LoginRequest, RegisterRequest, TokenAnswer, User};
use crate::http::answer::{Answer, Done};
use crate::http::auth::SignedIn;
use crate::http::error::ApiError;
use crate::http::extract::{Command, FormCommand};

const TAG: &str = "accounts";

/// The routes.
pub(super) fn routes() -> ApiRouter<Doors> {
    ApiRouter::new()
        .api_route(
            "/api/auth/register",
            post_with(register, |op| {
                op.id("register")
                    .tag(TAG)
                    .summary("Make an account and sign in")
                    .response::<201, Json<RegisterAnswer>>()
            }),
        )
        .api_route(
            "/api/auth/login",
            post_with(login, |op| {
                op.id("login")
                    .tag(TAG)
                    .summary("Sign in with an e-mail address or a user name")
                    .response::<200, Json<TokenAnswer>>()
            }),
        )
        .api_route(
            "/api/auth/refresh",
            post_with(refresh, |op| {
                op.id("refresh")
                    .tag(TAG)
                    .summary("Exchange a refresh token for new tokens")
                    .description(
                        "A refresh token is good once. If the answer was lost, the old one may be sent again as long as its \
                         successor is unused; any other reuse ends the login.",
                    )
                    .response::<200, Json<TokenAnswer>>()
            }),
        )
        .api_route(
            "/api/auth/logout",
            post_with(logout, |op| op.id("logout").tag(TAG).summary("End this login")),
        )
        .api_route(
            "/api/auth/password",
            post_with(change_password, |op| {
                op.id("change_password").tag(TAG).summary("Replace the password; every other login ends")
            }),
        )
        .api_route(
            "/api/auth/me",
            get_with(me, |op| op.id("auth_me").tag(TAG).summary("The current user").response::<200, Json<User>>()),
        )
        .api_route(
            "/api/users/me",
            get_with(me, |op| op.id("me").tag(TAG).summary("The current user").response::<200, Json<User>>()),
        )
        .api_route(
            "/api/users/me/deactivate",
            post_with(deactivate, |op| {
                op.id("deactivate").tag(TAG).summary("Close the account; every login ends")
            }),
        )
}

async fn register(
    State(doors): State<Doors>,
    command: Command<RegisterRequest>,
) -> Result<Answer<RegisterAnswer>, ApiError> {
    let Command { context, body } = command;
    let registration = Registration { email: body.email, username: body.username, password: body.password };
    let signed_in = doors.app.register(&context, registration).await?;
    let position = signed_in.position;
    Ok(Answer::created(signed_in.into()).at(position))
}

async fn login(
    State(doors): State<Doors>,
    command: FormCommand<LoginRequest>,
) -> Result<Answer<TokenAnswer>, ApiError> {
    let LoginRequest { username, password } = command.body;
    Ok(Answer::ok(doors.app.login(&username, password).await?.into()))
}

async fn refresh(
    State(doors): State<Doors>,
    command: FormCommand<RefreshRequest>,
) -> Result<Answer<TokenAnswer>, ApiError> {
    Ok(Answer::ok(doors.app.refresh(&command.body.refresh_token).await?.into()))
}

async fn logout(State(doors): State<Doors>, SignedIn(actor): SignedIn) -> Result<Done, ApiError> {
    doors.app.logout(actor).await?;
    Ok(Done { position: None })
}

async fn change_password(
    State(doors): State<Doors>,
    SignedIn(actor): SignedIn,
    command: Command<PasswordRequest>,
) -> Result<Done, ApiError> {
    let Command { context, body } = command;
    let position =
        doors.app.change_password(&context, actor, body.current_password, body.new_password).await?;
    Ok(Done { position })
}

async fn deactivate(
    State(doors): State<Doors>,
    SignedIn(actor): SignedIn,
    command: Command<ProofRequest>,
) -> Result<Done, ApiError> {
    let position = doors.app.deactivate(&command.context, actor, command.body.password).await?;
    Ok(Done { position })
}

async fn me(State(doors): State<Doors>, SignedIn(actor): SignedIn) -> Result<Answer<User>, ApiError> {
    Ok(Answer::ok(doors.app.user(actor.user).await?.into()))
}
