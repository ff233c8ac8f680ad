//! What counting limits and quotas costs: messages with their replies, counted and not, in turns.

use std::time::Duration;

use serde_json::json;

use super::{COUNTED, Scene};
use crate::load::{Turns, median, throughput};
use crate::report::{Goal, Report};
use crate::seed::Account;

/// Clients, each another person with a conversation of its own.
const CLIENTS: usize = 16;
/// Rounds of each side, in turn; the median of each side counts.
const ROUNDS: usize = 4;
const ROUND: Duration = Duration::from_secs(5);
/// What of the uncounted throughput has to be left.
const LEFT: f64 = 0.95;

pub(super) async fn cost(scene: &Scene, report: &mut Report) -> anyhow::Result<()> {
    let (mut counted, mut free) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        // Each time in another order: what comes second finds a larger log.
        for side in [round % 2 == 0, round % 2 != 0] {
            let limits: &[(&str, &str)] = if side { &COUNTED } else { &[] };
            let figures = if side { &mut counted } else { &mut free };
            figures.push(messages(scene, limits, &format!("{round}{side}")).await?);
        }
    }
    let (with, without) = (median(&counted), median(&free));
    report.add(
        "messages, limits counted / not",
        (with / without, ""),
        Goal::AtLeast(LEFT),
        format!("{with:.0} messages with their replies a second, {without:.0} without limits"),
        json!({"counted_per_second": counted, "free_per_second": free}),
    );
    Ok(())
}

/// Messages with their replies a second.
async fn messages(scene: &Scene, limits: &[(&str, &str)], tag: &str) -> anyhow::Result<f64> {
    let variables: Vec<(&str, &str)> =
        limits.iter().copied().chain([("REGISTER_LIMIT_ADDRESS_PER_HOUR", "100000")]).collect();
    let server = scene.server(&variables).await?;
    let mut clients: Vec<Turns> = Vec::new();
    for number in 0..CLIENTS {
        let account = Account::register(server.address, &format!("limit{tag}-{number}@example.com")).await?;
        let conversation = account.conversation(server.address).await?;
        let body = json!({"session_id": conversation, "message": "Hello"}).to_string();
        clients.push(vec![account.request("POST", "/api/chat", &body)]);
    }
    let answers = throughput(server.address, &clients, ROUND).await?;
    server.stop().await?;
    Ok(answers)
}
