//! Queries on the users.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use uuid::Uuid;

/// A user as the doors show one.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct UserRow {
    /// The user's id.
    pub user_id: Uuid,
    /// Address as typed; none when erased.
    pub email: Option<String>,
    /// Name to sign in with, where one was chosen.
    pub username: Option<String>,
    /// What the user may do besides their own things. For showing: who may do what is decided on the log.
    pub role: String,
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
        "SELECT user_id, email, username, role, is_active, created_at, password_changed_at FROM users
         WHERE user_id = $1",
    )
    .bind(user)
    .fetch_optional(pool)
    .await
}

/// Users in the order of their ids, which is about that of their registrations: those behind `after`, at most `limit`.
///
/// # Errors
/// Those of the database.
pub async fn page(
    pool: impl PgExecutor<'_>,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<UserRow>, sqlx::Error> {
    sqlx::query_as(
        "SELECT user_id, email, username, role, is_active, created_at, password_changed_at FROM users
         WHERE user_id > $1 ORDER BY user_id LIMIT $2",
    )
    // No user has this id: it is lower than all that are minted.
    .bind(after.unwrap_or(Uuid::nil()))
    .bind(limit)
    .fetch_all(pool)
    .await
}
