//! Recordings written down by a provider's transcription endpoint.

use std::sync::Arc;

use async_openai::config::Config;
use reqwest::multipart::{Form, Part};
use serde_json::Value;

use super::errors;
use super::http::error_in;
use super::retry_after::retry_after;
use crate::ai::service::ErrorClassifier;
use crate::ai::{ProviderError, Recording};

/// The most bytes of an answer that are read.
const MAX_ANSWER: usize = 1024 * 1024;

/// Asks `model` once.
pub(super) async fn transcribe(
    http: reqwest::Client,
    endpoint: Arc<dyn Config>,
    model: &'static str,
    words: ErrorClassifier,
    recording: Recording,
) -> Result<String, ProviderError> {
    let Recording { audio, mime_type } = recording;
    // The provider goes by the name's end.
    let name = format!("audio.{}", mime_type.rsplit('/').next().unwrap_or("webm"));
    let part =
        Part::bytes(audio).file_name(name).mime_str(&mime_type).map_err(|_| ProviderError::BadRequest)?;
    let form = Form::new().text("model", model).text("response_format", "json").part("file", part);
    let mut response = http
        .post(endpoint.url("/audio/transcriptions"))
        .headers(endpoint.headers())
        .multipart(form)
        .send()
        .await
        .map_err(|_| ProviderError::unavailable(None))?;
    let (status, wait) = (response.status(), retry_after(response.headers()));
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|_| ProviderError::Cut)? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_ANSWER {
            return Err(ProviderError::BadResponse);
        }
    }
    let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
    if status.is_success() {
        return answer["text"].as_str().map(str::to_owned).ok_or(ProviderError::BadResponse);
    }
    Err(match status.as_u16() {
        // Of this path it says that there is no such thing; of a model it says so by name.
        404 => errors::named(&answer["error"]).unwrap_or(ProviderError::Unsupported),
        status => errors::of_answer(words, status, wait, &error_in(answer)),
    })
}
