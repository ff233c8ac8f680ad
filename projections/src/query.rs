//! Queries on the positions of read models.

use sqlx::PgExecutor;

/// Position of a stream and of read models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct StreamProgress {
    /// Position of the stream's last event; 0 if it has none.
    pub stream: i64,
    /// Lowest position of the models.
    pub models: i64,
}

/// Returns the position of a stream and the lowest position of these read models, in one statement.
///
/// # Errors
/// Fails if the database does.
pub async fn stream_progress(
    pool: impl PgExecutor<'_>,
    aggregate_type: &str,
    aggregate_id: &str,
    models: &[&str],
) -> Result<StreamProgress, sqlx::Error> {
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

/// Returns the lowest checkpoint of these read models.
///
/// # Errors
/// Fails if the database does.
pub async fn min_position(pool: impl PgExecutor<'_>, models: &[&str]) -> Result<i64, sqlx::Error> {
    let models: Vec<String> = models.iter().map(|model| (*model).to_owned()).collect();
    sqlx::query_scalar(
        "SELECT coalesce(min(coalesce(c.position, 0)), 0) FROM unnest($1::text[]) AS wanted(name)
         LEFT JOIN checkpoints AS c ON c.projection = wanted.name",
    )
    .bind(models)
    .fetch_one(pool)
    .await
}
