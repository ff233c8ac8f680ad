//! Events of a file.

use chrono::{DateTime, Utc};
use cqrs_es::DomainEvent;
use serde::{Deserialize, Serialize};

use crate::ids::{ConversationId, FileId, MessageId, UserId};
use crate::personal::Personal;
use crate::values::FileName;

/// Dimensions of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageSize {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
}

/// An event of one file. Unknown fields are rejected, never dropped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum FileEvent {
    /// The file was announced but not uploaded yet.
    FileAnnounced {
        /// The file.
        file_id: FileId,
        /// Owner's user id.
        owner: UserId,
        /// Its name, as given.
        name: Personal<FileName>,
        /// Media type as given, one of those allowed.
        mime_type: String,
        /// Its size in bytes, as given.
        size: u64,
        /// Time of the event (UTC).
        at: DateTime<Utc>,
    },
    /// The bytes were stored.
    FileStored {
        /// The file.
        file_id: FileId,
        /// Owner's user id.
        owner: UserId,
        /// Its name, as given.
        name: Personal<FileName>,
        /// Media type detected from its bytes.
        mime_type: String,
        /// Its size in bytes.
        size: u64,
        /// SHA-256 of its bytes, as hexadecimal digits.
        sha256: String,
        /// Dimensions; `None` if it is not an image.
        image: Option<ImageSize>,
        /// Time of the event (UTC).
        at: DateTime<Utc>,
    },
    /// The file was attached to a message.
    FileAttached {
        /// The file.
        file_id: FileId,
        /// Owner's user id.
        owner: UserId,
        /// Conversation of the message.
        conversation_id: ConversationId,
        /// The message.
        message_id: MessageId,
        /// Time of the event (UTC).
        at: DateTime<Utc>,
    },
    /// The file was deleted; its bytes are removed soon after.
    FileDeleted {
        /// The file.
        file_id: FileId,
        /// Owner's user id.
        owner: UserId,
        /// Time of the event (UTC).
        at: DateTime<Utc>,
    },
}

impl FileEvent {
    /// Name of every event of this aggregate, with the version that this code writes.
    pub const TYPES: &[(&str, u32)] =
        &[("file_announced", 1), ("file_stored", 1), ("file_attached", 1), ("file_deleted", 1)];

    /// Name of the event in the log.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::FileAnnounced { .. } => "file_announced",
            Self::FileStored { .. } => "file_stored",
            Self::FileAttached { .. } => "file_attached",
            Self::FileDeleted { .. } => "file_deleted",
        }
    }

    /// The file.
    #[must_use]
    pub const fn file_id(&self) -> FileId {
        match self {
            Self::FileAnnounced { file_id, .. }
            | Self::FileStored { file_id, .. }
            | Self::FileAttached { file_id, .. }
            | Self::FileDeleted { file_id, .. } => *file_id,
        }
    }

    /// Owner's user id.
    #[must_use]
    pub const fn owner(&self) -> UserId {
        match self {
            Self::FileAnnounced { owner, .. }
            | Self::FileStored { owner, .. }
            | Self::FileAttached { owner, .. }
            | Self::FileDeleted { owner, .. } => *owner,
        }
    }

    /// Time of the event (UTC).
    #[must_use]
    pub const fn at(&self) -> DateTime<Utc> {
        match self {
            Self::FileAnnounced { at, .. }
            | Self::FileStored { at, .. }
            | Self::FileAttached { at, .. }
            | Self::FileDeleted { at, .. } => *at,
        }
    }
}

impl DomainEvent for FileEvent {
    fn event_type(&self) -> String {
        self.name().to_owned()
    }

    fn event_version(&self) -> String {
        crate::versions::written(Self::TYPES, self.name())
    }
}
