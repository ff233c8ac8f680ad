//! A conversation: the messages of one person and the replies they ask for.
//!
//! It owns who may write (its owner), in which order replies are made (one at a time, in the order of the
//! messages), which attempt at a reply is the valid one, that every reply has exactly one end, and what stands on which branch. It does not own
//! when a reply is tried (the queue does) nor what the provider is sent (the context policy does).

mod aggregate;
mod branches;
mod command;
mod content;
mod decide;
mod error;
mod event;
mod items;
mod reply;
mod view;

pub use aggregate::{Conversation, OpenReply, ReplyEnding, ReplyState};
pub use branches::MAX_BRANCHES;
pub use command::{ConversationCommand, Place, SoFar, WantedReply};
pub use content::{Brought, Composed, Enclosed, InputAnswer, InputForm, InputQuestion, Part, Verdict};
pub use decide::{MAX_WAITING, decide};
pub use error::ConversationError;
pub use event::{
    BranchEvent, ConversationEvent, EventBody, ItemEvent, LifecycleEvent, MessageEvent, ReplyEvent,
    SettingsEvent,
};
pub use reply::{FailureReason, FinishReason, Price, ReplyPlan, Timings, Usage};

#[cfg(test)]
mod tests;
