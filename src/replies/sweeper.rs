//! The sweeper: ends replies whose deadline has passed.
//!
//! Deadlines are compared by the database's clock, so that a node with a wrong one does no harm. Any number of
//! sweepers may run: the second one finds the reply ended.

use std::time::Duration;

use aggregates::conversation::{Conversation, ConversationCommand, FailureReason};
use aggregates::ids::ReplyId;
use event_store::{CommandBatch, ExecuteError, Executor, FastPool, Metadata};
use projections::pending_replies::query;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;

/// Interval between two sweeps.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// Most replies that one sweep ends.
const MAX_PER_SWEEP: i64 = 200;

/// Ends overdue replies.
pub struct Sweeper {
    /// Pool for the read models.
    pub pool: FastPool,
    /// Executor that ends the replies.
    pub executor: Executor,
    /// Clock for the time of the events.
    pub clock: Clock,
}

impl Sweeper {
    /// Sweeps until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(SWEEP_INTERVAL) => {}
                () = stop.cancelled() => return,
            }
            if let Err(error) = self.overdue().await {
                tracing::warn!(%error, "failed to query overdue replies");
            }
        }
    }

    /// Ends every reply whose deadline has passed. Returns their number.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn overdue(&self) -> Result<usize, sqlx::Error> {
        let (pending, oldest) = query::backlog(&self.pool).await?;
        metrics::gauge!("verbatim_pending_replies").set(pending as f64);
        metrics::gauge!("verbatim_pending_replies_oldest_seconds").set(oldest.max(0.0));
        let mut ended = 0;
        for row in query::overdue(&self.pool, MAX_PER_SWEEP).await? {
            let now = self.clock.now();
            let metadata = Metadata {
                surface: "sweeper".to_owned(),
                correlation_id: Some(row.message_id.to_string()),
                causation_id: Some(row.reply_id.to_string()),
                occurred_at: Some(now),
                app_version: crate::VERSION.to_owned(),
                ..Metadata::default()
            };
            let command = ConversationCommand::FailReply {
                reply_id: ReplyId::from(row.reply_id),
                attempt: None,
                reason: FailureReason::Deadline,
                text: None,
                at: now,
            };
            let batch =
                CommandBatch::new(row.owner, metadata).command::<Conversation>(row.conversation_id, command);
            match self.executor.run(batch).await {
                Ok(_) => ended += 1,
                // The reply has ended meanwhile; the read model will show it.
                Err(ExecuteError::Rejected(_)) => {}
                Err(error) => {
                    tracing::warn!(%error, reply.id = %row.reply_id, "failed to end overdue reply");
                }
            }
        }
        Ok(ended)
    }
}
