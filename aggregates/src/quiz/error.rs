//! Why a quiz's command is refused.

use thiserror::Error;

/// A refusal; nothing was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum QuizError {
    /// There is no such quiz.
    #[error("the quiz does not exist")]
    NotStarted,
    /// The stream belongs to a quiz with another id or in another conversation.
    #[error("the quiz was already started otherwise")]
    AlreadyStarted,
    /// It belongs to somebody else.
    #[error("the quiz belongs to another user")]
    NotOwner,
    /// The quiz has no question of that name.
    #[error("the quiz has no such question")]
    UnknownQuestion,
    /// The question has no choice of that value.
    #[error("the question has no such choice")]
    UnknownChoice,
    /// It was to be started with questions that cannot be asked.
    #[error("the questions cannot be asked: {0}")]
    Questions(#[from] QuestionFault),
}

/// What is wrong with a list of questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum QuestionFault {
    /// The list is empty.
    #[error("there is none")]
    None,
    /// Two questions have one name.
    #[error("two have the same id")]
    SameId,
    /// A question leaves nothing to choose.
    #[error("one has fewer than two options")]
    TooFewOptions,
    /// Two options of a question have one value.
    #[error("one has two options with the same value")]
    SameOption,
    /// The right answer cannot be chosen.
    #[error("the correct value of one is not among its options")]
    CorrectNotAnOption,
}
