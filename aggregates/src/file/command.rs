//! Commands of a file.
//!
//! All commands come from a user and are rejected for everyone but the file's owner.

use chrono::{DateTime, Utc};

use super::ImageSize;
use crate::ids::{ConversationId, FileId, MessageId, UserId};
use crate::personal::Personal;
use crate::values::FileName;

/// A command for one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileCommand {
    /// Announces a file that will be uploaded.
    Announce {
        /// Id of the file and of its stream.
        id: FileId,
        /// User who uploads and owns it.
        by: UserId,
        /// Its name.
        name: Personal<FileName>,
        /// Media type, one of those allowed.
        mime_type: String,
        /// Its size in bytes.
        size: u64,
        /// Time of the command (UTC).
        at: DateTime<Utc>,
    },
    /// Records that the bytes are in the store. The file need not have been announced.
    Store {
        /// Id of the file and of its stream.
        id: FileId,
        /// User who uploads it.
        by: UserId,
        /// Its name.
        name: Personal<FileName>,
        /// Media type detected from its bytes.
        mime_type: String,
        /// Its size in bytes.
        size: u64,
        /// SHA-256 of its bytes, as hexadecimal digits.
        sha256: String,
        /// Dimensions; `None` if it is not an image.
        image: Option<ImageSize>,
        /// Time of the command (UTC).
        at: DateTime<Utc>,
    },
    /// Attaches the file to a message. Other messages of the same conversation may have it too.
    Attach {
        /// Acting user.
        by: UserId,
        /// Conversation of the message.
        conversation_id: ConversationId,
        /// The message. A repeated one adds no event.
        message_id: MessageId,
        /// Time of the command (UTC).
        at: DateTime<Utc>,
    },
    /// Deletes the file, unless it was sent.
    Delete {
        /// Acting user.
        by: UserId,
        /// Time of the command (UTC).
        at: DateTime<Utc>,
    },
}
