//! Why a conversation's command is refused.

use thiserror::Error;

/// A refusal; nothing was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ConversationError {
    /// There is no such conversation.
    #[error("the conversation does not exist")]
    NotStarted,
    /// The stream belongs to a conversation with another id.
    #[error("the conversation was already started under another id")]
    AlreadyStarted,
    /// The conversation was deleted.
    #[error("the conversation is deleted")]
    Deleted,
    /// The conversation belongs to somebody else.
    #[error("the conversation belongs to another user")]
    NotOwner,
    /// The message id is in use for something else: a message sent with another wish for a reply, or an answer.
    #[error("the message id is taken")]
    MessageIdTaken,
    /// Too many replies are owed already.
    #[error("at most {limit} replies may be waited for in one conversation")]
    TooManyWaiting {
        /// How many may be owed at a time.
        limit: usize,
    },
    /// No message of this conversation asked for that reply.
    #[error("the reply is not known")]
    UnknownReply,
    /// The item is not known, or is no message where one is needed.
    #[error("the item is not known")]
    UnknownItem,
    /// The message or item stands on a branch that is not active.
    #[error("that stands on another branch of the conversation")]
    OtherBranch,
    /// The conversation has no such branch.
    #[error("the branch is not known")]
    UnknownBranch,
    /// Replies are owed on the active branch.
    #[error("replies are owed on the active branch")]
    RepliesOwed,
    /// There are too many branches already.
    #[error("a conversation may have at most {limit} branches")]
    TooManyBranches {
        /// How many there may be.
        limit: usize,
    },
    /// The item waits for nothing: it was dropped, or never did.
    #[error("the item waits for nothing")]
    NotPending,
    /// Another reply of the conversation has to end first.
    #[error("another reply of the conversation comes first")]
    NotYourTurn,
    /// The attempt is not the one that may do this.
    #[error("the attempt is not the current one, which is {current}")]
    StaleAttempt {
        /// The number of the last attempt begun; 0 when there was none.
        current: u32,
    },
    /// The reply has ended, and otherwise than this command says.
    #[error("the reply has already ended")]
    ReplyEnded,
}
