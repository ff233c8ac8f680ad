//! Why a quiz's command is refused.

use thiserror::Error;

/// A refusal; nothing was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum QuizError {
    /// It belongs to somebody else.
    #[error("the quiz belongs to another user")]
    NotOwner,
}
