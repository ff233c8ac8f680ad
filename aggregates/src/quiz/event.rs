//! Events of a quiz.

use chrono::{DateTime, Utc};
use cqrs_es::DomainEvent;
use serde::{Deserialize, Serialize};

use crate::ids::{ConversationId, QuizId, UserId};

/// A question with its choices, as held by a question bank and by the event that starts a quiz.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// Id of the question, unique in its quiz.
    pub id: String,
    /// Text of the question.
    pub prompt: String,
    /// The choices, in display order.
    pub options: Vec<Choice>,
    /// Value of the correct choice.
    pub correct: String,
    /// Shown after a wrong answer.
    pub hint: Option<String>,
    /// Shown after the correct answer.
    pub explanation: Option<String>,
}

/// A choice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// Value used in actions.
    pub value: String,
    /// Text shown.
    pub label: String,
}

/// An event of one quiz. Unknown fields are rejected, never dropped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum QuizEvent {
    /// The quiz was started; the first question is open.
    QuizStarted {
        /// The quiz.
        quiz_id: QuizId,
        /// Conversation of the quiz.
        conversation_id: ConversationId,
        /// Owner's user id.
        owner: UserId,
        /// Topic of the question bank.
        topic: String,
        /// The questions, in order.
        questions: Vec<Question>,
        /// Time of the event (UTC).
        at: DateTime<Utc>,
    },
    /// A choice was selected but not submitted.
    QuizChoiceSelected {
        /// The quiz.
        quiz_id: QuizId,
        /// Conversation of the quiz.
        conversation_id: ConversationId,
        /// Owner's user id.
        owner: UserId,
        /// Question that the choice belongs to.
        question_id: String,
        /// Value of the choice.
        choice: String,
        /// Time of the event (UTC).
        at: DateTime<Utc>,
    },
    /// The selection was cleared.
    QuizChoiceCleared {
        /// The quiz.
        quiz_id: QuizId,
        /// Conversation of the quiz.
        conversation_id: ConversationId,
        /// Owner's user id.
        owner: UserId,
        /// Question that the choice belongs to.
        question_id: String,
        /// Time of the event (UTC).
        at: DateTime<Utc>,
    },
    /// A choice was submitted as the answer.
    QuizAnswerSubmitted {
        /// The quiz.
        quiz_id: QuizId,
        /// Conversation of the quiz.
        conversation_id: ConversationId,
        /// Owner's user id.
        owner: UserId,
        /// The answered question.
        question_id: String,
        /// Value of the choice.
        choice: String,
        /// Number of the try at this question, from 1.
        attempt: u32,
        /// Whether it is correct.
        correct: bool,
        /// Time of the event (UTC).
        at: DateTime<Utc>,
    },
    /// The next question was opened.
    QuizMovedOn {
        /// The quiz.
        quiz_id: QuizId,
        /// Conversation of the quiz.
        conversation_id: ConversationId,
        /// Owner's user id.
        owner: UserId,
        /// The question that is now open.
        question_id: String,
        /// Time of the event (UTC).
        at: DateTime<Utc>,
    },
    /// The quiz was finished.
    QuizFinished {
        /// The quiz.
        quiz_id: QuizId,
        /// Conversation of the quiz.
        conversation_id: ConversationId,
        /// Owner's user id.
        owner: UserId,
        /// Questions answered correctly on the first try.
        score: u32,
        /// Number of questions.
        total: u32,
        /// Time of the event (UTC).
        at: DateTime<Utc>,
    },
}

impl QuizEvent {
    /// Name of every event of this aggregate, with the version that this code writes.
    pub const TYPES: &[(&str, u32)] = &[
        ("quiz_started", 1),
        ("quiz_choice_selected", 1),
        ("quiz_choice_cleared", 1),
        ("quiz_answer_submitted", 1),
        ("quiz_moved_on", 1),
        ("quiz_finished", 1),
    ];

    /// Name of the event in the log.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::QuizStarted { .. } => "quiz_started",
            Self::QuizChoiceSelected { .. } => "quiz_choice_selected",
            Self::QuizChoiceCleared { .. } => "quiz_choice_cleared",
            Self::QuizAnswerSubmitted { .. } => "quiz_answer_submitted",
            Self::QuizMovedOn { .. } => "quiz_moved_on",
            Self::QuizFinished { .. } => "quiz_finished",
        }
    }

    /// The quiz.
    #[must_use]
    pub const fn quiz_id(&self) -> QuizId {
        match self {
            Self::QuizStarted { quiz_id, .. }
            | Self::QuizChoiceSelected { quiz_id, .. }
            | Self::QuizChoiceCleared { quiz_id, .. }
            | Self::QuizAnswerSubmitted { quiz_id, .. }
            | Self::QuizMovedOn { quiz_id, .. }
            | Self::QuizFinished { quiz_id, .. } => *quiz_id,
        }
    }

    /// Conversation of the quiz.
    #[must_use]
    pub const fn conversation_id(&self) -> ConversationId {
        match self {
            Self::QuizStarted { conversation_id, .. }
            | Self::QuizChoiceSelected { conversation_id, .. }
            | Self::QuizChoiceCleared { conversation_id, .. }
            | Self::QuizAnswerSubmitted { conversation_id, .. }
            | Self::QuizMovedOn { conversation_id, .. }
            | Self::QuizFinished { conversation_id, .. } => *conversation_id,
        }
    }

    /// Owner's user id.
    #[must_use]
    pub const fn owner(&self) -> UserId {
        match self {
            Self::QuizStarted { owner, .. }
            | Self::QuizChoiceSelected { owner, .. }
            | Self::QuizChoiceCleared { owner, .. }
            | Self::QuizAnswerSubmitted { owner, .. }
            | Self::QuizMovedOn { owner, .. }
            | Self::QuizFinished { owner, .. } => *owner,
        }
    }

    /// Time of the event (UTC).
    #[must_use]
    pub const fn at(&self) -> DateTime<Utc> {
        match self {
            Self::QuizStarted { at, .. }
            | Self::QuizChoiceSelected { at, .. }
            | Self::QuizChoiceCleared { at, .. }
            | Self::QuizAnswerSubmitted { at, .. }
            | Self::QuizMovedOn { at, .. }
            | Self::QuizFinished { at, .. } => *at,
        }
    }
}

impl DomainEvent for QuizEvent {
    fn event_type(&self) -> String {
        self.name().to_owned()
    }

    fn event_version(&self) -> String {
        crate::versions::written(Self::TYPES, self.name())
    }
}
