//! The rejections of all aggregates as one type, for the use cases.

use thiserror::Error;

use crate::claim::ClaimError;
use crate::conversation::ConversationError;
use crate::file::FileError;
use crate::quiz::QuizError;
use crate::user::UserError;

/// A rejected command. It writes no events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Rejection {
    /// Rejected by a user.
    #[error(transparent)]
    User(#[from] UserError),
    /// Rejected by a claim.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// Rejected by a conversation.
    #[error(transparent)]
    Conversation(#[from] ConversationError),
    /// Rejected by a quiz.
    #[error(transparent)]
    Quiz(#[from] QuizError),
    /// Rejected by a file.
    #[error(transparent)]
    File(#[from] FileError),
}
