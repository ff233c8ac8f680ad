//! The API's description, made from the code, and the pages that show it, served from the binary.

use std::sync::Arc;

use aide::openapi::{Info, OpenApi, SecurityScheme};
use aide::redoc::Redoc;
use aide::swagger::Swagger;
use aide::transform::TransformOpenApi;
use axum::Router;
use axum::http::{HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;

use super::Doors;
use super::auth::SCHEME;

/// The pages carry their scripts inline, and fetch nothing but the description.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval' blob:; style-src 'unsafe-inline'; \
                           img-src 'self' data:; font-src 'self' data:; connect-src 'self'; worker-src blob:; \
                           frame-ancestors 'none'; base-uri 'none'";

/// The description's frame; routes add themselves.
pub fn description() -> OpenApi {
    let mut api = OpenApi {
        info: Info {
            title: "Verbatim".to_owned(),
            description: Some(
                "A chat backend that keeps every word as an event. Ids are UUIDs (version 7 where they are minted), also \
                 where other chat APIs show integers. Every failure has the shape of `ErrorBody`. Answers to commands \
                 carry `Verbatim-Position`; a query that is sent it waits until it can show what the command did."
                    .to_owned(),
            ),
            version: crate::VERSION.to_owned(),
            ..Info::default()
        },
        ..OpenApi::default()
    };
    let _ = TransformOpenApi::new(&mut api).security_scheme(
        SCHEME,
        SecurityScheme::Http {
            scheme: "bearer".to_owned(),
            bearer_format: Some("JWT".to_owned()),
            description: Some("An access token, as sign-in gives it.".to_owned()),
            extensions: Default::default(),
        },
    );
    api
}

/// `/openapi.json`, `/docs` and `/redoc`.
pub fn routes(api: OpenApi) -> Router<Doors> {
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
