//! The OpenAPI description, generated from the code, and the pages that show it.
//!
//! Routes describe themselves. [`complete`] adds error responses (`failures`), links between operations (`links`) and
//! configured values (`settings`).

pub(in crate::http) mod failures;
mod links;
mod settings;

use std::sync::Arc;

use aide::openapi::{ApiKeyLocation, Info, OpenApi, ReferenceOr, SecurityScheme};
use aide::redoc::Redoc;
use aide::swagger::Swagger;
use aide::transform::TransformOpenApi;
use axum::Router;
use axum::http::{HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;

use crate::http::ApiState;
use crate::http::extract::auth::{QUERY_TICKET, QUERY_TOKEN, SCHEME};

/// The pages have inline scripts and fetch nothing but the description.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval' blob:; style-src 'unsafe-inline'; \
                           img-src 'self' data:; font-src 'self' data:; connect-src 'self'; worker-src blob:; \
                           frame-ancestors 'none'; base-uri 'none'";

/// Returns the description without routes.
pub fn description() -> OpenApi {
    let mut api = OpenApi {
        info: Info {
            title: "Verbatim".to_owned(),
            description: Some(
                "An event-sourced chat backend. Ids are UUIDs (version 7 where the server creates them), also where other chat APIs use \
                 integers. Every error has the shape of `ErrorBody`. Responses to commands carry `Verbatim-Position`; a query that sends it \
                 waits until it includes the effect of the command. Besides the statuses of each operation, any request can receive \
                 405 (unknown method), 414 or 431 (URI or headers too long). U+0000 is rejected in every text, with 400."
                    .to_owned(),
            ),
            version: crate::VERSION.to_owned(),
            ..Info::default()
        },
        ..OpenApi::default()
    };
    let bearer = SecurityScheme::Http {
        scheme: "bearer".to_owned(),
        bearer_format: Some("JWT".to_owned()),
        description: Some("An access token from sign-in.".to_owned()),
        extensions: Default::default(),
    };
    let in_query = |name: &str, description: &str| SecurityScheme::ApiKey {
        location: ApiKeyLocation::Query,
        name: name.to_owned(),
        description: Some(description.to_owned()),
        extensions: Default::default(),
    };
    let token = "An access token in the URL of a WebSocket, for clients that can neither set a header nor get a ticket.";
    let ticket = "A ticket that opens one WebSocket, within 30 seconds.";
    let _ = TransformOpenApi::new(&mut api)
        .security_scheme(SCHEME, bearer)
        .security_scheme(QUERY_TOKEN, in_query(QUERY_TOKEN, token))
        .security_scheme(QUERY_TICKET, in_query(QUERY_TICKET, ticket));
    api
}

/// Adds what routes cannot know about themselves.
pub fn complete(api: &mut OpenApi, state: &ApiState) {
    for (path, item) in api.paths.iter_mut().flat_map(|paths| paths.paths.iter_mut()) {
        let ReferenceOr::Item(item) = item else { continue };
        let methods = [
            ("get", &mut item.get),
            ("put", &mut item.put),
            ("post", &mut item.post),
            ("delete", &mut item.delete),
            ("patch", &mut item.patch),
        ];
        for (method, operation) in methods {
            if let Some(operation) = operation {
                failures::complete(path, method, operation);
                links::add(operation);
            }
        }
    }
    let components = api.components.get_or_insert_default();
    components.responses.extend(failures::components());
    settings::fill_in(components, state);
}

/// Returns the routes `/openapi.json`, `/docs` and `/redoc`.
pub fn routes(api: OpenApi) -> Router<ApiState> {
    let json: Arc<str> = serde_json::to_string(&api).unwrap_or_default().into();
    let swagger = page(Swagger::new("/openapi.json").with_title("Verbatim API").html());
    let redoc = page(Redoc::new("/openapi.json").with_title("Verbatim API").html());
    Router::new()
        .route(
            "/openapi.json",
            get(move || {
                let json = Arc::clone(&json);
                async move { ([(header::CONTENT_TYPE, "application/json")], json.to_string()) }
            }),
        )
        .route("/docs", get(swagger))
        .route("/redoc", get(redoc))
}

fn page(html: String) -> impl Fn() -> std::future::Ready<Response> + Clone + Send + Sync + 'static {
    let html = axum::body::Bytes::from(html);
    move || {
        let mut response = Html(html.clone()).into_response();
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_POLICY));
        std::future::ready(response)
    }
}
