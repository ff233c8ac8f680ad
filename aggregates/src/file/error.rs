//! Rejections of a file's commands.

use thiserror::Error;

/// A rejected command. It writes no events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FileError {
    /// The file does not exist.
    #[error("the file does not exist")]
    Unknown,
    /// The file belongs to another user.
    #[error("the file belongs to another user")]
    NotOwner,
    /// The stream belongs to a file with another id, or the file was announced with other data.
    #[error("the file was announced already")]
    AlreadyAnnounced,
    /// Other bytes are already stored.
    #[error("the file is stored already")]
    AlreadyStored,
    /// The file has not been uploaded yet.
    #[error("the file is not stored yet")]
    NotStored,
    /// The file was sent in another conversation.
    #[error("the file was sent in another conversation")]
    AttachedElsewhere,
    /// The file was sent with a message and stays as long as the conversation.
    #[error("the file was sent with a message")]
    Attached,
    /// The file is deleted.
    #[error("the file is deleted")]
    Deleted,
}
