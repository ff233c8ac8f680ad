//! A provider that always fails, under load: its circuit opens, probes continue, commands keep working, and replies
//! recover soon after the provider does.

use std::cell::OnceCell;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures::future::{join, join_all};
use serde_json::json;
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use super::{EndedReply, app_with_provider};
use crate::support::app::TestApp;
use crate::support::normal_or_soak;
use crate::support::openai_server::{Act, KEY, OpenAiServer};

/// Interval between probes of an open circuit.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

async fn is_open(app: &TestApp) -> bool {
    let health = app.get("/health").send().await.is(200).value();
    health["providers"][0]["circuit"] == "open"
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn failing_provider_is_probed_and_commands_continue(db: PgPool) {
    let server = OpenAiServer::start([Act::error(503, "overloaded")]).await;
    let settings = [
        ("CIRCUIT_PROBE_SECONDS", "1"),
        ("REPLY_WAIT_SECONDS", "0"),
        ("PROVIDER_BACKOFF_MILLISECONDS", "100"),
    ];
    let app = app_with_provider(&db, &server, "chat_completions", &settings).await;
    let people = [app.person().await, app.person().await, app.person().await, app.person().await];
    assert!(!is_open(&app).await);
    // Four users send five messages a second each until the circuit has been open for `down`.
    let down = Duration::from_secs(normal_or_soak(6, 60));
    let until = OnceCell::new();
    let send = async |person| {
        let mut ticks = tokio::time::interval(Duration::from_millis(200));
        let mut sent = 0;
        while until.get().is_none_or(|until| Instant::now() < *until) {
            ticks.tick().await;
            let answer = app.post("/api/chat").by(person).json(&json!({"message": "Hello"})).send().await;
            assert_eq!(answer.status, 202, "{}", answer.text);
            sent += 1;
        }
        sent
    };
    let opens = async {
        app.wait_until("the circuit is open", async || is_open(&app).await).await;
        until.set(Instant::now() + down).unwrap();
    };
    let (sent, ()) = join(join_all(people.iter().map(send)), opens).await;
    let sent: usize = sent.into_iter().sum();
    assert!(sent > 60, "{sent}");
    assert!(is_open(&app).await);
    // The breaker dates a request when it admits it, not when it reaches the provider.
    let asked = server.requests().len();
    let begun: Vec<(DateTime<Utc>, bool)> = sqlx::query_as(
        "SELECT (payload ->> 'at')::timestamptz, payload::jsonb #>> '{plan,parameters,circuit}' = 'open' IS TRUE
         FROM events WHERE event_type = 'reply_begun' ORDER BY 1",
    )
    .fetch_all(&db)
    .await
    .unwrap();
    // A reply without a provider call says so.
    let (opened, _) = *begun.iter().find(|(_, rejected)| *rejected).expect("some are rejected");
    let admitted: Vec<_> = begun.iter().filter(|(_, rejected)| !rejected).map(|(at, _)| *at).collect();
    assert!(asked <= admitted.len(), "{asked} requests, {} admitted", admitted.len());
    let requests = server.until(|log| log.requests.len() >= admitted.len()).await.requests;
    // Twenty failures in a row, plus the requests in flight; then only probes.
    let (before, probes): (Vec<_>, Vec<_>) = admitted.into_iter().partition(|at| *at < opened);
    assert!((20..=20 + 32).contains(&before.len()), "{} before the circuit opened", before.len());
    let seconds = usize::try_from(down.as_secs()).unwrap();
    let meanwhile = probes.iter().filter(|at| **at <= opened + down).count();
    assert!((2..=seconds + 1).contains(&meanwhile), "{meanwhile} probes");
    for pair in probes.windows(2) {
        let apart = (pair[1] - pair[0]).to_std().unwrap();
        assert!(apart >= PROBE_INTERVAL - Duration::from_millis(50), "two probes {apart:?} apart");
    }
    // The provider is not asked sooner: the circuit opens after the twentieth request at the earliest.
    for (number, probe) in (1..).zip(&requests[before.len()..]) {
        let after = probe.at - requests[19].at;
        assert!(
            after >= PROBE_INTERVAL * number,
            "probe {number} came {after:?} after the twentieth request"
        );
    }
    let failed: Vec<String> = sqlx::query_scalar(
        "SELECT DISTINCT payload ->> 'reason' FROM events WHERE event_type = 'reply_failed'",
    )
    .fetch_all(&db)
    .await
    .unwrap();
    assert_eq!(failed, ["provider_unavailable"]);

    // The provider recovers: the next probe closes the circuit, and waiting replies complete.
    server.set_script([Act::reply(&["fine"])]);
    let back = Instant::now();
    let ended = EndedReply::of(&app, &people[0], "Are you there?").await;
    assert_eq!(ended.status(), "completed", "{}", ended.0);
    assert!(back.elapsed() < Duration::from_secs(30) && !is_open(&app).await);
    for person in &people {
        let ended = EndedReply::of(&app, person, "Hello again").await;
        assert_eq!((ended.status(), ended.attempts().len()), ("completed", 1));
    }
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn open_circuit_is_skipped_and_recorded_in_provenance(db: PgPool) {
    let (openai, groq) = (
        OpenAiServer::start([Act::error(503, "x")]).await,
        OpenAiServer::start([Act::reply(&["fine"])]).await,
    );
    let url = groq.base_url();
    let settings = [
        ("CIRCUIT_FAILURES", "3"),
        ("CIRCUIT_PROBE_SECONDS", "300"),
        ("AI_SERVICES__GROQ_API_KEY", KEY),
        ("AI_SERVICES__GROQ_BASE_URL", url.as_str()),
    ];
    let app = app_with_provider(&db, &openai, "responses", &settings).await;
    let person = app.person().await;
    let skipped = json!([{"provider": "openai", "key": 1, "circuit": "open"}]);
    for round in 1..=3 {
        let ended = EndedReply::of(&app, &person, "Hello").await;
        assert_eq!(ended.asked(), [("openai", 1, Some("provider_unavailable")), ("groq", 1, None)]);
        // The third failure opens the circuit.
        let passed_over = ended.attempts()[1]["plan"]["parameters"].get("passed_over");
        assert_eq!(passed_over, (round == 3).then_some(&skipped));
    }
    assert!(is_open(&app).await);
    let ended = EndedReply::of(&app, &person, "Hello").await;
    assert_eq!(ended.asked(), [("groq", 1, None)]);
    assert_eq!(ended.attempts()[0]["plan"]["parameters"]["passed_over"], skipped);
    assert_eq!(openai.requests().len(), 3);
    app.end().await;
}
