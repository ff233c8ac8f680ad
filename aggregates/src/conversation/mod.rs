//! A conversation: the messages of one user and the replies they ask for.
//!
//! It decides who may write (the owner), in which order replies are made (one at a time, in the order of the
//! messages), which attempt at a reply is valid, that every reply ends exactly once, and which messages each branch holds. It
//! does not decide
//! when a reply is attempted (the queue does) or what the provider is sent (the context policy does).

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

pub use aggregate::{Conversation, PendingReply, ReplyEnding, ReplyState};
pub use branches::MAX_BRANCHES;
pub use command::{ConversationCommand, MessageRef, PartialText, ReplyOptions};
pub use content::{
    Composed, InputAnswer, InputForm, InputQuestion, MessageContext, Part, ReplyItem, Verdict,
};
pub use decide::{MAX_PENDING_REPLIES, decide};
pub use error::ConversationError;
pub use event::{
    BranchEvent, ConversationEvent, EventBody, ItemEvent, LifecycleEvent, MessageEvent, ReplyEvent,
    SettingsEvent,
};
pub use reply::{FailureReason, FinishReason, Price, ReplyPlan, Timings, Usage};

#[cfg(test)]
mod tests;
