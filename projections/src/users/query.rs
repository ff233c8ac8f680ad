//! Queries on users.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use uuid::Uuid;

/// A user as API surfaces show it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct UserRow {
    /// The user's id.
    pub user_id: Uuid,
    /// Address as typed; `None` if erased.
    pub email: Option<String>,
    /// User name, if one was chosen.
    pub username: Option<String>,
    /// Role, for display only: permissions are decided on the log.
    pub role: String,
    /// False once the account is deactivated.
    pub is_active: bool,
    /// Time of the registration.
    pub created_at: DateTime<Utc>,
    /// Time of the last password change.
    pub password_changed_at: Option<DateTime<Utc>>,
}

/// Returns one user.
///
/// # Errors
/// Fails if the database does.
pub async fn by_id(pool: impl PgExecutor<'_>, user: Uuid) -> Result<Option<UserRow>, sqlx::Error> {
    sqlx::query_as(
        "SELECT user_id, email, username, role, is_active, created_at, password_changed_at FROM users
         WHERE user_id = $1",
    )
    .bind(user)
    .fetch_optional(pool)
    .await
}

/// Returns at most `limit` users after `after`, in the order of their ids, roughly that of registration.
///
/// # Errors
/// Fails if the database does.
pub async fn page(
    pool: impl PgExecutor<'_>,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<UserRow>, sqlx::Error> {
    sqlx::query_as(
        "SELECT user_id, email, username, role, is_active, created_at, password_changed_at FROM users
         WHERE user_id > $1 ORDER BY user_id LIMIT $2",
    )
    // No user has this id: it is lower than any generated id.
    .bind(after.unwrap_or(Uuid::nil()))
    .bind(limit)
    .fetch_all(pool)
    .await
}
