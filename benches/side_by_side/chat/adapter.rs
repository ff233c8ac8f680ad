//! Time to the first delta through the program and a real adapter, against a direct call of the same provider.

use std::time::Duration;

use serde_json::json;

use super::Scene;
use super::provider::{Provider, Script};
use crate::http::{Client, request};
use crate::load::Times;
use crate::machine::Disk;
use crate::report::{Goal, Report};
use crate::seed::Account;

/// Number of replies of each side, alternating.
const REPLIES: usize = 200;
/// Maximum time that the program may add above its durable writes, in milliseconds.
const MAX_OVERHEAD_MS: f64 = 10.0;

pub(super) async fn first_token(scene: &Scene, report: &mut Report) -> anyhow::Result<()> {
    let provider = Provider::start(Script { pieces: 20, pause: Duration::ZERO }).await?;
    let variables = provider.variables();
    let variables: Vec<(&str, &str)> =
        variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let server = scene.server(&variables).await?;
    let account = Account::register(server.address, "adapter@example.com").await?;
    let conversation = account.conversation(server.address).await?;
    let body = json!({"session_id": conversation, "message": "What was said so far?"}).to_string();
    let through = account.request("POST", "/api/chat/stream", &body);
    let asked = json!({"model": "bench-1", "stream": true, "input": "What was said so far?"}).to_string();
    let direct = request("POST", "/v1/responses", "sk-bench-0123456789", &asked);
    let mut ours = Client::connect(server.address).await?;
    let mut theirs = Client::connect(provider.address).await?;
    let mut disk = Disk::open(scene.database.folder())?;
    let (mut through_us, mut straight, mut syncs) = (Times::default(), Times::default(), Times::default());
    for _ in 0..REPLIES {
        if let Some(took) = ours.stream(&through, "event: reply.delta", "event: reply.done").await? {
            through_us.push(took);
        }
        if let Some(took) = theirs.stream(&direct, "output_text.delta", "response.completed").await? {
            straight.push(took);
        }
        disk.sync(&mut syncs)?;
    }
    server.stop().await?;
    let (added, sync) = (through_us.p50() - straight.p50(), syncs.p50());
    report.add(
        "first token over a direct call, p50",
        (added, "ms"),
        Goal::AtMost(MAX_OVERHEAD_MS + 3.0 * sync),
        format!(
            "{:.2} ms through a real adapter, {:.2} ms directly; p99 {:.2} ms; {MAX_OVERHEAD_MS} ms + 3 fsyncs of {sync:.2} ms",
            through_us.p50(),
            straight.p50(),
            through_us.percentile(99)
        ),
        json!({"through_p50_ms": through_us.p50(), "direct_p50_ms": straight.p50(),
            "through_p99_ms": through_us.percentile(99), "fsync_p50_ms": sync, "replies": REPLIES}),
    );
    Ok(())
}
