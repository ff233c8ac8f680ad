//! What happened to a file.

use chrono::{DateTime, Utc};
use cqrs_es::DomainEvent;
use serde::{Deserialize, Serialize};

use crate::ids::{ConversationId, FileId, MessageId, UserId};
use crate::personal::Personal;
use crate::values::FileName;

/// How large an image is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageSize {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
}

/// A fact about one file. Fields that this version does not know are refused, never dropped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum FileEvent {
    /// It was announced; its bytes are still to come.
    FileAnnounced {
        /// Which file.
        file_id: FileId,
        /// Whose.
        owner: UserId,
        /// Its name, as given.
        name: Personal<FileName>,
        /// Its type, as given and allowed.
        mime_type: String,
        /// Its size in bytes, as given.
        size: u64,
        /// When.
        at: DateTime<Utc>,
    },
    /// Its bytes are in the store.
    FileStored {
        /// Which file.
        file_id: FileId,
        /// Whose.
        owner: UserId,
        /// Its name, as given.
        name: Personal<FileName>,
        /// Its type, as its bytes say.
        mime_type: String,
        /// Its size in bytes.
        size: u64,
        /// SHA-256 of its bytes, as hexadecimal digits.
        sha256: String,
        /// Its measures; none when it is no image.
        image: Option<ImageSize>,
        /// When.
        at: DateTime<Utc>,
    },
    /// It was sent with a message.
    FileAttached {
        /// Which file.
        file_id: FileId,
        /// Whose.
        owner: UserId,
        /// In which conversation.
        conversation_id: ConversationId,
        /// With which message.
        message_id: MessageId,
        /// When.
        at: DateTime<Utc>,
    },
    /// It was deleted; its bytes go soon after.
    FileDeleted {
        /// Which file.
        file_id: FileId,
        /// Whose.
        owner: UserId,
        /// When.
        at: DateTime<Utc>,
    },
}

impl FileEvent {
    /// Every event type of this aggregate with the version that this code writes.
    pub const TYPES: &[(&str, u32)] =
        &[("file_announced", 1), ("file_stored", 1), ("file_attached", 1), ("file_deleted", 1)];

    /// The event's name in the log.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::FileAnnounced { .. } => "file_announced",
            Self::FileStored { .. } => "file_stored",
            Self::FileAttached { .. } => "file_attached",
            Self::FileDeleted { .. } => "file_deleted",
        }
    }

    /// Which file.
    #[must_use]
    pub const fn file_id(&self) -> FileId {
        match self {
            Self::FileAnnounced { file_id, .. }
            | Self::FileStored { file_id, .. }
            | Self::FileAttached { file_id, .. }
            | Self::FileDeleted { file_id, .. } => *file_id,
        }
    }

    /// Whose.
    #[must_use]
    pub const fn owner(&self) -> UserId {
        match self {
            Self::FileAnnounced { owner, .. }
            | Self::FileStored { owner, .. }
            | Self::FileAttached { owner, .. }
            | Self::FileDeleted { owner, .. } => *owner,
        }
    }

    /// When.
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
