//! Rate limits in HTTP: limits for requests without a token, and the headers that report what is left.

use std::sync::Once;
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::app::rate_limit_headers::{RATE_LIMIT_HEADERS, RateLimitHeaders, RateLimitStatus};
use crate::app::rate_limits::ThrottledAction;
use crate::http::ApiState;
use crate::http::errors::ApiError;
use crate::http::transport::client_address::{Peer, rate_limit_key};

/// Headers of the IETF draft on rate limit headers for HTTP.
pub(in crate::http) const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
pub(in crate::http) const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Routes of all surfaces that anyone may call and attackers would call often.
const THROTTLED_ROUTES: [(&str, ThrottledAction); 8] = [
    ("/api/auth/login", ThrottledAction::SignIn),
    ("/auth/signin", ThrottledAction::SignIn),
    ("/api/auth/register", ThrottledAction::Register),
    ("/auth/signup", ThrottledAction::Register),
    ("/api/auth/refresh", ThrottledAction::Refresh),
    ("/api/auth/password/forgot", ThrottledAction::Reset),
    ("/api/auth/password/reset", ThrottledAction::Reset),
    ("/password-reset", ThrottledAction::Reset),
];

/// Counts a request to a throttled route before its body is read, and adds rate limit headers to the response.
pub async fn enforce(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    if let Some(action) = throttled_action(&request) {
        let Some(Peer(peer)) = request.extensions().get::<Peer>().copied() else {
            // Only a router without a listener has no peer address.
            return next.run(request).await;
        };
        let proxies = &state.settings.proxies;
        if proxies.ignores_forwarding(request.headers()) {
            static WARNED: Once = Once::new();
            WARNED.call_once(|| {
                tracing::warn!(
                    "a request has a forwarding header, but TRUSTED_PROXIES is empty: all clients behind the proxy share one rate limit"
                );
            });
        }
        let client = proxies.client(peer.ip(), request.headers());
        if let Err(error) = state.services.rate_limits.count_attempt(action, &rate_limit_key(client)).await {
            let policy = state.services.rate_limits.attempt_status(action, &error);
            let mut response = ApiError::from(error).into_response();
            set_headers(response.headers_mut(), policy.as_slice());
            return response;
        }
    }
    let recorded = RateLimitHeaders::default();
    let mut response = RATE_LIMIT_HEADERS.scope(recorded.clone(), next.run(request)).await;
    set_headers(response.headers_mut(), &recorded.recorded());
    response
}

/// Returns whether requests to this route are counted.
pub(in crate::http) fn is_throttled(path: &str) -> bool {
    THROTTLED_ROUTES.iter().any(|(route, _)| *route == path)
}

fn throttled_action(request: &Request) -> Option<ThrottledAction> {
    if request.method() != Method::POST {
        return None;
    }
    let path = request.extensions().get::<MatchedPath>()?.as_str();
    THROTTLED_ROUTES.iter().find(|(route, _)| *route == path).map(|(_, action)| *action)
}

fn set_headers(headers: &mut HeaderMap, policies: &[RateLimitStatus]) {
    if policies.is_empty() {
        return;
    }
    let list = |one: fn(&RateLimitStatus) -> String| policies.iter().map(one).collect::<Vec<_>>().join(", ");
    let quota =
        list(|policy| format!("\"{}\";q={};w={}", policy.name, policy.quota, policy.window.as_secs()));
    let rest =
        list(|policy| format!("\"{}\";r={};t={}", policy.name, policy.remaining, seconds(policy.reset)));
    for (name, text) in [(RATE_LIMIT_POLICY, quota), (RATE_LIMIT, rest)] {
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(name, value);
        }
    }
}

/// Rounds up to whole seconds.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_limits_are_reported_in_two_headers() {
        let window = Duration::from_secs(60);
        let policy = |name, quota, rest, reset| {
            let reset = Duration::from_millis(reset);
            RateLimitStatus { name, quota, window, remaining: rest, reset }
        };
        let mut headers = HeaderMap::new();
        set_headers(&mut headers, &[policy("user", 30, 29, 60_000), policy("session", 10, 0, 1_001)]);
        assert_eq!(headers[RATE_LIMIT_POLICY], "\"user\";q=30;w=60, \"session\";q=10;w=60");
        assert_eq!(headers[RATE_LIMIT], "\"user\";r=29;t=60, \"session\";r=0;t=2");
        let mut none = HeaderMap::new();
        set_headers(&mut none, &[]);
        assert!(none.is_empty());
    }
}
