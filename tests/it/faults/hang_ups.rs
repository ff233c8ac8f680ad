//! Clients that hang up mid-request: no database session stays in a transaction, and each command is applied fully or not
//! at all.

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::stream;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use super::proxied::events_of;
use crate::support::app::TestApp;
use crate::support::normal_or_soak;

/// Number of requests in an ordinary run and under `scripts/soak`, and how many are in flight at once.
const REQUESTS: (usize, usize) = (1_200, 5_000);
const MAX_IN_FLIGHT: usize = 40;

#[sqlx::test(migrator = "MIGRATOR")]
#[expect(clippy::print_stderr, reason = "shown by the test runner where it is wanted")]
async fn hang_ups_leave_no_partial_command(db: PgPool) {
    let app = TestApp::with(&db, &[("REPLY_WAIT_SECONDS", "1")]).await;
    let seed: u64 = rand::random();
    eprintln!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let person = app.person().await;
    let mut sessions = Vec::new();
    for _ in 0..20 {
        sessions.push(app.session(&person).await);
    }
    let requests = normal_or_soak(REQUESTS.0, REQUESTS.1);
    // The fastest request on an idle machine. Under load each takes longer, so a fifth of the clients hang up however fast
    // the machine is.
    let mut quickest = Duration::MAX;
    for _ in 0..10 {
        let began = Instant::now();
        app.get("/api/history").by(&person).send().await.is(200);
        quickest = quickest.min(began.elapsed());
    }
    let timeouts: Vec<Duration> = (0..requests)
        .map(|_| {
            let longest = if random.random_ratio(1, 5) { quickest } else { Duration::from_millis(50) };
            random.random_range(Duration::ZERO..longest)
        })
        .collect();
    let call = |number: usize, request_id: String| {
        let session = &sessions[number / 5 % sessions.len()];
        let path = format!("/api/history/{session}");
        let call = match number % 5 {
            0 => app.post("/api/chat").json(&json!({"message": format!("Message {number}")})),
            1 => app.post("/api/chat/stream").json(&json!({"message": format!("Message {number}")})),
            2 => app
                .patch(&path)
                .json(&json!({"title": format!("Title {number}"), "archived": number.is_multiple_of(2)})),
            3 => app.get(&path),
            _ => app.get("/api/history"),
        };
        call.by(&person).key(&format!("key-{number}")).header("x-request-id", &request_id)
    };
    let answered = stream::iter(0..requests)
        .map(async |number| {
            let sent = call(number, format!("first-{number}")).send();
            tokio::time::timeout(timeouts[number], sent).await.is_ok()
        })
        .buffer_unordered(MAX_IN_FLIGHT)
        .filter(|answered| std::future::ready(*answered))
        .count()
        .await;
    assert!(answered < requests * 9 / 10, "too few hang-ups: {answered} of {requests} were answered");

    // Commands continue without their clients; those that have not begun never will. A session that is idle in a
    // transaction for a second has been abandoned.
    let at_rest = async || {
        let (busy, left): (i64, i64) = sqlx::query_as(
            "SELECT count(*), count(*) FILTER (WHERE state LIKE 'idle in transaction%'
                                                 AND state_change < clock_timestamp() - interval '1 second')
             FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'",
        )
        .fetch_one(&db)
        .await
        .unwrap();
        assert_eq!(left, 0, "sessions left in a transaction");
        busy == 0
    };
    app.wait_until("no session is active or in a transaction", at_rest).await;
    app.wait_for_projections().await;
    let mut found = [0; 3];
    for number in 0..requests {
        let events = events_of(&db, &format!("first-{number}")).await;
        let whole: &[&[&str]] = match number % 5 {
            0 | 1 => &[&["conversation_started", "message_sent", "reply_requested"]],
            2 => &[
                &["conversation_renamed"],
                &["conversation_renamed", "conversation_archived"],
                &["conversation_renamed", "conversation_unarchived"],
            ],
            _ => &[],
        };
        assert!(
            events.is_empty()
                || whole.contains(&events.iter().map(String::as_str).collect::<Vec<_>>().as_slice()),
            "request {number} appended {events:?}"
        );
        found[usize::from(events.is_empty())] += usize::from(number % 5 < 3);
        // The same key returns the outcome and does not repeat the command.
        if number % 5 == 2 && number % 3 == 0 {
            call(number, format!("again-{number}")).send().await.is(200);
            let again = events_of(&db, &format!("again-{number}")).await;
            assert!(events.is_empty() || again.is_empty(), "{events:?} and {again:?}");
            found[2] += usize::from(!again.is_empty());
        }
    }
    let [done, absent, later] = found;
    eprintln!(
        "{answered} answered, {done} commands applied, {absent} not applied, {later} applied when repeated"
    );
    assert!(done > 0 && absent > 0, "{done} commands were applied and {absent} were not");
    app.end().await;
}
