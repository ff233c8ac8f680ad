//! One HTTP call to the provider: made once, its errors named, its body handed on under limits and on demand.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use async_openai::error::OpenAIError;
use async_openai::middleware::HttpRequestFactory;
use futures::future::BoxFuture;
use futures::{FutureExt, stream};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Body, Response};
use serde_json::Value;
use tokio::sync::Notify;

use super::events::named_error;
use super::sse::{Framer, SseError};
use crate::ai::{ProviderError, TimeoutKind};
use crate::telemetry::trace;

/// The header that tells the trace.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// How much of an error's body is read to find its code.
const MAX_ERROR_BYTES: usize = 16 * 1024;

/// What one call's transport and its stream tell each other, past async-openai in the middle, whose errors
/// carry only text.
#[derive(Debug, Default)]
pub(super) struct Link {
    demand: Notify,
    fault: OnceLock<ProviderError>,
}

impl Link {
    /// The stream has run dry: more may be read.
    pub(super) fn ask(&self) {
        self.demand.notify_one();
    }

    /// What the transport found wrong.
    pub(super) fn fault(&self) -> Option<ProviderError> {
        self.fault.get().cloned()
    }

    fn fail(&self, error: ProviderError) {
        // Only the first fault counts; what follows from it says less.
        let _ = self.fault.set(error);
    }
}

/// The service that async-openai calls in place of its own retrying one.
#[derive(Clone)]
pub(super) struct Transport {
    http: reqwest::Client,
    link: Arc<Link>,
}

impl Transport {
    pub(super) fn new(http: reqwest::Client, link: Arc<Link>) -> Self {
        Self { http, link }
    }

    async fn call_once(self, request: HttpRequestFactory) -> Result<Response, OpenAIError> {
        let mut request = request.build().await?;
        if let Some(key) = request.headers_mut().get_mut(AUTHORIZATION) {
            // So that no trace of the HTTP client's prints it.
            key.set_sensitive(true);
        }
        if let Some(traceparent) = trace::for_provider().and_then(|ids| HeaderValue::from_str(&ids).ok()) {
            request.headers_mut().insert(TRACEPARENT, traceparent);
        }
        let answer = match self.http.execute(request).await {
            Ok(response) => accepted(response).await,
            Err(error) => Err(not_sent(&error)),
        };
        match answer {
            Ok(response) => {
                let status = response.status();
                let mut ours = hyper::Response::new(on_demand(response, self.link));
                *ours.status_mut() = status;
                Ok(ours.into())
            }
            Err(error) => {
                self.link.fail(error);
                // Only a carrier: the stream reads the fault from the link.
                Err(OpenAIError::InvalidArgument("the call failed".to_owned()))
            }
        }
    }
}

impl tower::Service<HttpRequestFactory> for Transport {
    type Response = Response;
    type Error = OpenAIError;
    type Future = BoxFuture<'static, Result<Response, OpenAIError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), OpenAIError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: HttpRequestFactory) -> Self::Future {
        self.clone().call_once(request).boxed()
    }
}

/// The response's body as clean events, read only when the stream asks for more.
fn on_demand(response: Response, link: Arc<Link>) -> Body {
    Body::wrap_stream(stream::unfold((response, Framer::default(), link), |mut state| async move {
        let (response, framer, link) = &mut state;
        link.demand.notified().await;
        // On until an event is whole: a part of one wakes nobody who could ask for the rest.
        let fault = loop {
            match response.chunk().await {
                Ok(Some(bytes)) => match framer.push(&bytes) {
                    Ok(Some(frames)) => return Some((Ok::<_, Infallible>(frames), state)),
                    Ok(None) => {}
                    Err(SseError::TooLarge) => break ProviderError::TooLong,
                    Err(SseError::NotJson) => break ProviderError::BadResponse,
                },
                Ok(None) => return None,
                Err(_) => break ProviderError::Cut,
            }
        };
        link.fail(fault);
        None
    }))
}

/// The response if it is a stream of events, its error otherwise.
async fn accepted(mut response: Response) -> Result<Response, ProviderError> {
    let status = response.status();
    if status.is_success() {
        let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let is_events = kind.is_some_and(|kind| kind.trim_start().starts_with("text/event-stream"));
        return if is_events { Ok(response) } else { Err(ProviderError::BadResponse) };
    }
    let error = error_object(&mut response).await;
    let retry_after = retry_after(response.headers());
    Err(match named_error(&error) {
        Some(ProviderError::RateLimited { .. }) => ProviderError::RateLimited { retry_after },
        Some(ProviderError::Unavailable { .. }) => {
            ProviderError::Unavailable { status: Some(status.as_u16()) }
        }
        Some(error) => error,
        None => by_status(status.as_u16(), retry_after),
    })
}

/// The error that a status means when the body does not say it better.
fn by_status(status: u16, retry_after: Option<Duration>) -> ProviderError {
    match status {
        401 | 403 => ProviderError::KeyInvalid,
        402 => ProviderError::QuotaExceeded,
        404 => ProviderError::ModelUnknown,
        408 | 500..=599 => ProviderError::Unavailable { status: Some(status) },
        429 => ProviderError::RateLimited { retry_after },
        400..=499 => ProviderError::BadRequest,
        _ => ProviderError::BadResponse,
    }
}

/// The error object in the body of an error; null as far as there is none that can be read.
async fn error_object(response: &mut Response) -> Value {
    let mut body = Vec::new();
    while let Ok(Some(bytes)) = response.chunk().await {
        body.extend_from_slice(&bytes);
        if body.len() > MAX_ERROR_BYTES {
            return Value::Null;
        }
    }
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    body["error"].clone()
}

/// How long the provider asks to wait: `retry-after-ms`, which OpenAI adds, or `Retry-After` in seconds. Its
/// other form, a date, is not read: it would need the provider's clock to agree with ours.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let number = |value: &HeaderValue| value.to_str().ok()?.trim().parse::<u32>().ok();
    let millis = headers.get("retry-after-ms").and_then(number).map(|ms| Duration::from_millis(ms.into()));
    millis.or_else(|| headers.get(RETRY_AFTER).and_then(number).map(|secs| Duration::from_secs(secs.into())))
}

/// Why no response came at all.
fn not_sent(error: &reqwest::Error) -> ProviderError {
    if error.is_timeout() {
        // The only time limit of the HTTP client is the one for connecting.
        ProviderError::Timeout(TimeoutKind::Connect)
    } else if error.is_builder() {
        ProviderError::BadRequest
    } else {
        ProviderError::Unavailable { status: None }
    }
}

#[cfg(test)]
mod tests {
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
        for bad in ["", "-1", "soon", "99999999999999999999", "Wed, 21 Oct 2015 07:28:00 GMT"] {
            assert_eq!(wait(&[("retry-after", bad)]), None, "{bad}");
        }
        assert_eq!(wait(&[]), None);
    }

    #[test]
    fn a_status_without_a_readable_body_is_still_told_apart() {
        let expected = [
            (302, ProviderError::BadResponse),
            (400, ProviderError::BadRequest),
            (401, ProviderError::KeyInvalid),
            (402, ProviderError::QuotaExceeded),
            (403, ProviderError::KeyInvalid),
            (404, ProviderError::ModelUnknown),
            (408, ProviderError::Unavailable { status: Some(408) }),
            (422, ProviderError::BadRequest),
            (429, ProviderError::RateLimited { retry_after: None }),
            (500, ProviderError::Unavailable { status: Some(500) }),
            (503, ProviderError::Unavailable { status: Some(503) }),
        ];
        for (status, error) in expected {
            assert_eq!(by_status(status, None), error, "{status}");
        }
    }
}
