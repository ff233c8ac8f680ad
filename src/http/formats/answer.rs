//! JSON responses with a status, a body and a log position.

use aide::OperationOutput;
use aide::generate::GenContext;
use aide::openapi::{Operation, Response as ApiResponse};
use axum::Json;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use crate::app::AppError;
use crate::http::errors::ApiError;
use crate::http::transport::middleware::POSITION;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A JSON response.
#[derive(Debug)]
pub struct Answer<T> {
    status: StatusCode,
    body: T,
    position: Option<i64>,
    location: Option<String>,
}

impl<T> Answer<T> {
    /// Creates a 200 response.
    pub fn ok(body: T) -> Self {
        Self { status: StatusCode::OK, body, position: None, location: None }
    }

    /// Creates a 201 response.
    pub fn created(body: T) -> Self {
        Self { status: StatusCode::CREATED, ..Self::ok(body) }
    }

    /// Creates a 202 response: the client can wait for the result at `location`.
    pub fn accepted(body: T, location: String) -> Self {
        Self { status: StatusCode::ACCEPTED, location: Some(location), ..Self::ok(body) }
    }

    /// Creates a 202 response without a location to wait at.
    pub fn queued(body: T) -> Self {
        Self { status: StatusCode::ACCEPTED, ..Self::ok(body) }
    }

    /// Sets the `Location` header.
    #[must_use]
    pub fn with_location(mut self, location: String) -> Self {
        self.location = Some(location);
        self
    }

    /// Sets the `Verbatim-Position` header.
    #[must_use]
    pub fn with_position(mut self, position: Option<i64>) -> Self {
        self.position = position;
        self
    }
}

impl<T: Serialize> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        // Serialize into a plain vector: a page is written in hundreds of pieces, and axum's own buffer showed up in
        // profiles.
        let mut response = match serde_json::to_vec(&self.body) {
            Ok(body) => (self.status, [(header::CONTENT_TYPE, JSON)], body).into_response(),
            Err(error) => ApiError::from(AppError::internal(error)).into_response(),
        };
        set_location_and_position(response.headers_mut(), self.location, self.position);
        response
    }
}

/// Sets the `Location` and `Verbatim-Position` headers.
pub(in crate::http) fn set_location_and_position(
    headers: &mut HeaderMap,
    location: Option<String>,
    position: Option<i64>,
) {
    if let Some(position) = position {
        headers.insert(POSITION, HeaderValue::from(position));
    }
    if let Some(location) = location.and_then(|location| HeaderValue::from_str(&location).ok()) {
        headers.insert(header::LOCATION, location);
    }
}

impl<T: JsonSchema> OperationOutput for Answer<T> {
    type Inner = T;

    fn operation_response(ctx: &mut GenContext, operation: &mut Operation) -> Option<ApiResponse> {
        Json::<T>::operation_response(ctx, operation)
    }

    fn inferred_responses(_: &mut GenContext, _: &mut Operation) -> Vec<(Option<u16>, ApiResponse)> {
        // Each route declares its own success statuses.
        Vec::new()
    }
}

/// A 204 response.
#[derive(Debug)]
pub struct Done {
    /// Log position of the command.
    pub position: Option<i64>,
}

impl IntoResponse for Done {
    fn into_response(self) -> Response {
        let mut response = StatusCode::NO_CONTENT.into_response();
        if let Some(position) = self.position {
            response.headers_mut().insert(POSITION, HeaderValue::from(position));
        }
        response
    }
}

impl OperationOutput for Done {
    type Inner = ();

    fn operation_response(ctx: &mut GenContext, operation: &mut Operation) -> Option<ApiResponse> {
        axum::response::NoContent::operation_response(ctx, operation)
    }

    fn inferred_responses(
        ctx: &mut GenContext,
        operation: &mut Operation,
    ) -> Vec<(Option<u16>, ApiResponse)> {
        axum::response::NoContent::inferred_responses(ctx, operation)
    }
}
