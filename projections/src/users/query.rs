//! Queries on the users.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use uuid::Uuid;

/// A user as the doors show one.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct UserRow {
    /// The user's id.
    pub user_id: Uuid,
    /// Address as typed at registration; none when erased.
    pub email: Option<String>,
    /// Name to sign in with, where one was chosen.
    pub username: Option<String>,
    /// False once the account was closed.
    pub is_active: bool,
    /// When the account was made.
    pub created_at: DateTime<Utc>,
    /// When the password was last replaced.
    pub password_changed_at: Option<DateTime<Utc>>,
}

/// One user.
///
/// # Errors
/// Those of the database.
pub async fn by_id(pool: impl PgExecutor<'_>, user: Uuid) -> Result<Option<UserRow>, sqlx::Error> {
    sqlx::query_as(
        "SELECT user_id, email, username, is_active, created_at, password_changed_at FROM users WHERE user_id = $1",
    )
    .bind(user)
    .fetch_optional(pool)
    .await
}
