//! Quizzes: starting, showing and taking them, question by question.
//!
//! Responses come from the aggregate's state after the command. They still wait for the read models, for a bounded time, so
//! that the next load of the thread shows the card in the same state.

use std::sync::Arc;

use aggregates::conversation::{Conversation, ConversationCommand};
use aggregates::ids::{ConversationId, QuizId};
use aggregates::quiz::{Quiz, QuizCommand};
use chrono::{DateTime, Utc};
use projections::registry;
use serde_json::json;

use super::core::stored_id;
use super::quotas::QuotaService;
use super::{Actor, AppError, Core, Kind, RequestContext};
use crate::tools::quiz::{NewQuiz, Quizzes, UnknownTopic};
use event_store::{CommandBatch, StateCapture};

pub use aggregates::quiz::{AnswerStatus, QuizView};

/// A started quiz.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// The quiz.
    pub quiz: QuizId,
    /// Conversation of the quiz.
    pub conversation: ConversationId,
    /// Visible state of the quiz.
    pub view: QuizView,
    /// Position of the command's last event.
    pub position: Option<i64>,
}

/// An action of a user on a quiz. Each names the question that the user's card shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QuizAction {
    /// Select a choice.
    Select {
        /// The question.
        question_id: String,
        /// The value of the choice.
        choice: String,
    },
    /// Submit a choice.
    Submit {
        /// The question.
        question_id: String,
        /// The value of the choice.
        choice: String,
        /// Number of the attempt, from 1; `None`: the next one.
        attempt: Option<u32>,
    },
    /// Clear the selection.
    Clear {
        /// The question.
        question_id: String,
    },
    /// Go to the next question; after the last one, finish.
    Next {
        /// The current question.
        question_id: String,
    },
    /// Finish, after the last question.
    Finish {
        /// The last question.
        question_id: String,
    },
}

/// Result of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acted {
    /// State after the action.
    pub view: QuizView,
    /// Whether the card was out of date; the action then had no effect.
    pub stale: bool,
    /// Whether the action had an effect.
    pub changed: bool,
    /// Position of the command's last event.
    pub position: Option<i64>,
}

/// Quizzes: starting, showing and taking them.
pub struct QuizService {
    /// The log, the read models, time and ids.
    pub core: Core,
    /// Charges the start of a quiz as a message.
    pub quotas: Arc<QuotaService>,
    /// Chooses the questions.
    pub quizzes: Quizzes,
}

impl QuizService {
    /// Returns the topics.
    pub fn topics(&self) -> impl Iterator<Item = &str> {
        self.quizzes.bank().topics().map(|topic| topic.name.as_str())
    }

    /// Starts a quiz, in a new conversation if none is given.
    ///
    /// # Errors
    /// `Invalid` topic, `NotFound` conversation, `Throttled`, `Conflict` if the conversation of a repeated key was deleted
    /// since, and those of the log.
    pub async fn start_quiz(
        &self,
        request: &RequestContext,
        actor: Actor,
        conversation: Option<ConversationId>,
        topic: Option<&str>,
    ) -> Result<Started, AppError> {
        let at = self.core.clock.now();
        let quiz = QuizId::new(self.core.clock.id());
        let target = conversation.unwrap_or_else(|| ConversationId::new(self.core.clock.id()));
        let new = NewQuiz { quiz, conversation: target, by: actor.user, topic, at };
        let command = self.quizzes.start(&new)?;
        let key = request.key_of(actor.user);
        // A repetition must return the first outcome, even if the conversation was deleted since.
        if conversation.is_some() && self.core.repeated(key.as_ref()).await?.is_none() {
            self.require_conversation(actor, target).await?;
        }

        let capture = StateCapture::default();
        let batch = self.core.batch(request, actor.user);
        let batch = start_or_require(batch, actor, target, at)
            .command_capturing::<Quiz>(quiz, command, &capture)
            .with_key(key, json!({"conversation_id": target, "quiz_id": quiz}));
        let outcome = self.quotas.run_as_message(request, actor, target.uuid(), batch).await?;
        self.core.catch_up(registry::QUIZ_MODELS, outcome.position).await;
        let position = outcome.position;
        if let Some(stored) = &outcome.replayed {
            let quiz = QuizId::new(stored_id(stored, "quiz_id")?);
            let conversation = ConversationId::new(stored_id(stored, "conversation_id")?);
            let view = self.quiz(actor, quiz).await.map_err(conversation_deleted)?;
            return Ok(Started { quiz, conversation, view, position });
        }
        let view = capture.take().and_then(|change| change.after.view()).ok_or_else(not_captured)?;
        Ok(Started { quiz, conversation: target, view, position })
    }

    /// Returns the current state of a quiz.
    ///
    /// # Errors
    /// `NotFound`, also if its conversation was deleted; those of the log.
    pub async fn quiz(&self, actor: Actor, quiz: QuizId) -> Result<QuizView, AppError> {
        let state = self.core.executor.state::<Quiz>(&quiz.to_string()).await?;
        self.visible(actor, &state).await
    }

    /// Applies an action to a quiz, in one append. A stale, early or repeated action adds no event and returns the current
    /// state.
    ///
    /// # Errors
    /// `Invalid` question or choice, `NotFound` (also if its conversation was deleted), `Conflict` if the conversation of a
    /// repeated key was deleted since, and those of the log.
    pub async fn act_on_quiz(
        &self,
        request: &RequestContext,
        actor: Actor,
        quiz: QuizId,
        action: QuizAction,
    ) -> Result<Acted, AppError> {
        let at = self.core.clock.now();
        // Owner and conversation of a quiz never change.
        let known = self.core.executor.recent_state::<Quiz>(&quiz.to_string()).await?;
        let conversation = known
            .conversation_id()
            .filter(|_| known.owner() == Some(actor.user))
            .ok_or_else(AppError::not_found)?;
        let command = action.command(actor, at);
        let capture = StateCapture::default();
        let batch = self.core.batch(request, actor.user);
        let batch = start_or_require(batch, actor, conversation, at)
            .command_capturing::<Quiz>(quiz, command.clone(), &capture)
            .with_key(request.key_of(actor.user), json!({"quiz_id": quiz}));
        let outcome = self.core.executor.run(batch).await?;
        self.core.catch_up(registry::QUIZ_MODELS, outcome.position).await;
        let (position, changed) = (outcome.position, outcome.position.is_some());
        if outcome.replayed.is_some() {
            let state = self.core.executor.state::<Quiz>(&quiz.to_string()).await?;
            let view = self.visible(actor, &state).await.map_err(conversation_deleted)?;
            return Ok(Acted { view, stale: !changed && state.is_stale(&command), changed, position });
        }
        let change = capture.take().ok_or_else(not_captured)?;
        let view = change.after.view().ok_or_else(not_captured)?;
        Ok(Acted { view, stale: change.before.is_stale(&command), changed, position })
    }

    /// Returns what the actor may see of a quiz.
    async fn visible(&self, actor: Actor, quiz: &Quiz) -> Result<QuizView, AppError> {
        let view =
            quiz.view().filter(|_| quiz.owner() == Some(actor.user)).ok_or_else(AppError::not_found)?;
        self.require_conversation(actor, view.conversation_id).await?;
        Ok(view)
    }

    /// Requires, by the log, that the conversation is the actor's and not deleted.
    async fn require_conversation(&self, actor: Actor, conversation: ConversationId) -> Result<(), AppError> {
        let state = self.core.executor.state::<Conversation>(&conversation.to_string()).await?;
        if state.owner() == Some(actor.user) && !state.is_deleted() {
            Ok(())
        } else {
            Err(AppError::not_found())
        }
    }
}

/// Starts a conversation, or checks in the same append that it exists and is the actor's: starting it again adds no event,
/// and is rejected for a deleted or foreign conversation.
fn start_or_require(
    batch: CommandBatch,
    actor: Actor,
    id: ConversationId,
    at: DateTime<Utc>,
) -> CommandBatch {
    batch.command::<Conversation>(id, ConversationCommand::Start { id, by: actor.user, title: None, at })
}

impl QuizAction {
    fn command(self, actor: Actor, at: DateTime<Utc>) -> QuizCommand {
        let by = actor.user;
        match self {
            Self::Select { question_id, choice } => QuizCommand::Select { by, question_id, choice, at },
            Self::Submit { question_id, choice, attempt } => {
                QuizCommand::Submit { by, question_id, choice, attempt, at }
            }
            Self::Clear { question_id } => QuizCommand::Clear { by, question_id, at },
            Self::Next { question_id } => QuizCommand::Next { by, question_id, at },
            Self::Finish { question_id } => QuizCommand::Finish { by, question_id, at },
        }
    }
}

impl From<UnknownTopic> for AppError {
    fn from(error: UnknownTopic) -> Self {
        let topics = error.topics.join(", ");
        Self::new(Kind::Invalid, "unknown_topic", format!("Unknown quiz topic. Available topics: {topics}."))
    }
}

/// The conversation of a repeated key has been deleted.
fn conversation_deleted(error: AppError) -> AppError {
    if error.kind == Kind::NotFound { AppError::conversation_deleted() } else { error }
}

/// A command was committed without its state having been captured.
fn not_captured() -> AppError {
    AppError::internal(anyhow::anyhow!("the state after a quiz command was not captured"))
}
