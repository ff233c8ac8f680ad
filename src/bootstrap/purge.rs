//! Deletes rows outside the log that have outlived their purpose. Any number of processes may run the job.

use std::time::Duration;

use event_store::{FastPool, purge_command_keys};
use tokio_util::sync::CancellationToken;

use crate::app::rate_limits;
use crate::auth::{Lockout, Logins, PasswordResets, Tickets};
use crate::mail::Outbox;
use crate::replies::lease;

/// Wait before the first purge, so that it does not slow the start.
const START_DELAY: Duration = Duration::from_secs(1);
/// Time between two purges.
const PURGE_INTERVAL: Duration = Duration::from_secs(600);
/// How long ended logins stay listed.
const ENDED_LOGIN_RETENTION: Duration = Duration::from_secs(30 * 24 * 3600);

/// Deletes expired rows from time to time.
pub(super) struct PurgeJob {
    /// Idempotency keys, attempt counts and leases.
    pub(super) pool: FastPool,
    /// Ended logins.
    pub(super) logins: Logins,
    /// Expired tickets.
    pub(super) tickets: Tickets,
    /// Failed sign-ins that no longer count.
    pub(super) lockout: Lockout,
    /// Spent and expired reset tokens.
    pub(super) resets: PasswordResets,
    /// Mails that could not be sent.
    pub(super) outbox: Outbox,
}

impl PurgeJob {
    /// Purges every [`PURGE_INTERVAL`] until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut wait = START_DELAY;
        loop {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = stop.cancelled() => return,
            }
            self.purge().await;
            wait = PURGE_INTERVAL;
        }
    }

    async fn purge(&self) {
        let failed = |what: &'static str, error: &sqlx::Error| {
            tracing::warn!(%error, rows = what, "failed to purge expired rows");
        };
        match purge_command_keys(&self.pool).await {
            Ok(purged) if purged > 0 => tracing::info!(purged, "purged expired idempotency keys"),
            Ok(_) => {}
            Err(error) => failed("idempotency keys", &error),
        }
        let purges = [
            ("attempt counts", rate_limits::purge(&self.pool).await.err()),
            ("leases", lease::purge(&self.pool).await.err()),
            ("ended logins", self.logins.purge_ended(ENDED_LOGIN_RETENTION).await.err()),
            ("tickets", self.tickets.purge().await.err()),
            ("failed sign-ins", self.lockout.purge().await.err()),
            ("password resets", self.resets.purge().await.err()),
            ("mails", self.outbox.purge().await.err()),
        ];
        for (rows, error) in purges {
            if let Some(error) = error {
                failed(rows, &error);
            }
        }
    }
}
