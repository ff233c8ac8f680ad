//! State and decisions of a file.

use std::collections::BTreeSet;

use cqrs_es::Aggregate;
use cqrs_es::event_sink::EventSink;
use serde::{Deserialize, Serialize};

use super::{FileCommand, FileError, FileEvent};
use crate::ids::{ConversationId, FileId, MessageId, UserId};

/// One file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    known: Option<Known>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    id: FileId,
    owner: UserId,
    /// What was announced; `None` if the upload was not announced.
    announced: Option<(String, u64)>,
    /// SHA-256 of the bytes, once they are stored.
    sha256: Option<String>,
    /// Conversation and messages it was sent with.
    sent: Option<(ConversationId, BTreeSet<MessageId>)>,
    deleted: bool,
}

impl File {
    /// Returns the owner, once announced or stored, also after the deletion.
    #[must_use]
    pub fn owner(&self) -> Option<UserId> {
        self.known.as_ref().map(|known| known.owner)
    }

    /// Whether its bytes are stored and it was not deleted.
    #[must_use]
    pub fn is_stored(&self) -> bool {
        self.known.as_ref().is_some_and(|known| known.sha256.is_some() && !known.deleted)
    }

    /// Returns the SHA-256 of its bytes in hexadecimal digits, once they are stored.
    #[must_use]
    pub fn sha256(&self) -> Option<&str> {
        self.known.as_ref()?.sha256.as_deref()
    }

    /// Returns the conversation that it was sent in.
    #[must_use]
    pub fn conversation(&self) -> Option<ConversationId> {
        self.known.as_ref()?.sent.as_ref().map(|(conversation, _)| *conversation)
    }

    /// Whether the file was deleted.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.known.as_ref().is_some_and(|known| known.deleted)
    }

    /// Returns the approximate size of the state in memory, for a cache bounded by bytes.
    #[must_use]
    pub fn approximate_bytes(&self) -> usize {
        let texts = |known: &Known| {
            let announced = known.announced.as_ref().map_or(0, |(mime_type, _)| mime_type.capacity());
            let messages = known.sent.as_ref().map_or(0, |(_, messages)| messages.len());
            announced
                + known.sha256.as_ref().map_or(0, String::capacity)
                + messages * 2 * size_of::<MessageId>()
        };
        size_of::<Self>() + self.known.as_ref().map_or(0, texts)
    }
}

impl Known {
    fn owned_by(&self, person: UserId) -> Result<(), FileError> {
        if self.owner == person { Ok(()) } else { Err(FileError::NotOwner) }
    }

    fn alive(&self) -> Result<(), FileError> {
        if self.deleted { Err(FileError::Deleted) } else { Ok(()) }
    }
}

/// Returns the events that `command` leads to in `state`. Pure: equal arguments give equal results. A repeated command adds no
/// events.
///
/// # Errors
/// Returns the rejection if the command is not allowed in this state.
pub fn decide(state: &File, command: FileCommand) -> Result<Vec<FileEvent>, FileError> {
    let known = state.known.as_ref();
    match command {
        FileCommand::Announce { id, by, name, mime_type, size, at } => {
            let Some(known) = known else {
                return Ok(vec![FileEvent::FileAnnounced {
                    file_id: id,
                    owner: by,
                    name,
                    mime_type,
                    size,
                    at,
                }]);
            };
            known.owned_by(by)?;
            known.alive()?;
            let same = known.id == id
                && known.announced.as_ref().is_some_and(|(was, bytes)| *was == mime_type && *bytes == size);
            if same { Ok(Vec::new()) } else { Err(FileError::AlreadyAnnounced) }
        }
        FileCommand::Store { id, by, name, mime_type, size, sha256, image, at } => {
            if let Some(known) = known {
                known.owned_by(by)?;
                known.alive()?;
                if known.id != id {
                    return Err(FileError::AlreadyAnnounced);
                }
                if let Some(stored) = &known.sha256 {
                    return if *stored == sha256 { Ok(Vec::new()) } else { Err(FileError::AlreadyStored) };
                }
            }
            Ok(vec![FileEvent::FileStored {
                file_id: id,
                owner: by,
                name,
                mime_type,
                size,
                sha256,
                image,
                at,
            }])
        }
        FileCommand::Attach { by, conversation_id, message_id, at } => {
            let known = known.ok_or(FileError::Unknown)?;
            known.owned_by(by)?;
            known.alive()?;
            if known.sha256.is_none() {
                return Err(FileError::NotStored);
            }
            if let Some((conversation, messages)) = &known.sent {
                if *conversation != conversation_id {
                    return Err(FileError::AttachedElsewhere);
                }
                if messages.contains(&message_id) {
                    return Ok(Vec::new());
                }
            }
            let (file_id, owner) = (known.id, known.owner);
            Ok(vec![FileEvent::FileAttached { file_id, owner, conversation_id, message_id, at }])
        }
        FileCommand::Delete { by, at } => {
            let known = known.ok_or(FileError::Unknown)?;
            known.owned_by(by)?;
            if known.deleted {
                return Ok(Vec::new());
            }
            if known.sent.is_some() {
                return Err(FileError::Attached);
            }
            Ok(vec![FileEvent::FileDeleted { file_id: known.id, owner: known.owner, at }])
        }
    }
}

impl Aggregate for File {
    const TYPE: &'static str = "file";
    type Command = FileCommand;
    type Event = FileEvent;
    type Error = FileError;
    type Services = ();

    async fn handle(
        &mut self,
        command: Self::Command,
        (): &Self::Services,
        sink: &EventSink<Self>,
    ) -> Result<(), Self::Error> {
        for event in decide(self, command)? {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: Self::Event) {
        let (id, owner) = (event.file_id(), event.owner());
        let known = self.known.get_or_insert(Known {
            id,
            owner,
            announced: None,
            sha256: None,
            sent: None,
            deleted: false,
        });
        match event {
            FileEvent::FileAnnounced { mime_type, size, .. } => known.announced = Some((mime_type, size)),
            FileEvent::FileStored { sha256, .. } => known.sha256 = Some(sha256),
            FileEvent::FileAttached { conversation_id, message_id, .. } => {
                known.sent.get_or_insert_with(|| (conversation_id, BTreeSet::new())).1.insert(message_id);
            }
            FileEvent::FileDeleted { .. } => known.deleted = true,
        }
    }
}
