//! Tests of each read model: the rows that given events yield.

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

use projections::registry;

use crate::support::Log;

/// Runs every projection over the whole log.
async fn project_all(log: &Log) {
    log.project(registry::all()).await;
}

/// Empties a projection's table and resets its checkpoint to the beginning of the log.
async fn reset_projection(log: &Log, projection: &str) {
    sqlx::query(&format!("DELETE FROM {projection}")).execute(&log.pool).await.unwrap();
    let updated = sqlx::query("UPDATE checkpoints SET position = 0 WHERE projection = $1")
        .bind(projection)
        .execute(&log.pool)
        .await
        .unwrap();
    assert_eq!(updated.rows_affected(), 1);
}
