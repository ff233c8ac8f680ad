//! What a quiz can be asked to do.

use chrono::{DateTime, Utc};

use super::Question;
use crate::ids::{ConversationId, QuizId, UserId};

/// A wish concerning one quiz. All but the first name the question they mean: a card that shows another one than is open
/// cannot change anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QuizCommand {
    /// Begin with these questions, the first one open.
    Start {
        /// Which quiz it will be.
        quiz_id: QuizId,
        /// In which conversation.
        conversation_id: ConversationId,
        /// Who asks; its owner.
        by: UserId,
        /// What it is about.
        topic: String,
        /// What is asked, in this order.
        questions: Vec<Question>,
        /// When.
        at: DateTime<Utc>,
    },
    /// Mark a choice, without submitting it.
    Select {
        /// Who asks.
        by: UserId,
        /// Of which question.
        question_id: String,
        /// The value of the choice.
        choice: String,
        /// When.
        at: DateTime<Utc>,
    },
    /// Submit a choice as the answer.
    Submit {
        /// Who asks.
        by: UserId,
        /// To which question.
        question_id: String,
        /// The value of the choice.
        choice: String,
        /// Which try this is meant to be, from 1. None: the next one, unless it repeats the last.
        attempt: Option<u32>,
        /// When.
        at: DateTime<Utc>,
    },
    /// Take the mark and the last wrong answer away.
    Clear {
        /// Who asks.
        by: UserId,
        /// Of which question.
        question_id: String,
        /// When.
        at: DateTime<Utc>,
    },
    /// Open the question after this one, or finish behind the last.
    Next {
        /// Who asks.
        by: UserId,
        /// The question to be left.
        question_id: String,
        /// When.
        at: DateTime<Utc>,
    },
    /// End it, after the last question.
    Finish {
        /// Who asks.
        by: UserId,
        /// The last question.
        question_id: String,
        /// When.
        at: DateTime<Utc>,
    },
}
