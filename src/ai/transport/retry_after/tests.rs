use reqwest::header::HeaderName;

use super::*;

fn wait(headers: &[(&'static str, &str)]) -> Option<Duration> {
    let pair = |&(name, value): &(&'static str, &str)| {
        (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
    };
    retry_after(&headers.iter().map(pair).collect())
}

#[test]
fn readable_wait_is_used_and_others_ignored() {
    assert_eq!(wait(&[("retry-after", "2")]), Some(Duration::from_secs(2)));
    assert_eq!(wait(&[("retry-after", "86400")]), Some(Duration::from_secs(86_400)));
    assert_eq!(wait(&[("retry-after-ms", "250"), ("retry-after", "1")]), Some(Duration::from_millis(250)));
    assert_eq!(wait(&[("retry-after-ms", "x"), ("retry-after", "1")]), Some(Duration::from_secs(1)));
    for bad in ["", "-1", "soon", "99999999999999999999", "Wed, 41 Oct 2015 07:28:00 GMT"] {
        assert_eq!(wait(&[("retry-after", bad)]), None, "{bad}");
    }
    assert_eq!(wait(&[]), None);
}

#[test]
fn date_counts_from_the_response_date_or_now() {
    let date = ("date", "Wed, 21 Oct 2015 07:28:00 GMT");
    let later = ("retry-after", "Wed, 21 Oct 2015 07:28:07 GMT");
    assert_eq!(wait(&[date, later]), Some(Duration::from_secs(7)));
    assert_eq!(wait(&[later]), None, "it has passed");
    assert_eq!(wait(&[date, ("retry-after", "Wed, 21 Oct 2015 07:27:59 GMT")]), None);
    let far = wait(&[("retry-after", "Fri, 31 Dec 9999 23:59:59 GMT")]);
    assert!(far.is_some_and(|wait| wait > Duration::from_secs(86_400)), "{far:?}");
}
