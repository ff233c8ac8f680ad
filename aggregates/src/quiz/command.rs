//! What a quiz can be asked to do.

/// A wish concerning one quiz.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QuizCommand {}
