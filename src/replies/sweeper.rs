//! The sweeper: ends replies whose deadline has passed, and clears what has outlived its purpose beside the log.
//!
//! Deadlines are compared by the database's clock, so that a node with a wrong one does no harm. Any number of
//! sweepers may run: the second one finds the reply ended.

use std::time::Duration;

use aggregates::conversation::{Conversation, ConversationCommand, FailureReason};
use aggregates::ids::ReplyId;
use event_store::{CommandBatch, ExecuteError, Executor, FastPool, Metadata, purge_command_keys};
use projections::pending_replies::query;
use tokio_util::sync::CancellationToken;

use super::lease;
use crate::app::attempts;
use crate::auth::{Lockout, Logins, Resets, Tickets};
use crate::clock::Clock;
use crate::mail::Outbox;

/// How often overdue replies are looked for.
const EVERY: Duration = Duration::from_secs(1);
/// Every so many rounds, old keys and logins are cleared.
const CLEAR_EVERY: u32 = 600;
/// How many replies one round ends at most.
const LIMIT: i64 = 200;

/// The sweeper.
pub struct Sweeper {
    /// Reads what is owed.
    pub pool: FastPool,
    /// Ends it.
    pub executor: Executor,
    /// Its ended logins are cleared.
    pub logins: Logins,
    /// Those that nobody has used are cleared.
    pub tickets: Tickets,
    /// Failures that do not count any more are cleared.
    pub lockout: Lockout,
    /// Spent ones are cleared.
    pub resets: Resets,
    /// Mails that could not be sent are cleared.
    pub outbox: Outbox,
    /// Time of the events.
    pub clock: Clock,
}

impl Sweeper {
    /// Sweeps until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut round: u32 = 0;
        loop {
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = stop.cancelled() => return,
            }
            if let Err(error) = self.overdue().await {
                tracing::warn!(%error, "overdue replies cannot be read");
            }
            if round.is_multiple_of(CLEAR_EVERY) {
                self.clear().await;
            }
            round = round.wrapping_add(1);
        }
    }

    /// Ends every reply whose deadline has passed; returns how many.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn overdue(&self) -> Result<usize, sqlx::Error> {
        let (owed, oldest) = query::backlog(&self.pool).await?;
        metrics::gauge!("verbatim_pending_replies").set(owed as f64);
        metrics::gauge!("verbatim_pending_replies_oldest_seconds").set(oldest.max(0.0));
        let mut ended = 0;
        for row in query::overdue(&self.pool, LIMIT).await? {
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
                // It has ended meanwhile; the model will show it.
                Err(ExecuteError::Rejected(_)) => {}
                Err(error) => {
                    tracing::warn!(%error, reply.id = %row.reply_id, "an overdue reply was not ended");
                }
            }
        }
        Ok(ended)
    }

    async fn clear(&self) {
        match purge_command_keys(&self.pool).await {
            Ok(dropped) if dropped > 0 => tracing::info!(dropped, "old idempotency keys dropped"),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "old idempotency keys were not dropped"),
        }
        if let Err(error) = attempts::purge(&self.pool).await {
            tracing::warn!(%error, "old attempts were not dropped");
        }
        if let Err(error) = lease::purge(&self.pool).await {
            tracing::warn!(%error, "old leases were not dropped");
        }
        if let Err(error) = self.logins.purge_ended(Duration::from_secs(30 * 24 * 3600)).await {
            tracing::warn!(%error, "ended logins were not dropped");
        }
        if let Err(error) = self.tickets.purge().await {
            tracing::warn!(%error, "old tickets were not dropped");
        }
        if let Err(error) = self.lockout.purge().await {
            tracing::warn!(%error, "failed sign-ins that do not count any more were not dropped");
        }
        if let Err(error) = self.resets.purge().await {
            tracing::warn!(%error, "old password resets were not dropped");
        }
        if let Err(error) = self.outbox.purge().await {
            tracing::warn!(%error, "mails that could not be sent were not dropped");
        }
    }
}
