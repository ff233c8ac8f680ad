//! Tests that hundreds of concurrent sign-ins neither exhaust memory nor block other requests.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;

use crate::kill::client::http;
use crate::kill::process::{Installation, PostgresKind, STEP_TIMEOUT};

const CONCURRENT_SIGN_INS: usize = 500;
/// How much resident memory the process may gain meanwhile.
const MAX_MEMORY_GROWTH: u64 = 120 * 1024 * 1024;
/// Limit for the 99th percentile of `/health` meanwhile. No other test runs at the same time (`.config/nextest.toml`).
const MAX_HEALTH_P99: Duration = Duration::from_millis(200);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stderr, reason = "shown by the test runner where it is wanted")]
async fn five_hundred_concurrent_sign_ins_are_served_or_told_to_retry() {
    let place = Installation::new(PostgresKind::Server, None).await;
    let client = http();
    let (node, base, _) = place.start(&client, STEP_TIMEOUT).await.unwrap();
    let account = json!({"email": "many@mail.example", "password": "correct horse 7"});
    let registered = client.post(format!("{base}/api/auth/register")).json(&account).send().await.unwrap();
    assert_eq!(registered.status(), 201);
    let before = node.resident();

    let mut sign_ins = JoinSet::new();
    for _ in 0..CONCURRENT_SIGN_INS {
        let (client, url, body) = (client.clone(), format!("{base}/api/auth/login"), account.clone());
        sign_ins.spawn(async move {
            let answer = client.post(url).json(&body).send().await.unwrap();
            let retry = answer.headers().contains_key("retry-after");
            (answer.status().as_u16(), retry)
        });
    }
    let (mut accepted, mut busy, mut peak) = (0, 0, 0);
    let mut latencies = Vec::new();
    while accepted + busy < CONCURRENT_SIGN_INS {
        let began = Instant::now();
        let health = client.get(format!("{base}/health")).send().await.unwrap();
        assert_eq!(health.status(), 200);
        latencies.push(began.elapsed());
        peak = peak.max(node.resident().unwrap_or_default());
        while let Some(answered) = sign_ins.try_join_next() {
            match answered.unwrap() {
                (200, _) => accepted += 1,
                (503, true) => busy += 1,
                other => panic!("{other:?}"),
            }
        }
    }
    latencies.sort_unstable();
    let p99 = latencies[(latencies.len() * 99).div_ceil(100) - 1];
    let grown = before.map(|before| peak.saturating_sub(before));
    eprintln!(
        "{accepted} signed in, {busy} rejected as busy, {} health checks, p99 {p99:?}, memory grew by {grown:?}",
        latencies.len()
    );
    // Two are hashed at a time and 32 wait.
    assert!(accepted >= 30, "{accepted}");
    assert!(p99 < MAX_HEALTH_P99, "{p99:?}");
    if let Some(grown) = grown {
        assert!(grown < MAX_MEMORY_GROWTH, "{grown}");
    }
    // Afterwards the service works normally.
    let answer = client.post(format!("{base}/api/auth/login")).json(&account).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(node.stop().await.success());
    place.remove().await;
}
