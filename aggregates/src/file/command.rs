//! What a file can be asked to do.
//!
//! All commands come from a person, and are refused to everybody but the one who brought the file.

use chrono::{DateTime, Utc};

use super::ImageSize;
use crate::ids::{ConversationId, FileId, MessageId, UserId};
use crate::personal::Personal;
use crate::values::FileName;

/// A wish concerning one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileCommand {
    /// Announce a file whose bytes are to come.
    Announce {
        /// Its id, which is the stream's.
        id: FileId,
        /// Who brings it and will own it.
        by: UserId,
        /// Its name.
        name: Personal<FileName>,
        /// Its type, one of those that are allowed.
        mime_type: String,
        /// Its size in bytes.
        size: u64,
        /// When.
        at: DateTime<Utc>,
    },
    /// Note that its bytes are in the store; they may come without having been announced.
    Store {
        /// Its id, which is the stream's.
        id: FileId,
        /// Who brings it.
        by: UserId,
        /// Its name.
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
    /// Send it with a message. It stays in that conversation: other messages there may have it as well.
    Attach {
        /// Who.
        by: UserId,
        /// In which conversation.
        conversation_id: ConversationId,
        /// With which message; a repeated one adds nothing.
        message_id: MessageId,
        /// When.
        at: DateTime<Utc>,
    },
    /// Delete it, as long as it was not sent.
    Delete {
        /// Who.
        by: UserId,
        /// When.
        at: DateTime<Utc>,
    },
}
