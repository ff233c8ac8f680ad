//! Queries on what people have used.

use chrono::NaiveDate;
use sqlx::PgExecutor;
use uuid::Uuid;

/// What a person used on one day with one model; the messages of a day stand beside each model of it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct UsageRow {
    /// The day, in UTC.
    pub day: NaiveDate,
    /// Messages that asked for a reply on it.
    pub messages: i64,
    /// The model that answered; none when nothing was answered on that day.
    pub model: Option<String>,
    /// Replies that it completed.
    pub replies: i64,
    /// Tokens that it was sent.
    pub prompt_tokens: i64,
    /// Tokens that it answered.
    pub completion_tokens: i64,
    /// What that cost, in millionths of a dollar, as far as prices were known; none when none was.
    pub cost_micros: Option<i64>,
}

/// What `user` has used since `from`, the newest day first, models by name.
///
/// # Errors
/// Those of the database.
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
