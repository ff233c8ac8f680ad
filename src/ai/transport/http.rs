//! One HTTP call to a provider: sent once, errors classified, body read on demand and within limits.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use async_openai::error::OpenAIError;
use async_openai::middleware::HttpRequestFactory;
use futures::future::BoxFuture;
use futures::{FutureExt, stream};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Body, Response};
use serde_json::Value;
use tokio::sync::Notify;

use super::errors;
use super::retry_after::retry_after;
use super::sse_decoder::{SseDecoder, SseError};
use crate::ai::service::ErrorClassifier;
use crate::ai::{ProviderError, TimeoutKind};

/// Header that carries the trace context.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Most bytes of an error body that are read to find its code.
const MAX_ERROR_BYTES: usize = 16 * 1024;

/// Links one call's transport to its stream, bypassing async-openai in between, whose errors carry only text.
#[derive(Debug, Default)]
pub(in crate::ai) struct CallControl {
    demand: Notify,
    fault: OnceLock<ProviderError>,
}

impl CallControl {
    /// Signals that the stream is drained: more may be read.
    pub(super) fn ask(&self) {
        self.demand.notify_one();
    }

    /// Returns the error that the transport recorded.
    pub(in crate::ai) fn fault(&self) -> Option<ProviderError> {
        self.fault.get().cloned()
    }

    pub(in crate::ai) fn fail(&self, error: ProviderError) {
        // Only the first error counts; later ones are its consequences.
        let _ = self.fault.set(error);
    }
}

/// The service that async-openai calls in place of its own retrying one.
#[derive(Clone)]
pub(super) struct Transport {
    http: reqwest::Client,
    classifier: ErrorClassifier,
    link: Arc<CallControl>,
}

impl Transport {
    pub(super) fn new(http: reqwest::Client, classifier: ErrorClassifier, link: Arc<CallControl>) -> Self {
        Self { http, classifier, link }
    }

    async fn call_once(self, request: HttpRequestFactory) -> Result<Response, OpenAIError> {
        let mut request = request.build().await?;
        if let Some(key) = request.headers_mut().get_mut(AUTHORIZATION) {
            // Keeps the key out of the HTTP client's own traces.
            key.set_sensitive(true);
        }
        if let Some(traceparent) =
            traces::provider_traceparent().and_then(|ids| HeaderValue::from_str(&ids).ok())
        {
            request.headers_mut().insert(TRACEPARENT, traceparent);
        }
        let answer = match self.http.execute(request).await {
            Ok(response) => accepted(response, self.classifier).await,
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
                // Only a carrier: the stream takes the error from the control.
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

/// Returns the response's body as clean events, read only when the stream asks for more.
fn on_demand(response: Response, link: Arc<CallControl>) -> Body {
    Body::wrap_stream(stream::unfold((response, SseDecoder::default(), link), |mut state| async move {
        let (response, framer, link) = &mut state;
        link.demand.notified().await;
        // Read until an event is complete: a partial one would wake no reader that could ask for the rest.
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

/// Returns the response if it is an event stream, otherwise its error.
async fn accepted(mut response: Response, classifier: ErrorClassifier) -> Result<Response, ProviderError> {
    let status = response.status();
    if status.is_success() {
        let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let is_events = kind.is_some_and(|kind| kind.trim_start().starts_with("text/event-stream"));
        return if is_events { Ok(response) } else { Err(ProviderError::BadResponse) };
    }
    let error = error_object(&mut response).await;
    Err(errors::of_answer(classifier, status.as_u16(), retry_after(response.headers()), &error))
}

/// Returns the error object in an error body; null if there is none.
async fn error_object(response: &mut Response) -> Value {
    let mut body = Vec::new();
    while let Ok(Some(bytes)) = response.chunk().await {
        body.extend_from_slice(&bytes);
        if body.len() > MAX_ERROR_BYTES {
            return Value::Null;
        }
    }
    error_in(serde_json::from_slice(&body).unwrap_or_default())
}

/// Returns the error object of an answer; some servers wrap it in a list.
pub(super) fn error_in(mut body: Value) -> Value {
    if let Some(first) = body.as_array_mut().and_then(|list| list.first_mut()) {
        body = first.take();
    }
    body.get_mut("error").map(Value::take).unwrap_or_default()
}

/// Classifies a failure without any response.
fn not_sent(error: &reqwest::Error) -> ProviderError {
    if error.is_timeout() {
        // The HTTP client has only one time limit, for connecting.
        ProviderError::Timeout(TimeoutKind::Connect)
    } else if error.is_builder() {
        ProviderError::BadRequest
    } else {
        ProviderError::unavailable(None)
    }
}

#[cfg(test)]
mod tests;
