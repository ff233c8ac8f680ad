//! Many concurrent streams from one process: every delta arrives once and in order, and memory stays bounded.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::Scene;
use super::provider::{Provider, Script, piece};
use crate::http::Client;
use crate::report::{Goal, Report};
use crate::seed::Account;

/// Number of concurrent streams.
const STREAMS: usize = 200;
/// Number of streams per user; more would be rejected.
const STREAMS_PER_USER: usize = 20;
/// The provider's answer in each stream.
const SCRIPT: Script = Script { pieces: 60, pause: Duration::from_millis(50) };
/// Maximum memory of the process in MiB.
const MAX_MEMORY_MIB: f64 = 150.0;

pub(super) async fn at_once(scene: &Scene, report: &mut Report) -> anyhow::Result<()> {
    let provider = Provider::start(SCRIPT).await?;
    let variables = provider.variables();
    let mut variables: Vec<(&str, &str)> =
        variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let concurrency = STREAMS.to_string();
    variables.push(("REPLY_CONCURRENCY", &concurrency));
    let server = scene.server(&variables).await?;
    let mut people = Vec::new();
    for number in 0..STREAMS.div_ceil(STREAMS_PER_USER) {
        people.push(Account::register(server.address, &format!("stream{number}@example.com")).await?);
    }
    let mut running = JoinSet::new();
    for number in 0..STREAMS {
        let (account, address) = (people[number / STREAMS_PER_USER].clone(), server.address);
        running.spawn(async move {
            let body = json!({"message": "Tell me all of it."}).to_string();
            let mut client = Client::connect(address).await?;
            client.events(&account.request("POST", "/api/chat/stream", &body)).await
        });
    }
    let expected: String = (0..SCRIPT.pieces).map(piece).collect();
    let (mut lost, mut deltas) = (0_u32, 0_usize);
    while let Some(events) = running.join_next().await {
        let (text, count) = text(&events??)?;
        deltas += count;
        lost += u32::from(text != expected);
    }
    let memory = server.memory()?;
    server.stop().await?;
    report.add(
        "200 streams at once, lost or reordered",
        (lost.into(), ""),
        Goal::AtMost(0.0),
        format!("{deltas} deltas of {} pieces", STREAMS * SCRIPT.pieces),
        json!({"streams": STREAMS, "pieces_each": SCRIPT.pieces, "deltas": deltas}),
    );
    report.add(
        "200 streams at once, memory",
        (memory.peak, "MiB"),
        Goal::AtMost(MAX_MEMORY_MIB),
        format!("the most that was resident; {:.1} MiB at the end", memory.resident),
        json!({"peak_mib": memory.peak, "resident_mib": memory.resident, "private_mib": memory.private}),
    );
    Ok(())
}

/// Returns the text and the number of a stream's deltas; fails if their offsets do not match.
fn text(events: &str) -> anyhow::Result<(String, usize)> {
    let (mut text, mut count) = (String::new(), 0);
    for event in events.split("event: reply.delta").skip(1) {
        let data = event
            .split("data: ")
            .nth(1)
            .and_then(|data| data.lines().next())
            .context("a delta without data")?;
        let delta: Value = serde_json::from_str(data)?;
        let piece = delta["text"].as_str().context("a delta without text")?;
        text.push_str(piece);
        count += 1;
        anyhow::ensure!(
            delta["offset"] == text.len(),
            "a delta out of order: {delta} after {} bytes",
            text.len()
        );
    }
    Ok((text, count))
}
