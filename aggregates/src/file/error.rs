//! Why a file's command is refused.

use thiserror::Error;

/// A refusal; nothing was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FileError {
    /// It belongs to somebody else.
    #[error("the file belongs to another user")]
    NotOwner,
}
