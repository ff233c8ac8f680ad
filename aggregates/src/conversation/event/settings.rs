//! Title, pin and archive: the events, and the state that they add up to.

use serde::{Deserialize, Serialize};

use super::{EventBody, event_types};
use crate::personal::Personal;
use crate::values::Title;

/// The user, or a suggestion, changed how the conversation is listed.
///
/// Events without fields are written `{}`: serde would accept unknown fields on a unit variant.

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum SettingsEvent {
    /// The conversation got a title.
    ConversationRenamed {
        /// The new title.
        title: Personal<Title>,
    },
    /// The conversation was pinned.
    ConversationPinned {},
    /// The conversation was unpinned.
    ConversationUnpinned {},
    /// The conversation was moved to the archive.
    ConversationArchived {},
    /// The conversation was taken out of the archive.
    ConversationUnarchived {},
}

event_types! {
    SettingsEvent {
        ConversationRenamed = "conversation_renamed", 1;
        ConversationPinned = "conversation_pinned", 1;
        ConversationUnpinned = "conversation_unpinned", 1;
        ConversationArchived = "conversation_archived", 1;
        ConversationUnarchived = "conversation_unarchived", 1;
    }
}

impl From<SettingsEvent> for EventBody {
    fn from(event: SettingsEvent) -> Self {
        Self::Settings(event)
    }
}

/// Settings that decisions depend on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::conversation) struct Settings {
    pub(in crate::conversation) pinned: bool,
    pub(in crate::conversation) archived: bool,
    /// Whether the conversation has a title.
    pub(in crate::conversation) titled: bool,
}

impl Settings {
    pub(in crate::conversation) fn apply(&mut self, event: SettingsEvent) {
        match event {
            SettingsEvent::ConversationRenamed { .. } => self.titled = true,
            SettingsEvent::ConversationPinned {} => self.pinned = true,
            SettingsEvent::ConversationUnpinned {} => self.pinned = false,
            SettingsEvent::ConversationArchived {} => self.archived = true,
            SettingsEvent::ConversationUnarchived {} => self.archived = false,
        }
    }
}
