//! Latency from a request at one process to the worker in another, and back.

use serde_json::json;

use super::Scene;
use crate::http::Client;
use crate::load::Times;
use crate::machine::{Disk, Server};
use crate::report::{Goal, Report};
use crate::seed::Account;

/// Number of measured replies.
const REPLIES: usize = 200;

impl Scene {
    pub(super) async fn replies(&mut self, report: &mut Report) -> anyhow::Result<()> {
        let url = self.nats.url();
        let api = [("NATS_URL", url.as_str()), ("ROLES", "api,relay,project")];
        let api = Server::start(&self.database, &self.secrets, &api).await?;
        let worker = [("NATS_URL", url.as_str()), ("ROLES", "worker")];
        let worker = Server::start(&self.database, &self.secrets, &worker).await?;
        let account = Account::register(api.address, "replies@example.com").await?;
        let conversation = account.conversation(api.address).await?;
        let body = json!({"session_id": conversation, "message": "What was said so far?"}).to_string();
        let request = account.request("POST", "/api/chat/stream", &body);
        let mut client = Client::connect(api.address).await?;
        let mut disk = Disk::open(self.database.folder())?;
        let (mut firsts, mut syncs) = (Times::default(), Times::default());
        for _ in 0..REPLIES {
            if let Some(took) = client.stream(&request, "event: reply.delta", "event: reply.done").await? {
                firsts.push(took);
            }
            disk.sync(&mut syncs)?;
        }
        // Both times are from this machine's clock: the acceptance of the request, and the append of the worker's
        // `reply_begun`, which is the last step before the provider call.
        let pool = self.database.pool(crate::machine::NAME).await?;
        let begun: Vec<f64> = sqlx::query_scalar(
            "SELECT 1e3 * extract(epoch FROM b.recorded_at - (r.metadata ->> 'occurred_at')::timestamptz)::float8
             FROM events AS r JOIN events AS b ON b.payload ->> 'reply_id' = r.payload ->> 'reply_id'
             WHERE r.event_type = 'reply_requested' AND b.event_type = 'reply_begun'
                 AND r.payload ->> 'conversation_id' = $1 ORDER BY 1",
        )
        .bind(&conversation)
        .fetch_all(&pool)
        .await?;
        pool.close().await;
        let sync = syncs.p50();
        let p50 = begun.get(begun.len() / 2).copied().unwrap_or(f64::INFINITY);
        report.add(
            "request to provider call, p50",
            (p50, "ms"),
            Goal::AtMost(10.0 + 2.0 * sync),
            format!(
                "through JetStream to another process; first piece back at the client p50 {:.2} ms, p99 {:.2} ms",
                firsts.p50(),
                firsts.percentile(99)
            ),
            json!({"p50_ms": p50, "replies": begun.len(), "first_delta_p50_ms": firsts.p50(),
                "first_delta_p99_ms": firsts.percentile(99), "fsync_p50_ms": sync}),
        );
        worker.stop().await?;
        api.stop().await?;
        Ok(())
    }
}
