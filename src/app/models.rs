//! Models: which may be asked for.

use super::{App, AppError, Kind};
use crate::replies::context::tokens::{self, Counter};

pub use crate::ai::models::Offered;

impl App {
    /// The models that may be asked for; the default comes first.
    pub fn models(&self) -> Vec<Offered> {
        self.parts.chain.models()
    }

    /// The model that a message was sent with, if it may still be asked for; otherwise the default is asked.
    pub(super) fn still_offered(&self, model: Option<String>) -> Option<String> {
        model.filter(|model| self.parts.chain.offers(model))
    }

    /// Whether a message has room in a prompt, as far as that can be said before it is known who is asked: by the vocabulary that
    /// needs the fewest tokens.
    pub(super) async fn check_room(&self, text: &str) -> Result<(), AppError> {
        let most = self.parts.settings.context_tokens;
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
            Some(model) if !self.parts.chain.offers(model) => {
                Err(AppError::new(Kind::Invalid, "unknown_model", "This model cannot be asked for here."))
            }
            _ => Ok(()),
        }
    }
}
