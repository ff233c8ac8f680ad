//! Rejections of a quiz's commands.

use thiserror::Error;

/// A rejected command. It writes no events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum QuizError {
    /// The quiz does not exist.
    #[error("the quiz does not exist")]
    NotStarted,
    /// The stream belongs to a quiz with another id or in another conversation.
    #[error("the quiz was already started otherwise")]
    AlreadyStarted,
    /// The quiz belongs to another user.
    #[error("the quiz belongs to another user")]
    NotOwner,
    /// The quiz has no such question.
    #[error("the quiz has no such question")]
    UnknownQuestion,
    /// The question has no such choice.
    #[error("the question has no such choice")]
    UnknownChoice,
    /// The questions of the start command are invalid.
    #[error("the questions cannot be asked: {0}")]
    Questions(#[from] QuestionFault),
}

/// Reason why a list of questions is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum QuestionFault {
    /// The list is empty.
    #[error("the list is empty")]
    None,
    /// Two questions have the same id.
    #[error("two have the same id")]
    SameId,
    /// A question has fewer than two choices.
    #[error("one has fewer than two options")]
    TooFewOptions,
    /// Two choices of a question have the same value.
    #[error("one has two options with the same value")]
    SameOption,
    /// The correct value is not among the choices.
    #[error("the correct value of one is not among its options")]
    CorrectNotAnOption,
}
