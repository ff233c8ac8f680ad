//! `/password-reset`: the page behind the link in a reset email. One form, no script, no external resources.
//!
//! Opening the page does not use up the token, because mail programs open links by themselves. Sending the form does.

use aide::axum::ApiRouter;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;

use crate::auth::ResetToken;
use crate::auth::passwords::{self, MAX_CHARS, MIN_CHARS};
use crate::http::ApiState;
use crate::http::errors::ApiError;
use crate::http::extract::{KeyedFormCommand, Query};

const POLICY: &str = "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Returns the routes, which are not part of the API description.
pub fn routes() -> ApiRouter<ApiState> {
    ApiRouter::new().route("/password-reset", get(show).post(reset))
}

/// Query parameters of the link.
#[derive(Deserialize)]
struct Link {
    #[serde(default)]
    token: String,
}

/// Fields of the form.
#[derive(Deserialize)]
struct Form {
    token: String,
    password: String,
}

async fn show(Query(link): Query<Link>) -> Response {
    match ResetToken::parse(&link.token) {
        Some(token) => page(StatusCode::OK, &form(&token, None)),
        None => page(
            StatusCode::BAD_REQUEST,
            &paragraph("This link is incomplete. Copy the full link from the email."),
        ),
    }
}

async fn reset(State(state): State<ApiState>, command: KeyedFormCommand<Form>) -> Response {
    let KeyedFormCommand { context, body } = command;
    match state.services.accounts.reset_password(&context, &body.token, body.password).await {
        Ok(_) => page(StatusCode::OK, &paragraph("Your password was changed. You can sign in with it now.")),
        Err(error) => {
            let error = ApiError::from(error);
            error.report();
            let body = match (error.status(), ResetToken::parse(&body.token)) {
                // The password breaks a rule or the server is busy: the token is still valid.
                (status, Some(token)) if status != StatusCode::UNAUTHORIZED => {
                    form(&token, Some(&error.error().detail))
                }
                _ => paragraph("This link has expired or was already used. Request a new one."),
            };
            page(error.status(), &body)
        }
    }
}

/// Renders the form. `token` needs no escaping: a parsed token has only letters, digits, `-` and `_`.
fn form(token: &ResetToken, wrong: Option<&str>) -> String {
    let wrong = wrong.map(paragraph).unwrap_or_default();
    let (token, rule) = (token.expose(), passwords::rule());
    format!(
        "{wrong}<form method=\"post\" action=\"/password-reset\">\
         <input type=\"hidden\" name=\"token\" value=\"{token}\">\
         <p><label>New password ({rule}):<br>\
         <input type=\"password\" name=\"password\" autocomplete=\"new-password\" required minlength=\"{MIN_CHARS}\" \
         maxlength=\"{MAX_CHARS}\"></label></p><p><button>Change the password</button></p></form>"
    )
}

fn paragraph(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 7);
    escaped.push_str("<p>");
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            c => escaped.push(c),
        }
    }
    escaped.push_str("</p>");
    escaped
}

fn page(status: StatusCode, body: &str) -> Response {
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>A new password</title></head><body><h1>A new password</h1>{body}</body></html>"
    );
    let mut response = (status, Html(html)).into_response();
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response
}
