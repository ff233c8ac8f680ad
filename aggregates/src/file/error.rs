//! Why a file's command is refused.

use thiserror::Error;

/// A refusal; nothing was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FileError {
    /// There is no such file.
    #[error("the file does not exist")]
    Unknown,
    /// It belongs to somebody else.
    #[error("the file belongs to another user")]
    NotOwner,
    /// The stream belongs to a file with another id, or the file was announced otherwise.
    #[error("the file was announced already")]
    AlreadyAnnounced,
    /// Its bytes are stored, and they are others.
    #[error("the file is stored already")]
    AlreadyStored,
    /// Its bytes have not come yet.
    #[error("the file is not stored yet")]
    NotStored,
    /// It was sent in another conversation.
    #[error("the file was sent in another conversation")]
    AttachedElsewhere,
    /// It was sent with a message, and stays as long as its conversation does.
    #[error("the file was sent with a message")]
    Attached,
    /// It was deleted.
    #[error("the file is deleted")]
    Deleted,
}
