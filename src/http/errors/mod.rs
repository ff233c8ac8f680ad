//! Failures as answers: `{"detail", "code", "request_id", "errors"?, "kept"?}`, whatever went wrong.
//!
//! 400: a rule is broken by a well-formed body. 401: token missing or bad. 403: not permitted. 404: not there, or not
//! the asker's. 409: contradicts what is there. 413, 414, 431: too large. 415: a type of file that is not taken. 422: malformed, missing or mistyped. 429 and
//! 503 come with `Retry-After`. The text of a 5xx is always the same; what happened is in the log, under the request's id.

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

/// The body of every failure.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ErrorBody {
    /// One sentence for people.
    pub detail: String,
    /// Stable name for programs.
    pub code: String,
    /// Id of the request, as in `X-Request-Id`.
    pub request_id: String,
    /// The fields that are wrong, where that is known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// What was kept all the same, where a command was carried out and what it led to failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<Box<PersistedMessage>>,
}

/// A message that was kept although its reply ended without an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PersistedMessage {
    /// The conversation.
    pub session_id: Uuid,
    /// The message that was sent.
    pub user_message_id: Uuid,
    /// Its reply, for its provenance; also in `Location`.
    pub reply_id: Uuid,
    /// Position of what is known of it, as in `Verbatim-Position`.
    #[serde(skip)]
    pub position: Option<i64>,
}

/// One field that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FieldError {
    /// Path of the field, `.` for the whole body.
    pub field: String,
    /// What is wrong about it.
    pub message: String,
}

/// A failure on its way to the client.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    error: AppError,
    errors: Vec<FieldError>,
    kept: Option<Box<PersistedMessage>>,
}

impl ApiError {
    /// A failure that only HTTP knows, with its own status.
    pub fn http(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, error: AppError::new(Kind::Invalid, code, detail), errors: Vec::new(), kept: None }
    }

    /// Names the fields that are wrong.
    #[must_use]
    pub fn with_errors(mut self, errors: Vec<FieldError>) -> Self {
        self.errors = errors;
        self
    }

    /// Names what was kept.
    #[must_use]
    pub fn with_kept(mut self, kept: PersistedMessage) -> Self {
        self.kept = Some(Box::new(kept));
        self
    }

    /// The failure itself.
    pub fn error(&self) -> &AppError {
        &self.error
    }

    /// The fields that are wrong, where that is known.
    pub fn errors(&self) -> &[FieldError] {
        &self.errors
    }

    /// The status it is answered with.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Seconds after which it is worth trying again.
    pub fn retry_after(&self) -> Option<u64> {
        let after = self.error.retry_after?;
        Some((after.as_secs() + u64::from(after.subsec_nanos() > 0)).max(1))
    }

    /// Tells the log what happened, when it is our failure.
    pub fn report(&self) {
        let (code, cause) = (self.error.code, self.error.source.as_ref().map(|source| format!("{source:#}")));
        if self.status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(code, cause, "request failed");
        } else if self.status.is_server_error() {
            tracing::warn!(code, cause, "request failed");
        }
    }
}

/// The one table from kinds to statuses.
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
        // For the schema's sake: the answers themselves refer to the description's components.
        let _ = Self::operation_response(ctx, operation);
        add_failures(operation, &[500, 503]);
        Vec::new()
    }
}

/// The answer to a path that no door has.
pub async fn no_such_route() -> ApiError {
    AppError::not_found().into()
}

/// The answer to a method that a path does not take; the `Allow` header is added by the router.
pub async fn no_such_method() -> ApiError {
    ApiError::http(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "This method is not allowed here.")
}
