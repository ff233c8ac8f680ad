//! Why a claim is refused.

use thiserror::Error;

/// A refusal; nothing was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ClaimError {
    /// Another user holds the value.
    #[error("the value is taken")]
    Taken,
}
