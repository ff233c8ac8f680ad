//! Queries on quizzes.

use aggregates::quiz::{Quiz, QuizView};
use sqlx::PgExecutor;
use sqlx::types::Json;
use uuid::Uuid;

/// State of a quiz.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct WidgetStateRow {
    /// Id of the quiz.
    pub quiz_id: Uuid,
    /// Conversation it belongs to.
    pub conversation_id: Uuid,
    /// Owner's user id.
    pub owner: Uuid,
    /// State, including answers that were not found: show [`Self::view`] only.
    pub state: Json<Quiz>,
    /// Position of its start, which orders it in the conversation.
    pub started: i64,
    /// Position of its last event.
    pub position: i64,
}

impl WidgetStateRow {
    /// Returns what its owner may see.
    pub fn view(&self) -> Option<QuizView> {
        self.state.view()
    }
}

/// Returns one quiz of this owner.
///
/// # Errors
/// Fails if the database does.
pub async fn by_id(
    pool: impl PgExecutor<'_>,
    owner: Uuid,
    quiz: Uuid,
) -> Result<Option<WidgetStateRow>, sqlx::Error> {
    sqlx::query_as(
        "SELECT quiz_id, conversation_id, owner, state, started, position FROM widget_state
         WHERE quiz_id = $2 AND owner = $1",
    )
    .bind(owner)
    .bind(quiz)
    .fetch_optional(pool)
    .await
}

/// Returns the quizzes of one of this owner's conversations, in the order of their start.
///
/// # Errors
/// Fails if the database does.
pub async fn of_conversation(
    pool: impl PgExecutor<'_>,
    owner: Uuid,
    conversation: Uuid,
) -> Result<Vec<WidgetStateRow>, sqlx::Error> {
    sqlx::query_as(
        "SELECT quiz_id, conversation_id, owner, state, started, position FROM widget_state
         WHERE conversation_id = $2 AND owner = $1 ORDER BY started",
    )
    .bind(owner)
    .bind(conversation)
    .fetch_all(pool)
    .await
}
