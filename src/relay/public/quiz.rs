//! Quizzes: begun, answered, finished. What is marked or looked at on the way is nobody's business.

use aggregates::ids::{ConversationId, QuizId, UserId};
use aggregates::quiz::QuizEvent;
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::{KindSchema, PublicData, PublicEvent, schema};

/// Which quiz.
#[derive(Serialize, JsonSchema)]
struct Which {
    /// The quiz.
    quiz_id: Uuid,
    /// The conversation it stands in.
    conversation_id: Uuid,
    /// Whose it is.
    owner: Uuid,
}

impl Which {
    fn new(quiz: &QuizId, conversation: &ConversationId, owner: &UserId) -> Self {
        Self { quiz_id: quiz.uuid(), conversation_id: conversation.uuid(), owner: owner.uuid() }
    }
}

/// A quiz was begun.
#[derive(Serialize, JsonSchema)]
struct Started {
    #[serde(flatten)]
    which: Which,
    /// What it is about: a topic of the bank of questions.
    topic: String,
    /// How many questions it has.
    total: usize,
    /// When.
    at: DateTime<Utc>,
}

/// A question was answered.
#[derive(Serialize, JsonSchema)]
struct Answered {
    #[serde(flatten)]
    which: Which,
    /// The question, by its name in the bank.
    question_id: String,
    /// Which try at it, from 1.
    attempt: u32,
    /// Whether it was right.
    correct: bool,
    /// When.
    at: DateTime<Utc>,
}

/// A quiz ended.
#[derive(Serialize, JsonSchema)]
struct Finished {
    #[serde(flatten)]
    which: Which,
    /// Questions answered rightly at the first try.
    score: u32,
    /// How many questions it had.
    total: u32,
    /// When.
    at: DateTime<Utc>,
}

impl PublicData for Started {
    const NAME: &'static str = "quiz.started";
}

impl PublicData for Answered {
    const NAME: &'static str = "quiz.answered";
}

impl PublicData for Finished {
    const NAME: &'static str = "quiz.finished";
}

pub(super) fn schemas(into: &mut Vec<KindSchema>) {
    into.extend([schema::<Started>(), schema::<Answered>(), schema::<Finished>()]);
}

/// None: it is a step between two answers.
pub(super) fn public(event: &QuizEvent) -> Option<PublicEvent> {
    Some(match event {
        QuizEvent::QuizStarted { quiz_id, conversation_id, owner, topic, questions, at } => {
            PublicEvent::new(Started {
                which: Which::new(quiz_id, conversation_id, owner),
                topic: topic.clone(),
                total: questions.len(),
                at: *at,
            })
        }
        QuizEvent::QuizAnswerSubmitted {
            quiz_id,
            conversation_id,
            owner,
            question_id,
            choice: _,
            attempt,
            correct,
            at,
        } => PublicEvent::new(Answered {
            which: Which::new(quiz_id, conversation_id, owner),
            question_id: question_id.clone(),
            attempt: *attempt,
            correct: *correct,
            at: *at,
        }),
        QuizEvent::QuizFinished { quiz_id, conversation_id, owner, score, total, at } => {
            PublicEvent::new(Finished {
                which: Which::new(quiz_id, conversation_id, owner),
                score: *score,
                total: *total,
                at: *at,
            })
        }
        QuizEvent::QuizChoiceSelected { .. }
        | QuizEvent::QuizChoiceCleared { .. }
        | QuizEvent::QuizMovedOn { .. } => return None,
    })
}
