//! Cost of rate limits and quotas: throughput of messages with replies, with and without limits, alternating.

use std::time::Duration;

use serde_json::json;

use super::{Scene, UNREACHED_LIMITS};
use crate::load::{RequestCycle, median, throughput};
use crate::report::{Goal, Report};
use crate::seed::Account;

/// Number of clients, each with its own user and conversation.
const CLIENTS: usize = 16;
/// Number of rounds of each side, alternating; the median of each side counts.
const ROUNDS: usize = 4;
const ROUND_DURATION: Duration = Duration::from_secs(5);
/// Minimum share of the throughput without limits.
const MIN_RATIO: f64 = 0.95;

pub(super) async fn cost(scene: &Scene, report: &mut Report) -> anyhow::Result<()> {
    let (mut counted, mut free) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        // Alternate the order, because the second measurement has a larger log.
        for side in [round % 2 == 0, round % 2 != 0] {
            let limits: &[(&str, &str)] = if side { &UNREACHED_LIMITS } else { &[] };
            let figures = if side { &mut counted } else { &mut free };
            figures.push(messages(scene, limits, &format!("{round}{side}")).await?);
        }
    }
    let (with, without) = (median(&counted), median(&free));
    report.add(
        "messages, limits counted / not",
        (with / without, ""),
        Goal::AtLeast(MIN_RATIO),
        format!("{with:.0} messages with their replies a second, {without:.0} without limits"),
        json!({"counted_per_second": counted, "free_per_second": free}),
    );
    Ok(())
}

/// Returns messages with replies per second.
async fn messages(scene: &Scene, limits: &[(&str, &str)], tag: &str) -> anyhow::Result<f64> {
    let variables: Vec<(&str, &str)> =
        limits.iter().copied().chain([("REGISTER_LIMIT_ADDRESS_PER_HOUR", "100000")]).collect();
    let server = scene.server(&variables).await?;
    let mut clients: Vec<RequestCycle> = Vec::new();
    for number in 0..CLIENTS {
        let account = Account::register(server.address, &format!("limit{tag}-{number}@example.com")).await?;
        let conversation = account.conversation(server.address).await?;
        let body = json!({"session_id": conversation, "message": "Hello"}).to_string();
        clients.push(vec![account.request("POST", "/api/chat", &body)]);
    }
    let answers = throughput(server.address, &clients, ROUND_DURATION).await?;
    server.stop().await?;
    Ok(answers)
}
