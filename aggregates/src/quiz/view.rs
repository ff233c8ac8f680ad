//! What may be shown of a quiz: never an answer that has not been found.

use serde::{Deserialize, Serialize};

use super::Choice;
use crate::ids::{ConversationId, QuizId};

/// How it stands with the open question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerStatus {
    /// Not answered yet, or cleared after a wrong answer.
    Idle,
    /// The last answer was wrong; another one may be tried.
    Incorrect,
    /// Answered rightly; the next question may be opened.
    Correct,
}

/// A quiz as its owner may see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuizView {
    /// Which quiz.
    pub quiz_id: QuizId,
    /// In which conversation.
    pub conversation_id: ConversationId,
    /// What it is about.
    pub topic: String,
    /// Whether it is over.
    pub finished: bool,
    /// The open question's number, from 1; the last one's when it is over.
    pub index: u32,
    /// How many questions there are.
    pub total: u32,
    /// Questions answered rightly at the first try, so far.
    pub score: u32,
    /// The open question; the last one when it is over.
    pub question: QuestionView,
    /// What was asked and how it went, for every question that was answered rightly, in order.
    pub answered: Vec<Answered>,
}

/// The open question as its reader may see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuestionView {
    /// Its name.
    pub id: String,
    /// What is asked.
    pub prompt: String,
    /// What can be chosen.
    pub options: Vec<Choice>,
    /// The choice that is marked, or was submitted last.
    pub selected: Option<String>,
    /// How it stands.
    pub status: AnswerStatus,
    /// How often it was answered; the next try is this plus one.
    pub attempts: u32,
    /// Shown after a wrong answer, where the question has one.
    pub hint: Option<String>,
    /// Shown after the right answer, where the question has one.
    pub explanation: Option<String>,
}

/// A question that was answered rightly in the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// Its name.
    pub question_id: String,
    /// What was asked.
    pub prompt: String,
    /// The label of the right choice.
    pub answer: String,
    /// How many tries it took.
    pub attempts: u32,
}
