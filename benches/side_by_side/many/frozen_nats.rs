//! Latency of a command without NATS, with NATS, and while NATS is frozen.

use serde_json::json;

use super::Scene;
use crate::load::{RequestCycle, Times, latencies, median};
use crate::machine::Server;
use crate::report::{Goal, Report};
use crate::seed::Account;

/// Number of commands in each round.
const COMMANDS: usize = 300;
/// Number of rounds of each kind, alternating.
const ROUNDS: usize = 3;

impl Scene {
    pub(super) async fn command_latency_with_frozen_nats(
        &mut self,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let url = self.nats.url();
        let (mut absent, mut present, mut frozen) = (Vec::new(), Vec::new(), Vec::new());
        let mut account = None;
        // Alternate, so that a growing log affects all three kinds alike.
        for _ in 0..ROUNDS {
            let server = Server::start(&self.database, &self.secrets, &[]).await?;
            if account.is_none() {
                account = Some(Commands::prepare(&server).await?);
            }
            let Some(commands) = &account else { continue };
            absent.push(commands.latency(&server).await?);
            server.stop().await?;
            let server = Server::start(&self.database, &self.secrets, &[("NATS_URL", &url)]).await?;
            present.push(commands.latency(&server).await?);
            self.nats.freeze()?;
            let times = commands.latency(&server).await;
            self.nats.thaw()?;
            frozen.push(times?);
            server.stop().await?;
        }
        let p50 = |times: &[Times]| median(&times.iter().map(Times::p50).collect::<Vec<_>>());
        let without = p50(&absent);
        for (name, times) in [("command p50, NATS present", &present), ("command p50, NATS frozen", &frozen)]
        {
            let with = p50(times);
            report.add(
                name,
                (with / without, "x"),
                Goal::AtMost(1.2),
                format!("{with:.2} ms, {without:.2} ms without NATS"),
                json!({"p50_ms": with, "without_p50_ms": without}),
            );
        }
        Ok(())
    }
}

/// Commands on one conversation.
struct Commands(RequestCycle);

impl Commands {
    async fn prepare(server: &Server) -> anyhow::Result<Self> {
        let account = Account::register(server.address, "frozen@example.com").await?;
        let conversation = account.conversation(server.address).await?;
        let path = format!("/api/history/{conversation}");
        let pin = |pinned| account.request("PATCH", &path, &format!(r#"{{"pinned":{pinned}}}"#));
        Ok(Self(vec![pin(true), pin(false)]))
    }

    async fn latency(&self, server: &Server) -> anyhow::Result<Times> {
        Ok(latencies(server.address, std::slice::from_ref(&self.0), COMMANDS).await?.swap_remove(0))
    }
}
