//! `/api/auth/*` and `/api/users/me`: registration, sign-in, tokens, logins, the current user.

use aggregates::ids::LoginId;
use aide::axum::ApiRouter;
use aide::axum::routing::{delete_with, get_with, post_with, put_with};
use axum::Json;
use axum::extract::State;

use super::account_wire::{
    EmailRequest, ForgotAnswer, ForgotRequest, LoginItem, LoginsAnswer, ResetRequest, UsernameRequest,
};
use super::wire::{PasswordRequest, ProofRequest, RefreshRequest, RegisterAnswer};
use crate::app::sign_in::Registration;
use crate::http::ApiState;
use crate::http::errors::ApiError;
use crate::http::extract::auth::{Device, SignedIn};
use crate::http::extract::{Command, FormCommand, KeyedFormCommand, PathId};
use crate::http::formats::accounts::{LoginRequest, RegisterRequest, TokenAnswer, User};
use crate::http::formats::answer::{Answer, Done};
use crate::http::openapi::failures::may_fail_with;

const TAG: &str = "accounts";

/// Returns the routes of accounts.
pub(super) fn routes() -> ApiRouter<ApiState> {
    ApiRouter::new()
        .api_route(
            "/api/auth/register",
            post_with(register, |op| {
                op.id("register")
                    .tag(TAG)
                    .summary("Create an account and sign in")
                    .with(may_fail_with(&[409]))
                    .response::<201, Json<RegisterAnswer>>()
            }),
        )
        .api_route(
            "/api/auth/login",
            post_with(login, |op| {
                op.id("login")
                    .tag(TAG)
                    .summary("Sign in with an email address or a user name")
                    .with(may_fail_with(&[401]))
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
                        "A refresh token is valid once. If the response was lost, the old token can be sent again while its successor is \
                         unused; any other reuse ends the login.",
                    )
                    .with(may_fail_with(&[401]))
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
                op.id("change_password")
                    .tag(TAG)
                    .summary("Change the password and end all other logins")
                    .with(may_fail_with(&[403, 429]))
            }),
        )
        .api_route(
            "/api/auth/password/forgot",
            post_with(forgot_password, |op| {
                op.id("forgot_password")
                    .tag(TAG)
                    .summary("Request an email for resetting the password")
                    .description(
                        "The response is the same whether or not the account exists. The token in the email is valid once, for 30 minutes.",
                    )
                    .response::<202, Json<ForgotAnswer>>()
            }),
        )
        .api_route(
            "/api/auth/password/reset",
            post_with(reset_password, |op| {
                op.id("reset_password")
                    .tag(TAG)
                    .summary("Reset the password with the token from the email and end all logins")
                    .with(may_fail_with(&[401]))
            }),
        )
        .api_route(
            "/api/auth/logins",
            get_with(logins, |op| {
                op.id("logins")
                    .tag(TAG)
                    .summary("List the current user's logins")
                    .response::<200, Json<LoginsAnswer>>()
            })
            .delete_with(end_other_logins, |op| {
                op.id("end_other_logins").tag(TAG).summary("End all other logins")
            }),
        )
        .api_route(
            "/api/auth/logins/{id}",
            delete_with(end_login, |op| {
                op.id("end_login").tag(TAG).summary("End one of the current user's logins")
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
            "/api/users/me/email",
            put_with(change_email, |op| {
                op.id("change_email")
                    .tag(TAG)
                    .summary("Change the email address")
                    .description("The old address is notified by email and becomes available to others.")
                    .with(may_fail_with(&[403, 409, 429]))
                    .response::<200, Json<User>>()
            }),
        )
        .api_route(
            "/api/users/me/username",
            put_with(change_username, |op| {
                op.id("change_username")
                    .tag(TAG)
                    .summary("Change the user name")
                    .description("The old name becomes available to others.")
                    .with(may_fail_with(&[409]))
                    .response::<200, Json<User>>()
            }),
        )
        .api_route(
            "/api/users/me/deactivate",
            post_with(deactivate, |op| {
                op.id("deactivate")
                    .tag(TAG)
                    .summary("Close the account and end all logins")
                    .with(may_fail_with(&[403, 409, 429]))
            }),
        )
}

async fn register(
    State(state): State<ApiState>,
    Device(device): Device,
    command: Command<RegisterRequest>,
) -> Result<Answer<RegisterAnswer>, ApiError> {
    let Command { context, body } = command;
    let RegisterRequest { email, username, password } = body;
    let registration = Registration { email, username, password, device };
    let signed_in = state.services.sign_in.register(&context, registration).await?;
    let position = signed_in.position;
    Ok(Answer::created(signed_in.into()).with_position(position))
}

async fn login(
    State(state): State<ApiState>,
    Device(device): Device,
    command: FormCommand<LoginRequest>,
) -> Result<Answer<TokenAnswer>, ApiError> {
    let LoginRequest { username, password } = command.body;
    Ok(Answer::ok(state.services.sign_in.login(&username, password, device).await?.into()))
}

async fn refresh(
    State(state): State<ApiState>,
    command: FormCommand<RefreshRequest>,
) -> Result<Answer<TokenAnswer>, ApiError> {
    Ok(Answer::ok(state.services.sign_in.refresh(&command.body.refresh_token).await?.into()))
}

async fn logout(State(state): State<ApiState>, SignedIn(actor): SignedIn) -> Result<Done, ApiError> {
    state.services.sign_in.logout(actor).await?;
    Ok(Done { position: None })
}

async fn change_password(
    State(state): State<ApiState>,
    SignedIn(actor): SignedIn,
    command: Command<PasswordRequest>,
) -> Result<Done, ApiError> {
    let Command { context, body } = command;
    let position = state
        .services
        .accounts
        .change_password(&context, actor, body.current_password, body.new_password)
        .await?;
    Ok(Done { position })
}

async fn forgot_password(
    State(state): State<ApiState>,
    command: FormCommand<ForgotRequest>,
) -> Result<Answer<ForgotAnswer>, ApiError> {
    state.services.accounts.forgot_password(&command.body.email).await?;
    Ok(Answer::queued(ForgotAnswer::default()))
}

async fn reset_password(
    State(state): State<ApiState>,
    command: KeyedFormCommand<ResetRequest>,
) -> Result<Done, ApiError> {
    let KeyedFormCommand { context, body } = command;
    let position = state.services.accounts.reset_password(&context, &body.token, body.password).await?;
    Ok(Done { position })
}

async fn logins(
    State(state): State<ApiState>,
    SignedIn(actor): SignedIn,
) -> Result<Answer<LoginsAnswer>, ApiError> {
    let logins = state.services.sign_in.logins(actor).await?;
    let items = logins.into_iter().map(|row| LoginItem::of(row, actor)).collect();
    Ok(Answer::ok(LoginsAnswer { items }))
}

async fn end_login(
    State(state): State<ApiState>,
    SignedIn(actor): SignedIn,
    PathId(id): PathId,
) -> Result<Done, ApiError> {
    state.services.sign_in.end_login(actor, LoginId::new(id)).await?;
    Ok(Done { position: None })
}

async fn end_other_logins(
    State(state): State<ApiState>,
    SignedIn(actor): SignedIn,
) -> Result<Done, ApiError> {
    state.services.sign_in.end_other_logins(actor).await?;
    Ok(Done { position: None })
}

async fn change_email(
    State(state): State<ApiState>,
    SignedIn(actor): SignedIn,
    command: Command<EmailRequest>,
) -> Result<Answer<User>, ApiError> {
    let Command { context, body } = command;
    let (user, position) =
        state.services.accounts.change_email(&context, actor, &body.email, body.password).await?;
    Ok(Answer::ok(user.into()).with_position(position))
}

async fn change_username(
    State(state): State<ApiState>,
    SignedIn(actor): SignedIn,
    command: Command<UsernameRequest>,
) -> Result<Answer<User>, ApiError> {
    let Command { context, body } = command;
    let (user, position) = state.services.accounts.change_username(&context, actor, &body.username).await?;
    Ok(Answer::ok(user.into()).with_position(position))
}

async fn deactivate(
    State(state): State<ApiState>,
    SignedIn(actor): SignedIn,
    command: Command<ProofRequest>,
) -> Result<Done, ApiError> {
    let position = state.services.accounts.deactivate(&command.context, actor, command.body.password).await?;
    Ok(Done { position })
}

async fn me(State(state): State<ApiState>, SignedIn(actor): SignedIn) -> Result<Answer<User>, ApiError> {
    Ok(Answer::ok(state.services.accounts.user(actor.user).await?.into()))
}
