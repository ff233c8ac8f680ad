//! Quizzes: begun, looked at, and taken question by question.
//!
//! What is answered comes from the aggregate, as the command has left it. After an action the read models are waited for all
//! the same, for a bounded time: whoever loads the thread next has to find the card as it was answered.

use std::sync::Arc;

use aggregates::conversation::{Conversation, ConversationCommand};
use aggregates::ids::{ConversationId, QuizId};
use aggregates::quiz::{Quiz, QuizCommand};
use chrono::{DateTime, Utc};
use projections::models;
use serde_json::json;

use super::core::stored_id;
use super::quotas::QuotaService;
use super::{Actor, AppError, Core, Kind, RequestContext};
use crate::tools::quiz::{NewQuiz, Quizzes, UnknownTopic};
use event_store::{CommandBatch, StateCapture};

pub use aggregates::quiz::{AnswerStatus, QuizView};

/// A quiz that was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// The quiz.
    pub quiz: QuizId,
    /// The conversation it stands in.
    pub conversation: ConversationId,
    /// What is shown of it.
    pub view: QuizView,
    /// Position of the command's last event.
    pub position: Option<i64>,
}

/// What somebody does to a quiz. All name the question that their card shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QuizAction {
    /// Mark a choice.
    Select {
        /// Of which question.
        question_id: String,
        /// The value of the choice.
        choice: String,
    },
    /// Submit a choice.
    Submit {
        /// To which question.
        question_id: String,
        /// The value of the choice.
        choice: String,
        /// Which try the card means, from 1; none: the next one.
        attempt: Option<u32>,
    },
    /// Take the mark away.
    Clear {
        /// Of which question.
        question_id: String,
    },
    /// Open the next question; behind the last one, finish.
    Next {
        /// The question to be left.
        question_id: String,
    },
    /// Finish, behind the last question.
    Finish {
        /// The last question.
        question_id: String,
    },
}

/// What came of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acted {
    /// The quiz as it is now.
    pub view: QuizView,
    /// Whether it came from a card that showed something older; nothing was done then.
    pub stale: bool,
    /// Whether something was done.
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
    /// What there are questions about.
    pub fn topics(&self) -> impl Iterator<Item = &str> {
        self.quizzes.bank().topics().map(|topic| topic.name.as_str())
    }

    /// Begins a quiz, in a new conversation when none is named.
    ///
    /// # Errors
    /// `Invalid` topic, `NotFound` conversation, `Throttled`, `Conflict` when a repeated key's conversation was deleted
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
        // A repetition must not be refused what the first one was given.
        if conversation.is_some() && self.core.repeated(key.as_ref()).await?.is_none() {
            self.alive(actor, target).await?;
        }

        let capture = StateCapture::default();
        let batch = self.core.batch(request, actor.user);
        let batch = begun_or_alive(batch, actor, target, at)
            .command_capturing::<Quiz>(quiz, command, &capture)
            .with_key(key, json!({"conversation_id": target, "quiz_id": quiz}));
        let outcome = self.quotas.run_as_message(request, actor, target.uuid(), batch).await?;
        self.core.catch_up(models::QUIZ_MODELS, outcome.position).await;
        let position = outcome.position;
        if let Some(stored) = &outcome.replayed {
            let quiz = QuizId::new(stored_id(stored, "quiz_id")?);
            let conversation = ConversationId::new(stored_id(stored, "conversation_id")?);
            let view = self.quiz(actor, quiz).await.map_err(deleted_since)?;
            return Ok(Started { quiz, conversation, view, position });
        }
        let view = capture.take().and_then(|change| change.after.view()).ok_or_else(unseen)?;
        Ok(Started { quiz, conversation: target, view, position })
    }

    /// One quiz of the actor's, as it is now.
    ///
    /// # Errors
    /// `NotFound`, also when its conversation was deleted; those of the log.
    pub async fn quiz(&self, actor: Actor, quiz: QuizId) -> Result<QuizView, AppError> {
        let state = self.core.executor.state::<Quiz>(&quiz.to_string()).await?;
        self.shown(actor, &state).await
    }

    /// Does something to a quiz, in one append. An action that is stale, too early or a repetition adds nothing and is
    /// answered with the quiz as it is.
    ///
    /// # Errors
    /// `Invalid` question or choice, `NotFound` (also when its conversation was deleted), `Conflict` when a repeated key's
    /// conversation was deleted since, and those of the log.
    pub async fn act_on_quiz(
        &self,
        request: &RequestContext,
        actor: Actor,
        quiz: QuizId,
        action: QuizAction,
    ) -> Result<Acted, AppError> {
        let at = self.core.clock.now();
        // Whose it is and where it stands never changes.
        let known = self.core.executor.recent_state::<Quiz>(&quiz.to_string()).await?;
        let conversation = known
            .conversation_id()
            .filter(|_| known.owner() == Some(actor.user))
            .ok_or_else(AppError::not_found)?;
        let command = action.command(actor, at);
        let capture = StateCapture::default();
        let batch = self.core.batch(request, actor.user);
        let batch = begun_or_alive(batch, actor, conversation, at)
            .command_capturing::<Quiz>(quiz, command.clone(), &capture)
            .with_key(request.key_of(actor.user), json!({"quiz_id": quiz}));
        let outcome = self.core.executor.run(batch).await?;
        self.core.catch_up(models::QUIZ_MODELS, outcome.position).await;
        let (position, changed) = (outcome.position, outcome.position.is_some());
        if outcome.replayed.is_some() {
            let state = self.core.executor.state::<Quiz>(&quiz.to_string()).await?;
            let view = self.shown(actor, &state).await.map_err(deleted_since)?;
            return Ok(Acted { view, stale: !changed && state.is_stale(&command), changed, position });
        }
        let change = capture.take().ok_or_else(unseen)?;
        let view = change.after.view().ok_or_else(unseen)?;
        Ok(Acted { view, stale: change.before.is_stale(&command), changed, position })
    }

    /// What the actor may see of a quiz.
    async fn shown(&self, actor: Actor, quiz: &Quiz) -> Result<QuizView, AppError> {
        let view =
            quiz.view().filter(|_| quiz.owner() == Some(actor.user)).ok_or_else(AppError::not_found)?;
        self.alive(actor, view.conversation_id).await?;
        Ok(view)
    }

    /// Whether the actor has such a conversation, by the log.
    async fn alive(&self, actor: Actor, conversation: ConversationId) -> Result<(), AppError> {
        let state = self.core.executor.state::<Conversation>(&conversation.to_string()).await?;
        if state.owner() == Some(actor.user) && !state.is_deleted() {
            Ok(())
        } else {
            Err(AppError::not_found())
        }
    }
}

/// Begins a conversation, or, when it is there, makes sure within the same append that it still is, and is the actor's:
/// beginning it again adds nothing, and is refused otherwise.
fn begun_or_alive(batch: CommandBatch, actor: Actor, id: ConversationId, at: DateTime<Utc>) -> CommandBatch {
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
        Self::new(
            Kind::Invalid,
            "unknown_topic",
            format!("There is no quiz about that. The topics are: {topics}."),
        )
    }
}

/// What a repeated key was given is gone.
fn deleted_since(error: AppError) -> AppError {
    if error.kind == Kind::NotFound { AppError::deleted_since() } else { error }
}

/// A command that was carried out without having been decided.
fn unseen() -> AppError {
    AppError::internal(anyhow::anyhow!("a quiz's command was not witnessed"))
}
