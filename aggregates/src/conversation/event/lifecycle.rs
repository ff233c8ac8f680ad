//! Start and end of a conversation.

use serde::{Deserialize, Serialize};

use super::{EventBody, event_types};
use crate::personal::Personal;
use crate::values::Title;

/// The conversation started or was deleted.

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum LifecycleEvent {
    /// The conversation was started.
    ConversationStarted {
        /// Its title, if one was given.
        title: Option<Personal<Title>>,
    },
    /// The conversation was deleted. The events before this one cancelled its pending replies.
    ConversationDeleted {},
}

event_types! {
    LifecycleEvent {
        ConversationStarted = "conversation_started", 1;
        ConversationDeleted = "conversation_deleted", 1;
    }
}

impl From<LifecycleEvent> for EventBody {
    fn from(event: LifecycleEvent) -> Self {
        Self::Lifecycle(event)
    }
}
