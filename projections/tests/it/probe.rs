//! A test projection that records every event and can wait or fail on demand.

use std::sync::Arc;

use event_store::RecordedEvent;
use projections::runner::{ApplyFuture, Projection};
use sqlx::{PgConnection, PgPool};

/// Advisory lock that a gated probe takes after it has written its rows.
pub(crate) const GATE: i64 = 4711;

/// Inserts one row into the table `probe` for every applied event.
#[derive(Debug, Default)]
pub(crate) struct Probe {
    /// Waits for [`GATE`] at the end of each batch, before the commit.
    pub(crate) gated: bool,
    /// Position at which `apply` fails like on an event that does not fit.
    pub(crate) poison: Option<i64>,
}

impl Probe {
    /// Creates the table.
    pub(crate) async fn prepare(pool: &PgPool) {
        sqlx::query("CREATE TABLE probe (position bigint NOT NULL)").execute(pool).await.unwrap();
    }

    /// Returns the recorded positions in order.
    pub(crate) async fn recorded(pool: &PgPool) -> Vec<i64> {
        sqlx::query_scalar("SELECT position FROM probe ORDER BY position").fetch_all(pool).await.unwrap()
    }

    /// Returns the position of its checkpoint.
    pub(crate) async fn checkpoint(pool: &PgPool) -> i64 {
        sqlx::query_scalar("SELECT position FROM checkpoints WHERE projection = 'probe'")
            .fetch_one(pool)
            .await
            .unwrap()
    }
}

impl Projection for Probe {
    fn name(&self) -> &'static str {
        "probe"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["probe"]
    }

    fn apply<'a>(
        &'a self,
        connection: &'a mut PgConnection,
        events: &'a [Arc<RecordedEvent>],
    ) -> ApplyFuture<'a> {
        Box::pin(async move {
            let positions: Vec<i64> = events.iter().map(|event| event.position).collect();
            sqlx::query("INSERT INTO probe SELECT * FROM unnest($1::bigint[])")
                .bind(&positions)
                .execute(&mut *connection)
                .await?;
            if self.poison.is_some_and(|poison| positions.contains(&poison)) {
                // Division by zero, SQLSTATE 22012.
                sqlx::query("SELECT 1 / (SELECT 0)").execute(&mut *connection).await?;
            }
            if self.gated {
                sqlx::query("SELECT pg_advisory_xact_lock_shared($1)").bind(GATE).execute(connection).await?;
            }
            Ok(())
        })
    }
}
