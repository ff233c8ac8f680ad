//! Public events of files. They do not contain file names.

use aggregates::file::FileEvent;
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::{KindSchema, PublicData, PublicEvent, schema};

/// The content of a file was stored.
#[derive(Serialize, JsonSchema)]
struct Stored {
    /// The file.
    file_id: Uuid,
    /// User id of the owner.
    owner: Uuid,
    /// Media type detected from the content.
    mime_type: String,
    /// Size in bytes.
    size: u64,
    /// Time of the event (UTC).
    at: DateTime<Utc>,
}

impl PublicData for Stored {
    const NAME: &'static str = "file.stored";
}

/// A file was sent with a message.
#[derive(Serialize, JsonSchema)]
struct Attached {
    /// The file.
    file_id: Uuid,
    /// User id of the owner.
    owner: Uuid,
    /// Conversation it was sent in.
    conversation_id: Uuid,
    /// Message it was sent with.
    message_id: Uuid,
    /// Time of the event (UTC).
    at: DateTime<Utc>,
}

impl PublicData for Attached {
    const NAME: &'static str = "file.attached";
}

/// A file was deleted.
#[derive(Serialize, JsonSchema)]
struct Deleted {
    /// The file.
    file_id: Uuid,
    /// User id of the owner.
    owner: Uuid,
    /// Time of the event (UTC).
    at: DateTime<Utc>,
}

impl PublicData for Deleted {
    const NAME: &'static str = "file.deleted";
}

pub(super) fn schemas(into: &mut Vec<KindSchema>) {
    into.extend([schema::<Stored>(), schema::<Attached>(), schema::<Deleted>()]);
}

/// The public form of an event; an announcement has none.
pub(super) fn public(event: &FileEvent) -> Option<PublicEvent> {
    Some(match event {
        FileEvent::FileAnnounced { .. } => return None,
        FileEvent::FileStored { file_id, owner, mime_type, size, at, .. } => PublicEvent::new(Stored {
            file_id: file_id.uuid(),
            owner: owner.uuid(),
            mime_type: mime_type.clone(),
            size: *size,
            at: *at,
        }),
        FileEvent::FileAttached { file_id, owner, conversation_id, message_id, at } => {
            PublicEvent::new(Attached {
                file_id: file_id.uuid(),
                owner: owner.uuid(),
                conversation_id: conversation_id.uuid(),
                message_id: message_id.uuid(),
                at: *at,
            })
        }
        FileEvent::FileDeleted { file_id, owner, at } => {
            PublicEvent::new(Deleted { file_id: file_id.uuid(), owner: owner.uuid(), at: *at })
        }
    })
}
