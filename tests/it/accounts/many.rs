//! S16: however many sign in at once, the process stays small and answers others.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;

use crate::kill::client::http;
use crate::kill::process::{Installation, PostgresKind, STEP_TIMEOUT};

const MANY: usize = 500;
/// How much memory they may take together.
const GROWTH: u64 = 120 * 1024 * 1024;
/// How long `/health` may take meanwhile, in 99 of 100 cases. Nothing runs beside this test (`.config/nextest.toml`).
const HEALTH: Duration = Duration::from_millis(200);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stderr, reason = "shown by the test runner where it is wanted")]
async fn five_hundred_sign_ins_at_once_are_served_in_turn_or_told_to_come_back() {
    let place = Installation::new(PostgresKind::Server, None).await;
    let client = http();
    let (node, base, _) = place.start(&client, STEP_TIMEOUT).await.unwrap();
    let account = json!({"email": "many@mail.example", "password": "correct horse 7"});
    let registered = client.post(format!("{base}/api/auth/register")).json(&account).send().await.unwrap();
    assert_eq!(registered.status(), 201);
    let before = node.resident();

    let mut sign_ins = JoinSet::new();
    for _ in 0..MANY {
        let (client, url, body) = (client.clone(), format!("{base}/api/auth/login"), account.clone());
        sign_ins.spawn(async move {
            let answer = client.post(url).json(&body).send().await.unwrap();
            let retry = answer.headers().contains_key("retry-after");
            (answer.status().as_u16(), retry)
        });
    }
    let (mut taken, mut busy, mut most) = (0, 0, 0);
    let mut looks = Vec::new();
    while taken + busy < MANY {
        let began = Instant::now();
        let health = client.get(format!("{base}/health")).send().await.unwrap();
        assert_eq!(health.status(), 200);
        looks.push(began.elapsed());
        most = most.max(node.resident().unwrap_or_default());
        while let Some(answered) = sign_ins.try_join_next() {
            match answered.unwrap() {
                (200, _) => taken += 1,
                (503, true) => busy += 1,
                other => panic!("{other:?}"),
            }
        }
    }
    looks.sort_unstable();
    let p99 = looks[(looks.len() * 99).div_ceil(100) - 1];
    let grown = before.map(|before| most.saturating_sub(before));
    eprintln!(
        "{taken} taken, {busy} told to come back, {} looks, p99 {p99:?}, grown by {grown:?}",
        looks.len()
    );
    // Two run, thirty-two wait.
    assert!(taken >= 30, "{taken}");
    assert!(p99 < HEALTH, "{p99:?}");
    if let Some(grown) = grown {
        assert!(grown < GROWTH, "{grown}");
    }
    // And then it goes on as if nothing had been.
    let answer = client.post(format!("{base}/api/auth/login")).json(&account).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(node.stop().await.success());
    place.remove().await;
}
