//! Commands of a quiz.

use chrono::{DateTime, Utc};

use super::Question;
use crate::ids::{ConversationId, QuizId, UserId};

/// A command for one quiz. All but the first name their question: a card that shows a question that is not open
/// cannot change anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QuizCommand {
    /// Starts a quiz with these questions, the first one open.
    Start {
        /// Id of the quiz.
        quiz_id: QuizId,
        /// Conversation of the quiz.
        conversation_id: ConversationId,
        /// Acting user, who owns the quiz.
        by: UserId,
        /// Topic of the quiz.
        topic: String,
        /// The questions, in order.
        questions: Vec<Question>,
        /// Time of the command (UTC).
        at: DateTime<Utc>,
    },
    /// Selects a choice without submitting it.
    Select {
        /// Acting user.
        by: UserId,
        /// Question that the choice belongs to.
        question_id: String,
        /// Value of the choice.
        choice: String,
        /// Time of the command (UTC).
        at: DateTime<Utc>,
    },
    /// Submits a choice as the answer.
    Submit {
        /// Acting user.
        by: UserId,
        /// The answered question.
        question_id: String,
        /// Value of the choice.
        choice: String,
        /// Number of the try, from 1. `None`: the next try, unless it repeats the last.
        attempt: Option<u32>,
        /// Time of the command (UTC).
        at: DateTime<Utc>,
    },
    /// Clears the selection and the last wrong answer.
    Clear {
        /// Acting user.
        by: UserId,
        /// Question that the choice belongs to.
        question_id: String,
        /// Time of the command (UTC).
        at: DateTime<Utc>,
    },
    /// Opens the next question, or finishes after the last.
    Next {
        /// Acting user.
        by: UserId,
        /// The current question.
        question_id: String,
        /// Time of the command (UTC).
        at: DateTime<Utc>,
    },
    /// Finishes the quiz after the last question.
    Finish {
        /// Acting user.
        by: UserId,
        /// The last question.
        question_id: String,
        /// Time of the command (UTC).
        at: DateTime<Utc>,
    },
}
