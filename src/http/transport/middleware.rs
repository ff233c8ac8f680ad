//! Middleware around every route: request id, span, log line, metrics, response headers, timeouts.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};
use tracing::Instrument as _;

use crate::app::rate_limit_headers::RATE_LIMIT_HEADERS;
use crate::app::{AppError, Kind};
use crate::http::ApiState;
use crate::http::errors::ApiError;
use crate::http::transport::request_id;
use crate::telemetry::panics::join_error;
use traces::{Span, spans};

/// Maximum length of a request URI, in bytes.
const MAX_URI: usize = 8 * 1024;
/// Timeout of an upload. Mobile networks are slow; a stalled body is cut much earlier.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(300);
/// Routes with the longer timeout.
const UPLOADS: [&str; 2] = ["/files", "/files/{id}/content"];
/// Routes that machines probe every few seconds; they are not traced.
const PROBES: [&str; 3] = ["/health", "/livez", "/readyz"];
/// Header that carries log positions.
pub const POSITION: HeaderName = HeaderName::from_static("verbatim-position");
/// Header that carries the caller's trace context.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Header that carries the request id.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Origins that may call the API from a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CorsRule {
    /// Pages of these origins.
    Listed(Vec<HeaderValue>),
    /// All pages, without credentials.
    Any,
}

/// Assigns a request id and a span, and adds response headers, a log line and metrics.
pub async fn request(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = incoming_id(&request).unwrap_or_else(|| state.services.core.clock.id().to_string());
    let method = method_label(request.method());
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    // Only the path: the query may contain a token.
    let path: String = request.uri().path().chars().take(200).collect();
    let span =
        tracing::info_span!("http.request", request.id = %id, http.method = method, http.route = %route);
    let traced = match route.as_str() {
        probe if PROBES.contains(&probe) => Span::default(),
        route => spans::request(method, route, &id, incoming_trace(request.headers())),
    };
    let too_long = request.uri().to_string().len() > MAX_URI;
    let respond = async {
        if too_long {
            return ApiError::http(StatusCode::URI_TOO_LONG, "uri_too_long", "The URI is too long.")
                .into_response();
        }
        next.run(request).await
    };
    let respond = request_id::CURRENT.scope(id.clone(), respond.instrument(span.clone()));
    let mut response = traced.run(respond).await;
    let status = response.status();
    let elapsed = started.elapsed();
    traced.record_status(status.as_u16());
    traced.in_scope(|| {
        span.in_scope(|| {
            tracing::info!(http.path = %path, http.status = status.as_u16(), duration_ms = elapsed.as_secs_f64() * 1e3, "answered");
        });
    });
    drop(traced);
    metrics::counter!("verbatim_http_requests_total", "route" => route.clone(), "method" => method, "status" => status.as_u16().to_string())
        .increment(1);
    metrics::histogram!("verbatim_http_request_seconds", "route" => route, "status" => status_class(status))
        .record(elapsed.as_secs_f64());
    security_headers(response.headers_mut(), is_https(state.settings.public_url.as_deref()));
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// Returns the method as a metric label. Clients may send arbitrary methods.
fn method_label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "_OTHER",
    }
}

/// Status class, e.g. `2xx`.
fn status_class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        ..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        500.. => "5xx",
    }
}

/// Returns the caller's trace context, unless it is sent twice.
fn incoming_trace(headers: &HeaderMap) -> Option<&str> {
    if !traces::is_enabled() {
        return None;
    }
    let mut values = headers.get_all(TRACEPARENT).iter();
    match (values.next(), values.next()) {
        (Some(one), None) => one.to_str().ok(),
        _ => None,
    }
}

/// Returns the client's request id if it is short and plain.
fn incoming_id(request: &Request) -> Option<String> {
    let id = request.headers().get(REQUEST_ID)?.to_str().ok()?;
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    ((1..=128).contains(&id.len()) && id.bytes().all(harmless)).then(|| id.to_owned())
}

/// Returns whether clients reach this service over TLS. A proxy terminates TLS; the public URL tells.
fn is_https(public_url: Option<&str>) -> bool {
    public_url.and_then(|url| url.get(..8)).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"))
}

/// Adds security headers to a response. Headers that the surface has set are kept.
fn security_headers(headers: &mut HeaderMap, https: bool) {
    let defaults = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    ];
    for (name, value) in defaults {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if https {
        // Without `includeSubDomains`: subdomains are not ours.
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
}

/// Enforces the request timeout. Commands run on tracked tasks, which a disconnect cannot cancel and shutdown waits
/// for.
pub async fn spawn_tracked(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let limit = match request.extensions().get::<MatchedPath>().map(MatchedPath::as_str) {
        Some(path) if UPLOADS.contains(&path) => state.settings.request_timeout.max(UPLOAD_TIMEOUT),
        _ => state.settings.request_timeout,
    };
    let outcome = if is_safe(request.method()) {
        tokio::time::timeout(limit, next.run(request)).await.map_err(|_| timed_out())
    } else {
        if state.services.stopping.is_cancelled() {
            return ApiError::from(AppError::shutting_down()).into_response();
        }
        let id = request_id::current();
        let headers = RATE_LIMIT_HEADERS.try_with(Clone::clone).unwrap_or_default();
        let work = RATE_LIMIT_HEADERS
            .scope(headers, request_id::CURRENT.scope(id, next.run(request)))
            .in_current_span();
        let task = state.services.tasks.spawn(traces::in_current_span(work));
        match tokio::time::timeout(limit, task).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(ApiError::from(AppError::internal(join_error(&error)))),
            Err(_) => Err(timed_out()),
        }
    };
    outcome.unwrap_or_else(IntoResponse::into_response)
}

fn timed_out() -> ApiError {
    AppError::new(Kind::Unavailable, "timeout", "The request took too long.")
        .after(Duration::from_secs(1))
        .into()
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Makes a query wait, for a bounded time, until the read models have reached the position it names.
pub async fn await_position(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    if is_safe(request.method())
        && let Err(error) = wait_for_position(&state, request.headers()).await
    {
        return error.into_response();
    }
    next.run(request).await
}

/// Waits for the position in the request's header, if any.
///
/// # Errors
/// 400 if the header is not a position.
pub async fn wait_for_position(state: &ApiState, headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(value) = headers.get(&POSITION) else { return Ok(()) };
    let position =
        value.to_str().ok().and_then(|text| text.parse::<i64>().ok()).filter(|position| *position >= 0);
    let position = position.ok_or_else(|| {
        ApiError::http(
            StatusCode::BAD_REQUEST,
            "invalid_position",
            "Verbatim-Position must be a position from an earlier response.",
        )
    })?;
    state.services.core.catch_up_all(position).await;
    Ok(())
}

/// Turns a handler panic into a 500 response and logs it.
pub fn catch_panics() -> CatchPanicLayer<impl tower_http::catch_panic::ResponseForPanic<ResponseBody = Body>>
{
    CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| {
        ApiError::from(AppError::internal(anyhow::anyhow!("a handler panicked"))).into_response()
    })
}

/// Returns the CORS rules. Credentials are not allowed: a page must set the token's header itself.
pub fn cors(rule: &CorsRule) -> CorsLayer {
    let origin = match rule {
        CorsRule::Listed(origins) => AllowOrigin::list(origins.iter().cloned()),
        CorsRule::Any => AllowOrigin::any(),
    };
    CorsLayer::new()
        .allow_origin(origin)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers(AllowHeaders::list([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::ACCEPT,
            header::ACCEPT_LANGUAGE,
            HeaderName::from_static("idempotency-key"),
            HeaderName::from_static("last-event-id"),
            POSITION,
            REQUEST_ID,
            TRACEPARENT,
        ]))
        .expose_headers([
            POSITION,
            REQUEST_ID,
            header::LOCATION,
            header::RETRY_AFTER,
            crate::http::transport::rate_limits::RATE_LIMIT,
            crate::http::transport::rate_limits::RATE_LIMIT_POLICY,
        ])
        .max_age(Duration::from_secs(600))
}
