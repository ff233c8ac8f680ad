//! Models: which may be asked for.

use std::sync::Arc;

use super::{AppError, Kind};
use crate::ai::{Chain, ProviderError, Recording};
use crate::replies::context::tokens::{self, Counter};

pub use crate::ai::models::Offered;

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
    /// The models that may be asked for; the default comes first.
    pub(super) fn offered(&self) -> Vec<Offered> {
        self.chain.models()
    }

    /// The model that a message was sent with, if it may still be asked for; otherwise the default is asked.
    pub(super) fn still_offered(&self, model: Option<String>) -> Option<String> {
        model.filter(|model| self.chain.offers(model))
    }

    /// Whether a message has room in a prompt, as far as that can be said before it is known who is asked: by the vocabulary that
    /// needs the fewest tokens.
    pub(super) async fn check_room(&self, text: &str) -> Result<(), AppError> {
        let most = self.context_tokens;
        // A token has a byte at least.
        if text.len() <= most {
            return Ok(());
        }
        let counter = Counter::load(tokens::FEWEST).await;
        let text = text.to_owned();
        let count =
            tokio::task::spawn_blocking(move || counter.count(&text)).await.map_err(AppError::internal)?;
        if count <= most {
            return Ok(());
        }
        let detail = format!("The message comes to {count} tokens; a model is sent {most} at most.");
        Err(AppError::new(Kind::Invalid, "too_many_tokens", detail))
    }

    /// Whether a model may be asked for.
    pub(super) fn check_model(&self, model: Option<&str>) -> Result<(), AppError> {
        match model {
            Some(model) if !self.chain.offers(model) => {
                Err(AppError::new(Kind::Invalid, "unknown_model", "This model cannot be asked for here."))
            }
            _ => Ok(()),
        }
    }

    /// Whether a tool may be chosen. What stands in the log is one of these names, never a person's words.
    pub(super) fn check_tool(&self, tool: Option<&str>) -> Result<(), AppError> {
        match tool {
            Some(tool) if self.tools.iter().all(|known| known != tool) => {
                Err(AppError::new(Kind::Invalid, "unknown_tool", "This tool cannot be chosen here."))
            }
            _ => Ok(()),
        }
    }

    /// Transcribes a recording.
    pub(super) async fn transcribe(&self, recording: Recording) -> Result<String, AppError> {
        self.chain.transcribe(recording).await.map_err(|error| match error {
            ProviderError::Unsupported => AppError::new(
                Kind::Invalid,
                "transcription_unsupported",
                "Speech cannot be written down here.",
            ),
            ProviderError::BadRequest => {
                AppError::new(Kind::Invalid, "recording_refused", "This recording cannot be read.")
            }
            error => AppError::unavailable(error),
        })
    }
}
