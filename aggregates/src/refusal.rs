//! Any aggregate's refusal as one type, for the use cases that deal with all of them.

use thiserror::Error;

use crate::claim::ClaimError;
use crate::conversation::ConversationError;
use crate::file::FileError;
use crate::quiz::QuizError;
use crate::user::UserError;

/// A command that the domain refused; nothing was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// By a user.
    #[error(transparent)]
    User(#[from] UserError),
    /// By a claim.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// By a conversation.
    #[error(transparent)]
    Conversation(#[from] ConversationError),
    /// By a quiz.
    #[error(transparent)]
    Quiz(#[from] QuizError),
    /// By a file.
    #[error(transparent)]
    File(#[from] FileError),
}
