//! A provider that fails all the time, under load: its circuit opens, it is probed now and then, commands go on, and everything
//! is as before soon after it is back.

use std::cell::OnceCell;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures::future::{join, join_all};
use serde_json::json;
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use super::{Shown, app_at};
use crate::support::app::TestApp;
use crate::support::normal_or_soak;
use crate::support::openai_server::{Act, KEY, OpenAiServer};

/// How often an open circuit is probed here.
const PROBE: Duration = Duration::from_secs(1);

async fn is_open(app: &TestApp) -> bool {
    let health = app.get("/health").send().await.is(200).value();
    health["providers"][0]["circuit"] == "open"
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_provider_that_fails_all_the_time_is_probed_and_commands_go_on(db: PgPool) {
    let server = OpenAiServer::start([Act::error(503, "overloaded")]).await;
    let settings = [
        ("CIRCUIT_PROBE_SECONDS", "1"),
        ("REPLY_WAIT_SECONDS", "0"),
        ("PROVIDER_BACKOFF_MILLISECONDS", "100"),
    ];
    let app = app_at(&db, &server, "chat_completions", &settings).await;
    let people = [app.person().await, app.person().await, app.person().await, app.person().await];
    assert!(!is_open(&app).await);
    // Four people send five messages a second each, whatever happens, until it has been open for so long.
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
    // What is let through is dated at once; how long it is on its way to the provider is not the breaker's business.
    let asked = server.requests().len();
    let begun: Vec<(DateTime<Utc>, bool)> = sqlx::query_as(
        "SELECT (payload ->> 'at')::timestamptz, payload::jsonb #>> '{plan,parameters,circuit}' = 'open' IS TRUE
         FROM events WHERE event_type = 'reply_begun' ORDER BY 1",
    )
    .fetch_all(&db)
    .await
    .unwrap();
    // A reply that was not asked for anywhere says so.
    let (shut, _) = *begun.iter().find(|(_, refused)| *refused).expect("some are refused");
    let admitted: Vec<_> = begun.iter().filter(|(_, refused)| !refused).map(|(at, _)| *at).collect();
    assert!(asked <= admitted.len(), "{asked} requests, {} of them let through", admitted.len());
    let requests = server.until(|log| log.requests.len() >= admitted.len()).await.requests;
    // Twenty in a row, and those that were on their way; then probes only.
    let (before, probes): (Vec<_>, Vec<_>) = admitted.into_iter().partition(|at| *at < shut);
    assert!((20..=20 + 32).contains(&before.len()), "{} before it was open", before.len());
    let seconds = usize::try_from(down.as_secs()).unwrap();
    let meanwhile = probes.iter().filter(|at| **at <= shut + down).count();
    assert!((2..=seconds + 1).contains(&meanwhile), "{meanwhile} probes");
    for pair in probes.windows(2) {
        let apart = (pair[1] - pair[0]).to_std().unwrap();
        assert!(apart >= PROBE - Duration::from_millis(50), "two probes {apart:?} apart");
    }
    // Nor is the provider asked sooner: it is open after the twentieth request at the earliest.
    for (number, probe) in (1..).zip(&requests[before.len()..]) {
        let after = probe.at - requests[19].at;
        assert!(after >= PROBE * number, "probe {number} came {after:?} after the twentieth request");
    }
    let failed: Vec<String> = sqlx::query_scalar(
        "SELECT DISTINCT payload ->> 'reason' FROM events WHERE event_type = 'reply_failed'",
    )
    .fetch_all(&db)
    .await
    .unwrap();
    assert_eq!(failed, ["provider_unavailable"]);

    // It is back: the next probe closes the circuit, and what waits is answered.
    server.set_script([Act::reply(&["fine"])]);
    let back = Instant::now();
    let shown = Shown::of(&app, &people[0], "Are you there?").await;
    assert_eq!(shown.status(), "completed", "{}", shown.0);
    assert!(back.elapsed() < Duration::from_secs(30) && !is_open(&app).await);
    for person in &people {
        let shown = Shown::of(&app, person, "Hello again").await;
        assert_eq!((shown.status(), shown.attempts().len()), ("completed", 1));
    }
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn while_one_circuit_is_open_the_next_provider_is_asked_first_and_the_provenance_says_why(db: PgPool) {
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
    let app = app_at(&db, &openai, "responses", &settings).await;
    let person = app.person().await;
    let passed = json!([{"provider": "openai", "key": 1, "circuit": "open"}]);
    for round in 1..=3 {
        let shown = Shown::of(&app, &person, "Hello").await;
        assert_eq!(shown.asked(), [("openai", 1, Some("provider_unavailable")), ("groq", 1, None)]);
        // The third failure opens it.
        let passed_over = shown.attempts()[1]["plan"]["parameters"].get("passed_over");
        assert_eq!(passed_over, (round == 3).then_some(&passed));
    }
    assert!(is_open(&app).await);
    let shown = Shown::of(&app, &person, "Hello").await;
    assert_eq!(shown.asked(), [("groq", 1, None)]);
    assert_eq!(shown.attempts()[0]["plan"]["parameters"]["passed_over"], passed);
    assert_eq!(openai.requests().len(), 3);
    app.end().await;
}
