//! Rate-limit state of a request, recorded by the use cases and sent in the response headers.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

/// State of one rate limit, as the response headers show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimitStatus {
    /// `user`, `session` or `channel` for messages; `address`, `account` or `names` for throttled actions.
    pub name: &'static str,
    /// Requests allowed per window.
    pub quota: u32,
    /// Length of the window.
    pub window: Duration,
    /// Requests that are left now.
    pub remaining: u64,
    /// Time until the full quota is available again; after a rejection, until one request is.
    pub reset: Duration,
}

tokio::task_local! {
    /// Rate limits of the current request. Set around each request whose response can carry the headers.
    pub static RATE_LIMIT_HEADERS: RateLimitHeaders;
}

/// Collects the rate limits that a request was charged to.
#[derive(Debug, Clone, Default)]
pub struct RateLimitHeaders(Arc<Mutex<Vec<RateLimitStatus>>>);

impl RateLimitHeaders {
    /// Returns what was recorded.
    pub fn recorded(&self) -> Vec<RateLimitStatus> {
        self.0.lock().clone()
    }
}

/// Records the rate limits of the current request.
pub(super) fn record(limits: Vec<RateLimitStatus>) {
    // Outside of a request, as on a socket, there are no headers.
    let _ = RATE_LIMIT_HEADERS.try_with(|headers| *headers.0.lock() = limits);
}
