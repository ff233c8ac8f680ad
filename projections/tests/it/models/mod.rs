//! Each read model: these events, those rows.

mod branches;
mod conversations;
mod files;
mod messages;
mod paths;
mod pending_replies;
mod replies;
mod usage;
mod users;
mod widget_state;

use projections::models;

use crate::support::Log;

/// Runs every model over the whole log.
async fn project_all(log: &Log) {
    log.project(models::all()).await;
}

/// Empties `tables` and starts their projection again from the beginning of the log.
async fn start_over(log: &Log, projection: &str) {
    sqlx::query(&format!("DELETE FROM {projection}")).execute(&log.pool).await.unwrap();
    let done = sqlx::query("UPDATE checkpoints SET position = 0 WHERE projection = $1")
        .bind(projection)
        .execute(&log.pool)
        .await
        .unwrap();
    assert_eq!(done.rows_affected(), 1);
}
