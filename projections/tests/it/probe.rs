//! A projection made for the tests: it notes every event it is given, and can be made to wait or to fail.

use std::sync::Arc;

use event_store::RecordedEvent;
use projections::runner::{Applied, Projection};
use sqlx::{PgConnection, PgPool};

/// The advisory lock that a waiting probe asks for after it has written its rows.
pub(crate) const GATE: i64 = 4711;

/// Notes events in the table `probe`, one row each time that it is given one.
#[derive(Debug, Default)]
pub(crate) struct Probe {
    /// Wait for [`GATE`] at the end of each batch, its rows written and not committed.
    pub(crate) gated: bool,
    /// Fail as an event that does not fit does, at this position.
    pub(crate) poison: Option<i64>,
}

impl Probe {
    /// Makes its table.
    pub(crate) async fn prepare(pool: &PgPool) {
        sqlx::query("CREATE TABLE probe (position bigint NOT NULL)").execute(pool).await.unwrap();
    }

    /// What it has noted, in order.
    pub(crate) async fn noted(pool: &PgPool) -> Vec<i64> {
        sqlx::query_scalar("SELECT position FROM probe ORDER BY position").fetch_all(pool).await.unwrap()
    }

    /// Where its checkpoint stands.
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
    ) -> Applied<'a> {
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
