//! Error responses: their classification and retry delay.

use std::time::Duration;

use serde_json::Value;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;
use verbatim::ai::{Limits, ProviderError, TimeoutKind};

use super::{APIS, call, outcome, provider_at};
use crate::support::openai_server::{Act, KEY, OpenAiServer};

#[tokio::test]
async fn errors_are_classified_by_status_and_code() {
    let cases = [
        (400, "invalid_value", ProviderError::BadRequest),
        (400, "invalid_api_key", ProviderError::KeyInvalid),
        (400, "model_not_found", ProviderError::ModelUnknown),
        (400, "context_length_exceeded", ProviderError::ContextTooLong),
        (400, "content_policy_violation", ProviderError::ContentFilter),
        (401, "whatever", ProviderError::KeyInvalid),
        (403, "unsupported_country_region_territory", ProviderError::KeyInvalid),
        (404, "whatever", ProviderError::ModelUnknown),
        (404, "model_not_found", ProviderError::ModelUnknown),
        (429, "rate_limit_exceeded", ProviderError::RateLimited { retry_after: None }),
        (429, "insufficient_quota", ProviderError::QuotaExceeded),
        (500, "server_error", ProviderError::unavailable(Some(500))),
        (502, "whatever", ProviderError::unavailable(Some(502))),
        (503, "whatever", ProviderError::unavailable(Some(503))),
    ];
    for (status, code, error) in cases {
        for api in APIS {
            let got = call(api, Act::error(status, code)).await;
            assert_eq!(got, (String::new(), Err(error.clone())), "{status} {code}");
        }
    }
}

#[tokio::test]
async fn wrong_key_is_rejected_without_retry() {
    for api in APIS {
        let server = OpenAiServer::start([Act::reply(&["secret"])]).await;
        let got = outcome(&provider_at(api, &server.base_url(), "sk-wrong", Limits::default())).await;
        assert_eq!(got, (String::new(), Err(ProviderError::KeyInvalid)));
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn retry_after_of_rate_limit_is_passed_on() {
    let cases = [
        ("retry-after", "2", Some(Duration::from_secs(2))),
        ("retry-after", "86400", Some(Duration::from_secs(86_400))),
        ("retry-after", "-1", None),
        ("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT", None),
        ("retry-after-ms", "120", Some(Duration::from_millis(120))),
    ];
    for (name, value, retry_after) in cases {
        for api in APIS {
            let headers = vec![(name, value.to_owned())];
            let limited = Act::Error { status: 429, code: "rate_limit_exceeded".into(), headers };
            let expected = Err(ProviderError::RateLimited { retry_after });
            assert_eq!(call(api, limited).await, (String::new(), expected), "{name}: {value}");
        }
    }
}

#[tokio::test]
async fn retry_after_date_is_converted_to_duration() {
    for api in APIS {
        let (_, end) = call(api, Act::limited("Fri, 31 Dec 9999 23:59:59 GMT")).await;
        let Err(ProviderError::RateLimited { retry_after: Some(wait) }) = end else { panic!("{end:?}") };
        assert!(wait > Duration::from_secs(86_400), "{wait:?}");
    }
}

#[tokio::test]
async fn redirect_is_not_followed() {
    for (api, path) in APIS.into_iter().zip(["responses", "chat/completions"]) {
        let target = OpenAiServer::start([Act::reply(&["stolen"])]).await;
        let location = format!("{}/{path}", target.base_url());
        let redirect = Act::Error { status: 307, code: Value::Null, headers: vec![("location", location)] };
        assert_eq!(call(api, redirect).await.1, Err(ProviderError::BadResponse));
        assert!(target.requests().is_empty());
    }
}

#[tokio::test]
async fn refused_connection_is_unavailable() {
    let free = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let base_url = format!("http://{}/v1", free.local_addr().expect("a bound port"));
    drop(free);
    for api in APIS {
        let got = outcome(&provider_at(api, &base_url, KEY, Limits::default())).await;
        assert_eq!(got, (String::new(), Err(ProviderError::unavailable(None))));
    }
}

/// The server exists but accepts no more connections.
#[tokio::test]
async fn unaccepted_connection_times_out() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let full = socket.listen(1).unwrap();
    let address = full.local_addr().unwrap();
    // Fill the accept queue, so that further connections get no answer.
    let mut waiting = Vec::new();
    while let Ok(connected) = timeout(Duration::from_millis(500), TcpStream::connect(address)).await {
        waiting.push(connected.unwrap());
    }
    assert!((1..16).contains(&waiting.len()));
    let limits = Limits { connect: Duration::from_millis(300), ..Limits::default() };
    for api in APIS {
        let got = outcome(&provider_at(api, &format!("http://{address}/v1"), KEY, limits)).await;
        assert_eq!(got, (String::new(), Err(ProviderError::Timeout(TimeoutKind::Connect))));
    }
}
