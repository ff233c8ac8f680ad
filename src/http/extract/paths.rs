//! Extractors of requests about messages and branches.

use aide::OperationInput;
use aide::generate::GenContext;
use aide::openapi::{Operation, ReferenceOr};
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::{HeaderValue, header, request::Parts};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::{Command, PathId, context, document_path, media_type, not_json, parse_body, read};
use crate::app::AppError;
use crate::http::ApiState;
use crate::http::errors::ApiError;

/// A command with an optional JSON body.
#[derive(Debug)]
pub struct OptionalJson<T>(pub Command<T>);

impl<T: DeserializeOwned + Default> FromRequest<ApiState> for OptionalJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let bytes = read(&parts, body, &state.settings).await?;
        let json = media_type(&parts.headers)
            .is_some_and(|media| media == "application/json" || media.ends_with("+json"));
        let body = match (bytes.is_empty(), json) {
            (true, _) => T::default(),
            (false, true) => parse_body(&bytes)?,
            (false, false) => return Err(not_json()),
        };
        Ok(Self(Command { context: context(&parts, &bytes, state)?, body }))
    }
}

impl<T: JsonSchema> OperationInput for OptionalJson<T> {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        Command::<T>::operation_input(ctx, operation);
        if let Some(ReferenceOr::Item(body)) = &mut operation.request_body {
            body.required = false;
        }
    }
}

/// Response format that the client asks for in `Accept`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseFormat {
    /// A JSON document.
    Document,
    /// A stream of server-sent events.
    Stream,
}

impl FromRequestParts<ApiState> for ResponseFormat {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &ApiState) -> Result<Self, Self::Rejection> {
        let streams = |value: &HeaderValue| {
            let types = value.to_str().unwrap_or_default().split(',');
            types.into_iter().any(|one| {
                let media = one.split(';').next().unwrap_or_default().trim();
                media.eq_ignore_ascii_case("text/event-stream")
            })
        };
        let wants = parts.headers.get_all(header::ACCEPT).iter().any(streams);
        Ok(if wants { Self::Stream } else { Self::Document })
    }
}

impl OperationInput for ResponseFormat {}

/// Conversation id and message id in a path.
#[derive(Debug, Clone, Copy)]
pub struct PathMessage {
    /// Conversation id.
    pub conversation: Uuid,
    /// Message id.
    pub message: Uuid,
}

impl FromRequestParts<ApiState> for PathMessage {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, ApiError> {
        let (conversation, message) = path_pair(parts, state).await?;
        let message = Uuid::parse_str(&message).map_err(|_| AppError::not_found())?;
        Ok(Self { conversation, message })
    }
}

impl OperationInput for PathMessage {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        PathId::operation_input(ctx, operation);
        let schema = ctx.schema.subschema_for::<Uuid>();
        document_path(operation, "message_id", "Id of the message, a UUID.", schema);
    }
}

/// Conversation id and branch number in a path.
#[derive(Debug, Clone, Copy)]
pub struct PathBranch {
    /// Conversation id.
    pub conversation: Uuid,
    /// Branch number.
    pub branch: u32,
}

impl FromRequestParts<ApiState> for PathBranch {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, ApiError> {
        let (conversation, branch) = path_pair(parts, state).await?;
        let branch = branch.parse().map_err(|_| AppError::not_found())?;
        Ok(Self { conversation, branch })
    }
}

impl OperationInput for PathBranch {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        PathId::operation_input(ctx, operation);
        let schema = ctx.schema.subschema_for::<u32>();
        document_path(operation, "branch", "Number of the branch, from 0.", schema);
    }
}

/// Returns the id and the second parameter of a path.
async fn path_pair(parts: &mut Parts, state: &ApiState) -> Result<(Uuid, String), AppError> {
    Path::<(String, String)>::from_request_parts(parts, state)
        .await
        .ok()
        .and_then(|Path((id, second))| Some((Uuid::parse_str(&id).ok()?, second)))
        .ok_or_else(AppError::not_found)
}
