//! Models and tools that a message may request, and the length of a message.

use std::sync::Arc;

use super::{AppError, Kind};
use crate::ai::{Chain, ProviderError, Recording};
use crate::replies::context::tokens::{self, Counter};

pub use crate::ai::models::AvailableModel;

/// Models and tools that a message may request. Cheap to clone.
#[derive(Clone)]
pub struct ModelCatalogue {
    /// The AI providers.
    pub chain: Arc<Chain>,
    /// Names of the tools that a user may choose.
    pub tools: Arc<[String]>,
    /// Most tokens that a provider is sent.
    pub context_tokens: usize,
}

impl ModelCatalogue {
    /// Returns the models that may be requested; the default comes first.
    pub(super) fn offered(&self) -> Vec<AvailableModel> {
        self.chain.models()
    }

    /// Returns the model of an earlier message if it is still available; `None` means the default.
    pub(super) fn still_offered(&self, model: Option<String>) -> Option<String> {
        model.filter(|model| self.chain.offers(model))
    }

    /// Rejects a message that is too long for any prompt. The provider is not known yet, so it counts with the tokenizer
    /// that needs the fewest tokens.
    pub(super) async fn check_length(&self, text: &str) -> Result<(), AppError> {
        let limit = self.context_tokens;
        // A token has at least one byte.
        if text.len() <= limit {
            return Ok(());
        }
        let counter = Counter::load(tokens::FEWEST).await;
        let text = text.to_owned();
        let count =
            tokio::task::spawn_blocking(move || counter.count(&text)).await.map_err(AppError::internal)?;
        if count <= limit {
            return Ok(());
        }
        let detail = format!("The message is {count} tokens long; the limit is {limit}.");
        Err(AppError::new(Kind::Invalid, "too_many_tokens", detail))
    }

    /// Rejects an unknown or unavailable model.
    pub(super) fn check_model(&self, model: Option<&str>) -> Result<(), AppError> {
        match model {
            Some(model) if !self.chain.offers(model) => {
                Err(AppError::new(Kind::Invalid, "unknown_model", "Unknown or unavailable model."))
            }
            _ => Ok(()),
        }
    }

    /// Rejects an unknown tool, so that the log never contains free text of a user as the name of a tool.
    pub(super) fn check_tool(&self, tool: Option<&str>) -> Result<(), AppError> {
        match tool {
            Some(tool) if self.tools.iter().all(|known| known != tool) => {
                Err(AppError::new(Kind::Invalid, "unknown_tool", "Unknown tool."))
            }
            _ => Ok(()),
        }
    }

    /// Transcribes a recording.
    pub(super) async fn transcribe(&self, recording: Recording) -> Result<String, AppError> {
        self.chain.transcribe(recording).await.map_err(|error| match error {
            ProviderError::Unsupported => {
                AppError::new(Kind::Invalid, "transcription_unsupported", "Transcription is not available.")
            }
            ProviderError::BadRequest => {
                AppError::new(Kind::Invalid, "unreadable_recording", "The recording could not be read.")
            }
            error => AppError::unavailable(error),
        })
    }
}
