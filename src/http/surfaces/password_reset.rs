//! `/password-reset`: the page that a mail's link leads to. One form, no script, nothing fetched from anywhere.
//!
//! Opening it uses nothing up: mail programs open links by themselves. ClientEnvelope the form does.

use aide::axum::ApiRouter;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;

use crate::auth::ResetToken;
use crate::auth::passwords::{MAX_CHARS, MIN_CHARS};
use crate::http::ApiState;
use crate::http::errors::ApiError;
use crate::http::extract::{KeyedFormCommand, Query};

const POLICY: &str = "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// The routes. They are no part of the API, and not in its description.
pub fn routes() -> ApiRouter<ApiState> {
    ApiRouter::new().route("/password-reset", get(show).post(reset))
}

/// What the link carries.
#[derive(Deserialize)]
struct Link {
    #[serde(default)]
    token: String,
}

/// What the form sends.
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
            &paragraph("The address is not whole: copy all of it from the mail."),
        ),
    }
}

async fn reset(State(state): State<ApiState>, command: KeyedFormCommand<Form>) -> Response {
    let KeyedFormCommand { context, body } = command;
    match state.services.accounts.reset_password(&context, &body.token, body.password).await {
        Ok(_) => page(StatusCode::OK, &paragraph("The password was changed. Sign in with it now.")),
        Err(error) => {
            let error = ApiError::from(error);
            error.report();
            let body = match (error.status(), ResetToken::parse(&body.token)) {
                // The password breaks the rule, or the service is busy: the token may be used again.
                (status, Some(token)) if status != StatusCode::UNAUTHORIZED => {
                    form(&token, Some(&error.error().detail))
                }
                _ => paragraph("This address has been used, or is too old. Ask for another mail."),
            };
            page(error.status(), &body)
        }
    }
}

/// `token` has only letters, digits, `-` and `_`: it was read as a token.
fn form(token: &ResetToken, wrong: Option<&str>) -> String {
    let wrong = wrong.map(paragraph).unwrap_or_default();
    let token = token.expose();
    format!(
        "{wrong}<form method=\"post\" action=\"/password-reset\">\
         <input type=\"hidden\" name=\"token\" value=\"{token}\">\
         <p><label>New password, at least {MIN_CHARS} characters with a letter and a digit:<br>\
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
