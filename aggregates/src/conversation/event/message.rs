//! What the user does with messages: sends, rates and reads them.

use serde::{Deserialize, Serialize};

use super::super::{MessageContext, Verdict};
use super::{EventBody, event_types};
use crate::ids::MessageId;
use crate::personal::Personal;
use crate::values::MessageText;

/// The user sent, rated or read messages.

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum MessageEvent {
    /// The user sent a message. Stored with the owner under the name `author`.
    MessageSent {
        /// The message.
        message_id: MessageId,
        /// Its text.
        text: Personal<MessageText>,
        /// What was sent with the text.
        enclosed: MessageContext,
    },
    /// The user rated messages, answers or other items.
    FeedbackGiven {
        /// The rated items.
        item_ids: Vec<MessageId>,
        /// The rating.
        verdict: Verdict,
    },
    /// The user read the conversation up to and including a message.
    ConversationRead {
        /// The last message read, which may be an answer.
        message_id: MessageId,
        /// Position of that message in the log. Read positions only move forward.
        message_position: i64,
    },
}

event_types! {
    MessageEvent {
        MessageSent = "message_sent", 2;
        FeedbackGiven = "feedback_given", 1;
        ConversationRead = "conversation_read", 1;
    }
}

impl From<MessageEvent> for EventBody {
    fn from(event: MessageEvent) -> Self {
        Self::Message(event)
    }
}
