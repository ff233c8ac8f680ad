//! How long a provider asks to wait before a retry.

use std::time::{Duration, SystemTime};

use reqwest::header::{DATE, HeaderMap, HeaderValue, RETRY_AFTER};

use crate::clock::Clock;

/// Returns the wait that an error's headers ask for: `retry-after-ms` (OpenAI), or `Retry-After` in seconds or as a date. A
/// date counts from the response's own `Date`, so that clocks need not agree. `None` if absent, malformed or past.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let millis = headers.get("retry-after-ms").and_then(number).map(|ms| Duration::from_millis(ms.into()));
    millis.or_else(|| {
        let asked = headers.get(RETRY_AFTER)?;
        let seconds = number(asked).map(|seconds| Duration::from_secs(seconds.into()));
        seconds.or_else(|| {
            let until = date(asked)?;
            let now = headers.get(DATE).and_then(date);
            until.duration_since(now.unwrap_or_else(|| Clock::system().now().into())).ok()
        })
    })
}

fn number(value: &HeaderValue) -> Option<u32> {
    value.to_str().ok()?.trim().parse().ok()
}

fn date(value: &HeaderValue) -> Option<SystemTime> {
    httpdate::parse_http_date(value.to_str().ok()?).ok()
}

#[cfg(test)]
mod tests;
