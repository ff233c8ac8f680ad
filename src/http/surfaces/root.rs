//! `GET /`: describes the service, as JSON or as a page for browsers.

use aide::axum::ApiRouter;
use aide::axum::routing::get_with;
use aide::openapi::MediaType;
use axum::Json;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use crate::http::ApiState;

/// The page has no script and no style, and fetches nothing.
const POLICY: &str = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
const PAGE: &str = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
                    content=\"width=device-width\"><title>Verbatim</title></head><body><h1>Verbatim</h1><p>An event-sourced chat backend.</p><ul><li><a href=\"/docs\">Interactive API description</a></li><li>\
                    <a href=\"/redoc\">API reference</a></li><li><a href=\"/openapi.json\">OpenAPI description</a></li>\
                    <li><a href=\"/health\">Health</a></li></ul></body></html>";

/// Returns the route.
pub fn routes() -> ApiRouter<ApiState> {
    ApiRouter::new().api_route(
        "/",
        get_with(root, |op| {
            op.id("root")
                .tag("service")
                .summary("Describe the service")
                .description("An HTML page if `Accept` prefers `text/html`.")
                .response_with::<200, Json<Root>, _>(|mut response| {
                    response.inner().content.insert("text/html".to_owned(), MediaType::default());
                    response
                })
        }),
    )
}

/// Description of the service and its entry points.
#[derive(Serialize, JsonSchema)]
struct Root {
    name: &'static str,
    description: &'static str,
    /// Interactive API description.
    docs: &'static str,
    /// API reference.
    redoc: &'static str,
    /// OpenAPI description.
    openapi: &'static str,
    health: &'static str,
}

/// Responds with JSON unless the client prefers HTML.
async fn root(headers: HeaderMap) -> Response {
    let mut response = if prefers_page(&headers) {
        ([(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY))], Html(PAGE)).into_response()
    } else {
        let body = Root {
            name: "Verbatim",
            description: "An event-sourced chat backend.",
            docs: "/docs",
            redoc: "/redoc",
            openapi: "/openapi.json",
            health: "/health",
        };
        Json(body).into_response()
    };
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    response
}

/// Returns whether the client prefers HTML to JSON.
fn prefers_page(headers: &HeaderMap) -> bool {
    quality(headers, "text", "html") > quality(headers, "application", "json")
}

/// Returns the weight of a media type in thousandths, by the most specific range; 0 if no range matches.
fn quality(headers: &HeaderMap, kind: &str, subtype: &str) -> u16 {
    let said = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut best = (0, 0);
    for range in said.flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let Some((one, other)) = parts.next().and_then(|media| media.split_once('/')) else { continue };
        let precision = match (one, other) {
            ("*", "*") => 1,
            (one, "*") if one.eq_ignore_ascii_case(kind) => 2,
            (one, other) if one.eq_ignore_ascii_case(kind) && other.eq_ignore_ascii_case(subtype) => 3,
            _ => continue,
        };
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        best = best.max((precision, weight.map_or(1000, thousandths)));
    }
    best.1
}

/// Parses a weight: `0.8` is 800, invalid text is 0.
fn thousandths(weight: &str) -> u16 {
    let weight = weight.trim().parse::<f32>().unwrap_or_default();
    // Clamp weights above 1 and NaN.
    (weight.clamp(0.0, 1.0) * 1000.0).round() as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_is_sent_only_if_preferred() {
        for (accept, page) in [
            (None, false),
            (Some("*/*"), false),
            (Some("application/json"), false),
            (Some("text/html"), true),
            (Some("TEXT/HTML"), true),
            (Some("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"), true),
            (Some("text/html, application/json"), false),
            (Some("text/html;q=0.8, application/json;q=0.9"), false),
            (Some("text/html;q=0.9, application/json; q=0.8"), true),
            (Some("text/*;q=0.9, */*;q=0.1"), true),
            (Some("text/html;q=0, */*"), false),
            (Some("text/html;q=rubbish"), false),
            (Some("text/html;q=NaN"), false),
            (Some("image/png"), false),
            (Some(""), false),
            (Some(",;=/"), false),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(accept) = accept {
                headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            }
            assert_eq!(prefers_page(&headers), page, "{accept:?}");
        }
        let mut headers = HeaderMap::new();
        headers.append(header::ACCEPT, HeaderValue::from_static("application/json;q=0.5"));
        headers.append(header::ACCEPT, HeaderValue::from_static("text/html"));
        assert!(prefers_page(&headers));
    }
}
