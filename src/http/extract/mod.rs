//! Extractors: bodies, query strings, ids in paths, idempotency keys. Every rejection has the same error shape.

use std::time::Duration;

use aide::OperationInput;
use aide::generate::GenContext;
use aide::openapi::{Operation, ReferenceOr};
use axum::Json;
use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::{HeaderMap, StatusCode, header, request::Parts};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use uuid::Uuid;

pub mod auth;
mod json;
pub(in crate::http) mod json_object;
mod parameters;
mod paths;

use json::{not_json, parse_body};
pub(in crate::http) use json::{parse_json, parse_part, unprocessable};
use parameters::document_path;
pub(in crate::http) use parameters::{document_id, document_key, header_parameter};
pub use paths::{OptionalJson, PathBranch, PathMessage, ResponseFormat};

use crate::app::{AppError, Kind, RequestContext};
use crate::http::errors::ApiError;
use crate::http::openapi::failures::add_failures;
use crate::http::transport::request_id;
use crate::http::{ApiState, HttpSettings};

/// How long a request body may take to arrive.
pub(in crate::http) const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum length of an idempotency key, in characters.
const MAX_KEY_LENGTH: usize = 255;
/// Name of the idempotency key's header.
pub(in crate::http) const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
/// Statuses with which a request with a body can fail before the use case runs.
pub(in crate::http) const BODY_FAILURES: [u16; 4] = [400, 408, 413, 422];

/// A command with a JSON body.
#[derive(Debug)]
pub struct Command<T> {
    /// Request id, surface and idempotency key.
    pub context: RequestContext,
    /// Parsed body.
    pub body: T,
}

impl<T: DeserializeOwned> FromRequest<ApiState> for Command<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let bytes = read(&parts, body, &state.settings).await?;
        if !media_type(&parts.headers)
            .is_some_and(|media| media == "application/json" || media.ends_with("+json"))
        {
            return Err(not_json());
        }
        let context = context(&parts, &bytes, state)?;
        Ok(Self { context, body: parse_body(&bytes)? })
    }
}

impl<T: JsonSchema> OperationInput for Command<T> {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        Json::<T>::operation_input(ctx, operation);
        document_key(operation);
        add_failures(operation, &BODY_FAILURES);
    }
}

/// A command whose body is JSON or a form, as sign-in forms are.
#[derive(Debug)]
pub struct FormCommand<T> {
    /// Parsed body.
    pub body: T,
}

impl<T: DeserializeOwned> FromRequest<ApiState> for FormCommand<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let bytes = read(&parts, body, &state.settings).await?;
        Ok(Self { body: parse_either(&parts, &bytes)? })
    }
}

/// A command that writes events, whose body is JSON or a form.
#[derive(Debug)]
pub struct KeyedFormCommand<T> {
    /// Request id, surface and idempotency key.
    pub context: RequestContext,
    /// Parsed body.
    pub body: T,
}

impl<T: DeserializeOwned> FromRequest<ApiState> for KeyedFormCommand<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let bytes = read(&parts, body, &state.settings).await?;
        let body = parse_either(&parts, &bytes)?;
        Ok(Self { context: context(&parts, &bytes, state)?, body })
    }
}

impl<T: JsonSchema> OperationInput for KeyedFormCommand<T> {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        FormCommand::<T>::operation_input(ctx, operation);
        document_key(operation);
    }
}

/// Parses a body that is JSON or a form.
fn parse_either<T: DeserializeOwned>(parts: &Parts, bytes: &[u8]) -> Result<T, ApiError> {
    match media_type(&parts.headers).as_deref() {
        Some("application/x-www-form-urlencoded") => {
            serde_urlencoded::from_bytes(bytes).map_err(|error| unprocessable(".", &error.to_string()))
        }
        Some(media) if media == "application/json" || media.ends_with("+json") => parse_body(bytes),
        _ => Err(not_json()),
    }
}

impl<T: JsonSchema> OperationInput for FormCommand<T> {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        Json::<T>::operation_input(ctx, operation);
        if let Some(ReferenceOr::Item(body)) = &mut operation.request_body
            && let Some(content) = body.content.get("application/json").cloned()
        {
            body.content.insert("application/x-www-form-urlencoded".to_owned(), content);
        }
        add_failures(operation, &BODY_FAILURES);
    }
}

/// A command without a body. A body that is sent anyway only counts for the idempotency key.
#[derive(Debug)]
pub struct EmptyCommand {
    /// Request id, surface and idempotency key.
    pub context: RequestContext,
}

impl FromRequest<ApiState> for EmptyCommand {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let bytes = read(&parts, body, &state.settings).await?;
        Ok(Self { context: context(&parts, &bytes, state)? })
    }
}

impl OperationInput for EmptyCommand {
    fn operation_input(_: &mut GenContext, operation: &mut Operation) {
        document_key(operation);
        add_failures(operation, &BODY_FAILURES);
    }
}

/// A query string.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<ApiState> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &ApiState) -> Result<Self, ApiError> {
        let query = parts.uri.query().unwrap_or_default();
        let parsed =
            serde_urlencoded::from_str(query).map_err(|error| unprocessable("query", &error.to_string()))?;
        Ok(Self(parsed))
    }
}

impl<T: JsonSchema> OperationInput for Query<T> {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        axum::extract::Query::<T>::operation_input(ctx, operation);
        add_failures(operation, &[422]);
    }
}

/// The id in a path. An unparsable id is treated like an unknown one: 404.
#[derive(Debug, Clone, Copy)]
pub struct PathId(pub Uuid);

impl FromRequestParts<ApiState> for PathId {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, ApiError> {
        let id = axum::extract::Path::<String>::from_request_parts(parts, state)
            .await
            .ok()
            .and_then(|axum::extract::Path(id)| Uuid::parse_str(&id).ok())
            .ok_or_else(AppError::not_found)?;
        Ok(Self(id))
    }
}

impl OperationInput for PathId {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        document_id(operation, "Id of the resource, a UUID.", ctx.schema.subschema_for::<Uuid>());
    }
}

async fn read(parts: &Parts, body: Body, settings: &HttpSettings) -> Result<axum::body::Bytes, ApiError> {
    read_up_to(parts, body, settings.max_body_bytes).await
}

/// Creates the error for a body of more than `limit` bytes.
pub(in crate::http) fn body_too_large(limit: usize) -> ApiError {
    ApiError::http(
        StatusCode::PAYLOAD_TOO_LARGE,
        "body_too_large",
        format!("The body is larger than the limit of {limit} bytes."),
    )
}

/// Reads a body of at most `limit` bytes.
///
/// # Errors
/// 413 if the body is larger, 400 if it ends early, 408 if it takes too long.
pub(in crate::http) async fn read_up_to(
    parts: &Parts,
    body: Body,
    limit: usize,
) -> Result<axum::body::Bytes, ApiError> {
    let body_too_large = || body_too_large(limit);
    let declared = parts
        .headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > limit) {
        return Err(body_too_large());
    }
    match tokio::time::timeout(BODY_TIMEOUT, axum::body::to_bytes(body, limit)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_limit(&error) => Err(body_too_large()),
        Ok(Err(_)) => {
            Err(ApiError::http(StatusCode::BAD_REQUEST, "incomplete_body", "The body ended early."))
        }
        Err(_) => {
            Err(ApiError::http(StatusCode::REQUEST_TIMEOUT, "slow_body", "The body took too long to arrive."))
        }
    }
}

fn is_limit(error: &axum::Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<http_body_util::LengthLimitError>())
}

pub(in crate::http) fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next()?.trim().to_ascii_lowercase())
}

pub(in crate::http) fn context(
    parts: &Parts,
    bytes: &[u8],
    state: &ApiState,
) -> Result<RequestContext, ApiError> {
    let key = match idempotency_key(&parts.headers)? {
        None => None,
        Some(key) => {
            let mut message = format!("{} {}\n", parts.method, parts.uri.path()).into_bytes();
            message.extend_from_slice(bytes);
            Some((key, state.services.core.fingerprint(&message)))
        }
    };
    Ok(RequestContext { request_id: request_id::current(), surface: surface(parts), key })
}

/// Name of the surface that received a request; recorded with the events of its commands.
#[derive(Debug, Clone, Copy)]
pub struct Surface(pub &'static str);

fn surface(parts: &Parts) -> &'static str {
    parts.extensions.get::<Surface>().map_or("http", |surface| surface.0)
}

/// Returns the client's idempotency key, if any: 1 to 255 visible ASCII characters.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    let key = value.to_str().unwrap_or_default().trim();
    if !is_valid_key(key) || values.next().is_some() {
        return Err(invalid_key());
    }
    Ok(Some(key.to_owned()))
}

/// Returns whether the text is a valid idempotency key.
pub(in crate::http) fn is_valid_key(key: &str) -> bool {
    (1..=MAX_KEY_LENGTH).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
}

pub(in crate::http) fn invalid_key() -> ApiError {
    AppError::new(
        Kind::Invalid,
        "invalid_idempotency_key",
        "The Idempotency-Key must have 1 to 255 visible ASCII characters and be sent once.",
    )
    .into()
}
