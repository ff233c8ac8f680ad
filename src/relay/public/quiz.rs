//! Public events of quizzes: started, answered, finished. Selections are not public.

use aggregates::ids::{ConversationId, QuizId, UserId};
use aggregates::quiz::QuizEvent;
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::{KindSchema, PublicData, PublicEvent, schema};

/// Ids of the quiz.
#[derive(Serialize, JsonSchema)]
struct Which {
    /// The quiz.
    quiz_id: Uuid,
    /// Conversation of the quiz.
    conversation_id: Uuid,
    /// User id of the owner.
    owner: Uuid,
}

impl Which {
    fn new(quiz: &QuizId, conversation: &ConversationId, owner: &UserId) -> Self {
        Self { quiz_id: quiz.uuid(), conversation_id: conversation.uuid(), owner: owner.uuid() }
    }
}

/// A quiz was started.
#[derive(Serialize, JsonSchema)]
struct Started {
    #[serde(flatten)]
    which: Which,
    /// Topic of the question bank.
    topic: String,
    /// Number of questions.
    total: usize,
    /// Time of the event (UTC).
    at: DateTime<Utc>,
}

/// A question was answered.
#[derive(Serialize, JsonSchema)]
struct Answered {
    #[serde(flatten)]
    which: Which,
    /// Id of the question in the bank.
    question_id: String,
    /// Number of the try at this question, from 1.
    attempt: u32,
    /// Whether the answer was correct.
    correct: bool,
    /// Time of the event (UTC).
    at: DateTime<Utc>,
}

/// A quiz was finished.
#[derive(Serialize, JsonSchema)]
struct Finished {
    #[serde(flatten)]
    which: Which,
    /// Questions answered correctly on the first try.
    score: u32,
    /// Number of questions.
    total: u32,
    /// Time of the event (UTC).
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

/// The public form of an event; selections and moves have none.
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
