//! How long a provider asks to wait before another try.

use std::time::{Duration, SystemTime};

use reqwest::header::{DATE, HeaderMap, HeaderValue, RETRY_AFTER};

use crate::clock::Clock;

/// What the headers of a refusal ask for: `retry-after-ms`, which OpenAI adds, or `Retry-After` in seconds or as a date.
/// A date is taken from the answer's own `Date` on, so that the provider's clock need not agree with ours. None: nothing,
/// nothing readable, or a time that has passed.
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
mod tests {
    use reqwest::header::HeaderName;

    use super::*;

    fn wait(headers: &[(&'static str, &str)]) -> Option<Duration> {
        let pair = |&(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        retry_after(&headers.iter().map(pair).collect())
    }

    #[test]
    fn a_readable_wait_is_taken_and_any_other_ignored() {
        assert_eq!(wait(&[("retry-after", "2")]), Some(Duration::from_secs(2)));
        assert_eq!(wait(&[("retry-after", "86400")]), Some(Duration::from_secs(86_400)));
        assert_eq!(
            wait(&[("retry-after-ms", "250"), ("retry-after", "1")]),
            Some(Duration::from_millis(250))
        );
        assert_eq!(wait(&[("retry-after-ms", "x"), ("retry-after", "1")]), Some(Duration::from_secs(1)));
        for bad in ["", "-1", "soon", "99999999999999999999", "Wed, 41 Oct 2015 07:28:00 GMT"] {
            assert_eq!(wait(&[("retry-after", bad)]), None, "{bad}");
        }
        assert_eq!(wait(&[]), None);
    }

    #[test]
    fn a_date_counts_from_the_answers_own_date_or_else_from_now() {
        let date = ("date", "Wed, 21 Oct 2015 07:28:00 GMT");
        let later = ("retry-after", "Wed, 21 Oct 2015 07:28:07 GMT");
        assert_eq!(wait(&[date, later]), Some(Duration::from_secs(7)));
        assert_eq!(wait(&[later]), None, "it has passed");
        assert_eq!(wait(&[date, ("retry-after", "Wed, 21 Oct 2015 07:27:59 GMT")]), None);
        let far = wait(&[("retry-after", "Fri, 31 Dec 9999 23:59:59 GMT")]);
        assert!(far.is_some_and(|wait| wait > Duration::from_secs(86_400)), "{far:?}");
    }
}
