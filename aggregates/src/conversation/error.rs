//! Rejections of a conversation's commands.

use thiserror::Error;

/// A rejected command. It writes no events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ConversationError {
    /// The conversation does not exist.
    #[error("the conversation does not exist")]
    NotStarted,
    /// The stream belongs to a conversation with another id.
    #[error("the conversation was already started under another id")]
    AlreadyStarted,
    /// The conversation was deleted.
    #[error("the conversation is deleted")]
    Deleted,
    /// The conversation belongs to another user.
    #[error("the conversation belongs to another user")]
    NotOwner,
    /// The message id is in use: by a message with other reply options, or by an answer.
    #[error("the message id is taken")]
    MessageIdTaken,
    /// Too many replies are pending.
    #[error("the conversation already has {limit} pending replies")]
    TooManyReplies {
        /// Maximum number of pending replies.
        limit: usize,
    },
    /// No message of this conversation asked for that reply.
    #[error("the reply is not known")]
    UnknownReply,
    /// The item is unknown, or not a message where one is needed.
    #[error("the item is not known")]
    UnknownItem,
    /// The message or item is on a branch that is not active.
    #[error("the message or item is on another branch of the conversation")]
    OtherBranch,
    /// The conversation has no such branch.
    #[error("the branch is not known")]
    UnknownBranch,
    /// Replies are pending on the active branch.
    #[error("replies are pending on the active branch")]
    RepliesPending,
    /// The conversation has too many branches.
    #[error("a conversation may have at most {limit} branches")]
    TooManyBranches {
        /// Maximum number of branches.
        limit: usize,
    },
    /// The item does not wait for an answer: it was answered or dropped, or never waited.
    #[error("the item is not awaiting a response")]
    NotPending,
    /// Another reply of the conversation has to end first.
    #[error("another reply of the conversation has to end first")]
    NotYourTurn,
    /// The attempt is not the current one.
    #[error("the attempt is not the current one, which is {current}")]
    StaleAttempt {
        /// Number of the last attempt begun; 0 if there was none.
        current: u32,
    },
    /// The reply has already ended in another way.
    #[error("the reply has already ended")]
    ReplyEnded,
}
