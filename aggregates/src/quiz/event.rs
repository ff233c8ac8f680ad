//! What happened to a quiz.

use chrono::{DateTime, Utc};
use cqrs_es::DomainEvent;
use serde::{Deserialize, Serialize};

use crate::ids::{ConversationId, QuizId, UserId};

/// One question with its choices, as it stands in a bank and in the event that starts a quiz.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// Its name, unique in its quiz.
    pub id: String,
    /// What is asked.
    pub prompt: String,
    /// What can be chosen, in the order in which it is shown.
    pub options: Vec<Choice>,
    /// The value of the right one.
    pub correct: String,
    /// Shown after a wrong answer.
    pub hint: Option<String>,
    /// Shown after the right one.
    pub explanation: Option<String>,
}

/// One thing to choose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// What stands for it in actions.
    pub value: String,
    /// What is shown.
    pub label: String,
}

/// A fact about one quiz. Fields that this version does not know are refused, never dropped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum QuizEvent {
    /// It began; the first question is open.
    QuizStarted {
        /// Which quiz.
        quiz_id: QuizId,
        /// In which conversation.
        conversation_id: ConversationId,
        /// Whose.
        owner: UserId,
        /// What it is about: a topic of the bank.
        topic: String,
        /// What is asked, in this order.
        questions: Vec<Question>,
        /// When.
        at: DateTime<Utc>,
    },
    /// A choice was marked, not submitted yet.
    QuizChoiceSelected {
        /// Which quiz.
        quiz_id: QuizId,
        /// In which conversation.
        conversation_id: ConversationId,
        /// Whose.
        owner: UserId,
        /// Of which question.
        question_id: String,
        /// Which.
        choice: String,
        /// When.
        at: DateTime<Utc>,
    },
    /// The mark was taken away.
    QuizChoiceCleared {
        /// Which quiz.
        quiz_id: QuizId,
        /// In which conversation.
        conversation_id: ConversationId,
        /// Whose.
        owner: UserId,
        /// Of which question.
        question_id: String,
        /// When.
        at: DateTime<Utc>,
    },
    /// A choice was submitted as the answer.
    QuizAnswerSubmitted {
        /// Which quiz.
        quiz_id: QuizId,
        /// In which conversation.
        conversation_id: ConversationId,
        /// Whose.
        owner: UserId,
        /// To which question.
        question_id: String,
        /// Which.
        choice: String,
        /// Which try at this question it was; the first is 1.
        attempt: u32,
        /// Whether it is the right one.
        correct: bool,
        /// When.
        at: DateTime<Utc>,
    },
    /// The next question was opened.
    QuizMovedOn {
        /// Which quiz.
        quiz_id: QuizId,
        /// In which conversation.
        conversation_id: ConversationId,
        /// Whose.
        owner: UserId,
        /// The question that is open now.
        question_id: String,
        /// When.
        at: DateTime<Utc>,
    },
    /// It ended.
    QuizFinished {
        /// Which quiz.
        quiz_id: QuizId,
        /// In which conversation.
        conversation_id: ConversationId,
        /// Whose.
        owner: UserId,
        /// Questions answered rightly at the first try.
        score: u32,
        /// Questions asked.
        total: u32,
        /// When.
        at: DateTime<Utc>,
    },
}

impl QuizEvent {
    /// Every event type of this aggregate with the version that this code writes.
    pub const TYPES: &[(&str, u32)] = &[
        ("quiz_started", 1),
        ("quiz_choice_selected", 1),
        ("quiz_choice_cleared", 1),
        ("quiz_answer_submitted", 1),
        ("quiz_moved_on", 1),
        ("quiz_finished", 1),
    ];

    /// The event's name in the log.
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

    /// Which quiz.
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

    /// In which conversation.
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

    /// Whose.
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

    /// When.
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
