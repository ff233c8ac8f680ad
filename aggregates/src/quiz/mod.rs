//! A quiz: questions with choices, asked one after the other in a conversation.
//!
//! It owns which question is open, what was answered, and the score. Questions stand in its first event, so that a
//! changed bank changes no quiz that has begun. A client is told a correct answer only after it has found it.

mod aggregate;
mod command;
mod decide;
mod error;
mod event;
mod view;

pub use aggregate::Quiz;
pub use command::QuizCommand;
pub use decide::{check_questions, decide};
pub use error::{QuestionFault, QuizError};
pub use event::{Choice, Question, QuizEvent};
pub use view::{AnswerStatus, Answered, QuestionView, QuizView};

/// The model that an answer names which brings a quiz and was made without a provider.
pub const ANSWERS_AS: &str = "quiz-1";

#[cfg(test)]
mod tests;
