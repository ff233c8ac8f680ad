//! Queries on the quizzes.

use aggregates::quiz::{Quiz, QuizView};
use sqlx::PgExecutor;
use sqlx::types::Json;
use uuid::Uuid;

/// A quiz as it stands.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct WidgetStateRow {
    /// Its id.
    pub quiz_id: Uuid,
    /// The conversation it stands in.
    pub conversation_id: Uuid,
    /// Whose it is.
    pub owner: Uuid,
    /// Its state, answers that have not been found included: show [`Self::view`] only.
    pub state: Json<Quiz>,
    /// Position of the event that began it: its place in the conversation.
    pub started: i64,
    /// Position of its last event.
    pub position: i64,
}

impl WidgetStateRow {
    /// What its owner may see of it.
    pub fn view(&self) -> Option<QuizView> {
        self.state.view()
    }
}

/// One quiz of this owner.
///
/// # Errors
/// Those of the database.
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

/// The quizzes of one of this owner's conversations, in the order in which they were begun.
///
/// # Errors
/// Those of the database.
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
