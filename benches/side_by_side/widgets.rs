//! Latency of an action on a quiz widget, against its one durable write.

use anyhow::Context as _;
use serde_json::{Value, json};

use super::Bench;
use super::http::Client;
use super::load::Times;
use super::machine::Disk;
use super::report::{Goal, Report};

/// Number of measured actions, and of warm-up actions.
const ACTIONS: usize = 300;
const WARM_UP: usize = 20;
/// Maximum time of an action above the fsync, in milliseconds.
const MAX_OVERHEAD_MS: f64 = 3.0;

/// Selects two choices alternately: every action is one event and returns the whole card.
pub(super) async fn actions(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let mut client = Client::connect(bench.server).await?;
    let started = client.call(&bench.account.request("POST", "/api/quizzes", "{}")).await?;
    let quiz: Value = serde_json::from_slice(started).context("failed to start a quiz")?;
    let text = |value: &Value| value.as_str().map(str::to_owned).context("the quiz lacks an id");
    let (id, thread) = (text(&quiz["quiz_id"])?, text(&quiz["session_id"])?);
    let question = text(&quiz["question"]["id"])?;
    let marks = [0, 1].map(|n| {
        let payload =
            json!({"questionId": question, "index": 1, "answer": quiz["question"]["options"][n]["value"]});
        let params =
            json!({"thread_id": thread, "item_id": id, "action": {"type": "mcq.select", "payload": payload}});
        let body = json!({"type": "threads.sync_custom_action", "params": params}).to_string();
        bench.account.request("POST", "/chatkit", &body)
    });
    let mut disk = Disk::open(bench.database.folder())?;
    let (mut times, mut syncs) = (Times::default(), Times::default());
    for n in 0..WARM_UP + ACTIONS {
        let sent = std::time::Instant::now();
        let answer = client.call(&marks[n % 2]).await?;
        let took = sent.elapsed();
        anyhow::ensure!(
            answer.windows(12).any(|part| part == b"updated_item"),
            "an action was not answered with its card"
        );
        if n >= WARM_UP {
            times.push(took);
            disk.sync(&mut syncs)?;
        }
    }
    let (action, sync) = (times.p50(), syncs.p50());
    report.add(
        "widget action p50",
        (action, "ms"),
        Goal::AtMost(MAX_OVERHEAD_MS + sync),
        format!("p99 {:.2} ms; {MAX_OVERHEAD_MS} ms + 1 fsync of {sync:.2} ms", times.percentile(99)),
        json!({"p50_ms": action, "p99_ms": times.percentile(99), "fsync_p50_ms": sync}),
    );
    Ok(())
}
