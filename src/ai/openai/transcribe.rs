//! Recordings written down by the provider's transcription endpoint.

use std::sync::Arc;

use async_openai::config::Config;
use reqwest::multipart::{Form, Part};
use serde_json::Value;

use super::events::named_error;
use crate::ai::{ProviderError, Recording};

/// The model that listens.
const MODEL: &str = "gpt-4o-mini-transcribe";
/// The most bytes of an answer that are read.
const MAX_ANSWER: usize = 1024 * 1024;

/// Asks once.
pub(super) async fn transcribe(
    http: reqwest::Client,
    endpoint: Arc<dyn Config>,
    recording: Recording,
) -> Result<String, ProviderError> {
    let Recording { audio, mime_type } = recording;
    // The provider goes by the name's end.
    let name = format!("audio.{}", mime_type.rsplit('/').next().unwrap_or("webm"));
    let part =
        Part::bytes(audio).file_name(name).mime_str(&mime_type).map_err(|_| ProviderError::BadRequest)?;
    let form = Form::new().text("model", MODEL).text("response_format", "json").part("file", part);
    let mut response = http
        .post(endpoint.url("/audio/transcriptions"))
        .headers(endpoint.headers())
        .multipart(form)
        .send()
        .await
        .map_err(|_| ProviderError::Unavailable { status: None })?;
    let status = response.status();
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
    Err(named_error(&answer["error"]).unwrap_or(match status.as_u16() {
        401 | 403 => ProviderError::KeyInvalid,
        404 => ProviderError::Unsupported,
        429 => ProviderError::RateLimited { retry_after: None },
        400..500 => ProviderError::BadRequest,
        status => ProviderError::Unavailable { status: Some(status) },
    }))
}
