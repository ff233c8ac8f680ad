//! View of a quiz for its owner. Never reveals an answer that was not found.

use serde::{Deserialize, Serialize};

use super::Choice;
use crate::ids::{ConversationId, QuizId};

/// State of the open question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerStatus {
    /// Not answered yet, or cleared after a wrong answer.
    Idle,
    /// The last answer was wrong; another one may be tried.
    Incorrect,
    /// Answered correctly; the next question may be opened.
    Correct,
}

/// A quiz as its owner may see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuizView {
    /// The quiz.
    pub quiz_id: QuizId,
    /// Conversation of the quiz.
    pub conversation_id: ConversationId,
    /// Topic of the quiz.
    pub topic: String,
    /// Whether the quiz is finished.
    pub finished: bool,
    /// Number of the open question, from 1; of the last one if the quiz is finished.
    pub index: u32,
    /// Number of questions.
    pub total: u32,
    /// Questions answered correctly on the first try, so far.
    pub score: u32,
    /// The open question; the last one if the quiz is finished.
    pub question: QuestionView,
    /// The correctly answered questions, in order.
    pub answered: Vec<Answered>,
}

/// The open question as its owner may see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuestionView {
    /// Id of the question.
    pub id: String,
    /// Text of the question.
    pub prompt: String,
    /// The choices.
    pub options: Vec<Choice>,
    /// The choice that is selected, or was submitted last.
    pub selected: Option<String>,
    /// State of the question.
    pub status: AnswerStatus,
    /// Number of answers; the next try is this plus one.
    pub attempts: u32,
    /// Shown after a wrong answer, if the question has one.
    pub hint: Option<String>,
    /// Shown after the correct answer, if the question has one.
    pub explanation: Option<String>,
}

/// A correctly answered question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// Id of the question.
    pub question_id: String,
    /// Text of the question.
    pub prompt: String,
    /// Label of the correct choice.
    pub answer: String,
    /// Number of tries.
    pub attempts: u32,
}
