//! `/auth/*`: sign-up, sign-in and the current user, as the sample clients of ChatKit call them.

use aide::axum::ApiRouter;
use aide::axum::routing::{get_with, post_with};
use axum::Json;
use axum::extract::State;

use crate::app::sign_in::Registration;
use crate::app::{AppError, Kind};
use crate::http::ApiState;
use crate::http::errors::ApiError;
use crate::http::extract::auth::{Device, SignedIn};
use crate::http::extract::{FormCommand, KeyedFormCommand};
use crate::http::formats::accounts::{LoginRequest, RegisterRequest, TokenAnswer, User};
use crate::http::formats::answer::Answer;
use crate::http::openapi::failures::may_fail_with;

const TAG: &str = "chatkit";

/// Returns the routes of accounts.
pub(super) fn routes() -> ApiRouter<ApiState> {
    ApiRouter::new()
        .api_route(
            "/auth/signup",
            post_with(sign_up, |op| {
                op.id("sign_up")
                    .tag(TAG)
                    .summary("Create an account and sign in")
                    .description("An email address that is already registered is answered with 400.")
                    .with(may_fail_with(&[409]))
                    .response::<201, Json<TokenAnswer>>()
            }),
        )
        .api_route(
            "/auth/signin",
            post_with(sign_in, |op| {
                op.id("sign_in")
                    .tag(TAG)
                    .summary("Sign in with an email address or a user name")
                    .with(may_fail_with(&[401]))
                    .response::<200, Json<TokenAnswer>>()
            }),
        )
        .api_route(
            "/auth/me",
            get_with(me, |op| {
                op.id("signed_in").tag(TAG).summary("The current user").response::<200, Json<User>>()
            }),
        )
}

async fn sign_up(
    State(state): State<ApiState>,
    Device(device): Device,
    command: KeyedFormCommand<RegisterRequest>,
) -> Result<Answer<TokenAnswer>, ApiError> {
    let KeyedFormCommand { context, body } = command;
    let RegisterRequest { email, username, password } = body;
    let registration = Registration { email, username, password, device };
    let signed_in =
        state.services.sign_in.register(&context, registration).await.map_err(email_taken_as_invalid)?;
    let position = signed_in.position;
    Ok(Answer::created(signed_in.into()).with_position(position))
}

/// Maps a taken email address to 400, as clients of this surface expect.
fn email_taken_as_invalid(mut error: AppError) -> AppError {
    if error.code == "email_taken" {
        error.kind = Kind::Invalid;
    }
    error
}

async fn sign_in(
    State(state): State<ApiState>,
    Device(device): Device,
    command: FormCommand<LoginRequest>,
) -> Result<Answer<TokenAnswer>, ApiError> {
    let LoginRequest { username, password } = command.body;
    Ok(Answer::ok(state.services.sign_in.login(&username, password, device).await?.into()))
}

async fn me(State(state): State<ApiState>, SignedIn(actor): SignedIn) -> Result<Answer<User>, ApiError> {
    Ok(Answer::ok(state.services.accounts.user(actor.user).await?.into()))
}
