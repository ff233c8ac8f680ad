//! Error responses: `{"detail", "code", "request_id", "errors"?, "kept"?}`.
//!
//! Statuses: 400 for a well-formed body that breaks a rule; 401 for a missing or invalid token; 403 for a missing
//! permission; 404 for a resource that does not exist or belongs to another user; 409 for a conflict with the current
//! state; 413, 414 and 431 for too much data; 415 for a file type that is not accepted; 422 for a malformed request.
//! 429 and 503 carry `Retry-After`. A 5xx always has the same text; the cause is in the log, under the request id.

use aide::OperationOutput;
use aide::generate::GenContext;
use aide::openapi::{Operation, Response as ApiResponse};
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use crate::app::{AppError, Kind};
use crate::http::formats::answer::set_location_and_position;
use crate::http::openapi::failures::add_failures;
use crate::http::transport::request_id;

/// Body of every error response.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ErrorBody {
    /// One sentence for users.
    pub detail: String,
    /// Stable code for programs.
    pub code: String,
    /// Request id, as in `X-Request-Id`.
    pub request_id: String,
    /// The invalid fields, if known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// What was stored, if the command succeeded and the reply failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<Box<PersistedMessage>>,
}

/// A message that was stored although its reply failed or was cancelled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PersistedMessage {
    /// Conversation id.
    pub session_id: Uuid,
    /// Id of the message that was sent.
    pub user_message_id: Uuid,
    /// Id of the reply, for its provenance; also in `Location`.
    pub reply_id: Uuid,
    /// Position of the reply's end, as in `Verbatim-Position`.
    #[serde(skip)]
    pub position: Option<i64>,
}

/// An invalid field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FieldError {
    /// Path of the field; `.` for the whole body.
    pub field: String,
    /// What is wrong with the field.
    pub message: String,
}

/// An error on its way to the client.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    error: AppError,
    errors: Vec<FieldError>,
    kept: Option<Box<PersistedMessage>>,
}

impl ApiError {
    /// Creates an error that only HTTP knows, with its own status.
    pub fn http(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, error: AppError::new(Kind::Invalid, code, detail), errors: Vec::new(), kept: None }
    }

    /// Adds the invalid fields.
    #[must_use]
    pub fn with_errors(mut self, errors: Vec<FieldError>) -> Self {
        self.errors = errors;
        self
    }

    /// Adds what was stored.
    #[must_use]
    pub fn with_kept(mut self, kept: PersistedMessage) -> Self {
        self.kept = Some(Box::new(kept));
        self
    }

    /// Returns the underlying error.
    pub fn error(&self) -> &AppError {
        &self.error
    }

    /// Returns the invalid fields, if known.
    pub fn errors(&self) -> &[FieldError] {
        &self.errors
    }

    /// Returns the response status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns the seconds after which a retry makes sense.
    pub fn retry_after(&self) -> Option<u64> {
        let after = self.error.retry_after?;
        Some((after.as_secs() + u64::from(after.subsec_nanos() > 0)).max(1))
    }

    /// Logs the cause of a server error.
    pub fn report(&self) {
        let (code, cause) = (self.error.code, self.error.source.as_ref().map(|source| format!("{source:#}")));
        if self.status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(code, cause, "request failed");
        } else if self.status.is_server_error() {
            tracing::warn!(code, cause, "request failed");
        }
    }
}

/// Maps an error kind to its status. This is the only such table.
pub fn status(kind: Kind) -> StatusCode {
    match kind {
        Kind::Invalid => StatusCode::BAD_REQUEST,
        Kind::Unprocessable => StatusCode::UNPROCESSABLE_ENTITY,
        Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
        Kind::Forbidden => StatusCode::FORBIDDEN,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::Conflict => StatusCode::CONFLICT,
        Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Kind::UnsupportedType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Kind::StorageFull => StatusCode::INSUFFICIENT_STORAGE,
        Kind::Throttled => StatusCode::TOO_MANY_REQUESTS,
        Kind::Busy | Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl From<AppError> for ApiError {
    fn from(error: AppError) -> Self {
        Self { status: status(error.kind), error, errors: Vec::new(), kept: None }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        self.report();
        let retry_after = self.retry_after();
        let Self { status, error, errors, kept } = self;
        let place = kept.as_ref().map(|kept| (format!("/api/replies/{}", kept.reply_id), kept.position));
        let body = ErrorBody {
            detail: error.detail,
            code: error.code.to_owned(),
            request_id: request_id::current(),
            errors,
            kept,
        };
        let mut response = (status, Json(body)).into_response();
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some((location, position)) = place {
            set_location_and_position(response.headers_mut(), Some(location), position);
        }
        response
    }
}

impl OperationOutput for ApiError {
    type Inner = ErrorBody;

    fn operation_response(ctx: &mut GenContext, operation: &mut Operation) -> Option<ApiResponse> {
        Json::<ErrorBody>::operation_response(ctx, operation)
    }

    fn inferred_responses(
        ctx: &mut GenContext,
        operation: &mut Operation,
    ) -> Vec<(Option<u16>, ApiResponse)> {
        // Only registers the schema: responses refer to the description's components.
        let _ = Self::operation_response(ctx, operation);
        add_failures(operation, &[500, 503]);
        Vec::new()
    }
}

/// Responds to an unknown path.
pub async fn no_such_route() -> ApiError {
    AppError::not_found().into()
}

/// Responds to a method that the path does not support. The router adds the `Allow` header.
pub async fn no_such_method() -> ApiError {
    ApiError::http(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "This method is not allowed for this path.",
    )
}
