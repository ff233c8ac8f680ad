//! `GET /`: what this is.

use aide::axum::ApiRouter;
use aide::axum::routing::get_with;
use axum::Json;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::Doors;

/// The route.
pub fn routes() -> ApiRouter<Doors> {
    ApiRouter::new().api_route(
        "/",
        get_with(root, |op| {
            op.id("root").tag("service").summary("What this service is").response::<200, Json<Root>>()
        }),
    )
}

/// What this is, and where its parts are.
#[derive(Serialize, JsonSchema)]
struct Root {
    name: &'static str,
    description: &'static str,
    /// The description as a page to try things out.
    docs: &'static str,
    /// The description as a page to be read.
    redoc: &'static str,
    /// The description itself.
    openapi: &'static str,
    health: &'static str,
}

/// Information about the service. The answer depends on `Accept`: a browser will get a page from the doors that have one.
async fn root() -> Response {
    let body = Root {
        name: "Verbatim",
        description: "A chat backend that keeps every word as an event.",
        docs: "/docs",
        redoc: "/redoc",
        openapi: "/openapi.json",
        health: "/health",
    };
    let mut response = Json(body).into_response();
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    response
}
