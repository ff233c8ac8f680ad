//! What is asked of all read models alike.

use sqlx::PgExecutor;

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
