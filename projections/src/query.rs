//! What is asked of all read models alike.

use sqlx::PgExecutor;

/// How far a stream of the log is, and how far read models are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct Standing {
    /// Position of the stream's last event; 0 without any.
    pub stream: i64,
    /// The position up to which all of the models are.
    pub models: i64,
}

/// How far a stream is and whether these read models show all of it: one question.
///
/// # Errors
/// Those of the database.
pub async fn standing(
    pool: impl PgExecutor<'_>,
    aggregate_type: &str,
    aggregate_id: &str,
    models: &[&str],
) -> Result<Standing, sqlx::Error> {
    let models: Vec<String> = models.iter().map(|model| (*model).to_owned()).collect();
    sqlx::query_as(
        "SELECT coalesce((SELECT position FROM events WHERE aggregate_type = $1 AND aggregate_id = $2
                          ORDER BY sequence DESC LIMIT 1), 0) AS stream,
             (SELECT coalesce(min(coalesce(c.position, 0)), 0) FROM unnest($3::text[]) AS wanted(name)
              LEFT JOIN checkpoints AS c ON c.projection = wanted.name) AS models",
    )
    .bind(aggregate_type)
    .bind(aggregate_id)
    .bind(models)
    .fetch_one(pool)
    .await
}

/// The position up to which all of these read models are, as the database has it.
///
/// # Errors
/// Those of the database.
pub async fn stands(pool: impl PgExecutor<'_>, models: &[&str]) -> Result<i64, sqlx::Error> {
    let models: Vec<String> = models.iter().map(|model| (*model).to_owned()).collect();
    sqlx::query_scalar(
        "SELECT coalesce(min(coalesce(c.position, 0)), 0) FROM unnest($1::text[]) AS wanted(name)
         LEFT JOIN checkpoints AS c ON c.projection = wanted.name",
    )
    .bind(models)
    .fetch_one(pool)
    .await
}
