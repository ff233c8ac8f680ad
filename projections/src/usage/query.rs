//! Queries on usage.

use chrono::NaiveDate;
use sqlx::PgExecutor;
use uuid::Uuid;

/// Usage of one day and model; each model of a day repeats the messages of the day.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct UsageRow {
    /// The day, in UTC.
    pub day: NaiveDate,
    /// Messages that asked for a reply on that day.
    pub messages: i64,
    /// Model that answered; `None` if there was no answer on that day.
    pub model: Option<String>,
    /// Completed replies.
    pub replies: i64,
    /// Prompt tokens.
    pub prompt_tokens: i64,
    /// Completion tokens.
    pub completion_tokens: i64,
    /// Cost in millionths of a dollar, as far as prices are known; `None` if no price is.
    pub cost_micros: Option<i64>,
}

/// Returns the usage of `user` since `from`, newest day first, models by name.
///
/// # Errors
/// Fails if the database does.
pub async fn since(
    pool: impl PgExecutor<'_>,
    user: Uuid,
    from: NaiveDate,
) -> Result<Vec<UsageRow>, sqlx::Error> {
    sqlx::query_as(
        "SELECT day, coalesce(d.messages, 0) AS messages, m.model, coalesce(m.replies, 0) AS replies,
                coalesce(m.prompt_tokens, 0) AS prompt_tokens, coalesce(m.completion_tokens, 0) AS completion_tokens,
                m.cost_micros
         FROM (SELECT * FROM usage_days WHERE user_id = $1 AND day >= $2) AS d
         FULL JOIN (SELECT * FROM usage_models WHERE user_id = $1 AND day >= $2) AS m USING (day)
         ORDER BY day DESC, m.model",
    )
    .bind(user)
    .bind(from)
    .fetch_all(pool)
    .await
}
