//! A quiz: questions with choices, asked one after the other in a conversation.
//!
//! It decides which question is open, what was answered, and the score. Its first event holds the questions, so that a
//! changed question bank does not change a running quiz. A client gets a correct answer only after submitting it.

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

/// Model named by a quiz answer that was made without a provider.
pub const ANSWERS_AS: &str = "quiz-1";

#[cfg(test)]
mod tests;
