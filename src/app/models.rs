//! Models: which may be asked for.

use super::{App, AppError, Kind};

pub use crate::ai::models::Offered;

impl App {
    /// The models that may be asked for; the default comes first.
    pub fn models(&self) -> Vec<Offered> {
        self.parts.chain.models()
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
