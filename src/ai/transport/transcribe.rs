//! Transcription of recordings by a provider.

use std::sync::Arc;

use async_openai::config::Config;
use reqwest::multipart::{Form, Part};
use serde_json::Value;

use super::errors;
use super::http::error_in;
use super::retry_after::retry_after;
use crate::ai::service::ErrorClassifier;
use crate::ai::{ProviderError, Recording};

/// Most bytes of an answer that are read.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// Calls `model` once.
pub(super) async fn transcribe(
    http: reqwest::Client,
    endpoint: Arc<dyn Config>,
    model: &'static str,
    classifier: ErrorClassifier,
    recording: Recording,
) -> Result<String, ProviderError> {
    let Recording { audio, mime_type } = recording;
    // The provider infers the format from the file extension.
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
        if body.len() > MAX_ANSWER_BYTES {
            return Err(ProviderError::BadResponse);
        }
    }
    let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
    if status.is_success() {
        return answer["text"].as_str().map(str::to_owned).ok_or(ProviderError::BadResponse);
    }
    Err(match status.as_u16() {
        // 404 for the path means no transcription; an unknown model is reported by code.
        404 => errors::named(&answer["error"]).unwrap_or(ProviderError::Unsupported),
        status => errors::of_answer(classifier, status, wait, &error_in(answer)),
    })
}
