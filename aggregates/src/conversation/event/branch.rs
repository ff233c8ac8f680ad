//! Branches that begin or become active.

use serde::{Deserialize, Serialize};

use super::{EventBody, event_types};
use crate::ids::MessageId;

/// A branch began or became active.

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum BranchEvent {
    /// The messages after a message were left behind, because another branch began there. No longer written;
    /// [`Self::BranchBegun`] replaces it. The branch gets the next number and forks from the branch of the message.
    ConversationRewound {
        /// Last message that the branch shares with its parent.
        message_id: MessageId,
        /// Position of that message in the log.
        message_position: i64,
    },
    /// Another branch began and is now active: new messages are added to it. The other branches keep their messages.
    BranchBegun {
        /// Number of the branch, counted from 0, the first branch.
        branch: u32,
        /// Branch that it forks from.
        parent: u32,
        /// Message at which it forks: that message gets another reply, or is replaced.
        message_id: MessageId,
        /// Whether another message replaces `message_id`.
        edited: bool,
        /// The branch shares the parent's path up to this position in the log.
        fork_position: i64,
        /// Number of shared messages and answers.
        messages: u32,
    },
    /// The user switched to another branch.
    BranchSwitched {
        /// The branch that is now active.
        branch: u32,
    },
}

event_types! {
    BranchEvent {
        ConversationRewound = "conversation_rewound", 1;
        BranchBegun = "branch_begun", 1;
        BranchSwitched = "branch_switched", 1;
    }
}

impl From<BranchEvent> for EventBody {
    fn from(event: BranchEvent) -> Self {
        Self::Branch(event)
    }
}
