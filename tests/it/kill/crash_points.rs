//! Crashes at chosen points: everywhere between a request and the acknowledgement of its reply, one after the other.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use super::client;
use super::process::{Installation, PostgresKind, STEP_TIMEOUT, within};
use super::{number, print_line};
use crate::nats::server::NatsServer;

/// Longer than a lease and JetStream's acknowledgement wait together.
const TAKEOVER_TIMEOUT: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_at_any_point_loses_and_repeats_nothing() {
    let rounds: u32 = number("CRASH_POINT_ROUNDS").unwrap_or(1);
    // Several at a time: most of the test waits for leases to expire.
    for some in event_store::crash_points::POINTS.chunks(5) {
        let crashes = some.iter().map(async |point| {
            for round in 1..=rounds {
                crashes_at(point, round).await;
            }
        });
        futures::future::join_all(crashes).await;
    }
}

/// A process crashes when it reaches `point` for the `nth` time, with a message in flight.
async fn crashes_at(point: &'static str, nth: u32) {
    print_line(&format!("crashes at {point}, time {nth}"));
    let nats = NatsServer::start().await;
    let mut installation = Installation::new(PostgresKind::Server, None).await;
    installation.set("NATS_URL", nats.url());
    installation.set("SCRIPTED_WORDS_PER_SECOND", "0".to_owned());
    let http = client::http();
    // Register before the fault is injected.
    let (node, base, _) = installation.start(&http, STEP_TIMEOUT).await.unwrap();
    let account = json!({"email": "someone@mail.example", "password": "correct horse 7"});
    let registered = http.post(format!("{base}/api/auth/register")).json(&account).send().await.unwrap();
    let token = registered.json::<Value>().await.unwrap()["access_token"].as_str().unwrap().to_owned();
    assert!(node.stop().await.success());

    installation.set("INJECTED_FAULT", format!("crash-at:{point}:{nth}"));
    let (node, base, _) = installation.start(&http, STEP_TIMEOUT).await.unwrap();
    let exits = tokio::task::JoinSet::from_iter([node.exited_by_signal()]);
    let mut sent = 0;
    // The first message is enough where it crashes the first time.
    let sends = async {
        for n in 0..nth {
            sent = n + 1;
            let body = json!({"message": format!("message {n}")});
            let _ = http
                .post(format!("{base}/api/chat"))
                .bearer_auth(&token)
                .header("idempotency-key", format!("key-{n}"))
                .json(&body)
                .send()
                .await;
        }
        std::future::pending::<()>().await;
    };
    let died = tokio::select! {
        died = exits.join_all() => died,
        () = sends => unreachable!("an endless loop"),
        () = tokio::time::sleep(STEP_TIMEOUT) => panic!("the process did not reach {point} {nth} times"),
    };
    assert_eq!(died, [true], "the process exited normally at {point}");

    // The next process has the same data and no fault, and the client retries.
    installation.set("INJECTED_FAULT", String::new());
    let (node, base, _) = installation.start(&http, STEP_TIMEOUT).await.unwrap();
    let mut replies = Vec::new();
    for n in 0..sent {
        let body = json!({"message": format!("message {n}")});
        let answer = http
            .post(format!("{base}/api/chat"))
            .bearer_auth(&token)
            .header("idempotency-key", format!("key-{n}"))
            .json(&body)
            .send()
            .await
            .unwrap();
        assert!(answer.status().is_success(), "{point}: {}", answer.status());
        replies.push(answer.json::<Value>().await.unwrap()["reply_id"].as_str().unwrap().to_owned());
    }
    let mut connection = PgConnection::connect_with(&installation.options()).await.unwrap();
    let all = i64::from(sent);
    let ended = async || {
        count(&mut connection, "event_type IN ('reply_completed', 'reply_failed', 'reply_cancelled')").await
            == all
    };
    assert!(within(TAKEOVER_TIMEOUT, ended).await, "{point}: not all replies ended");
    assert_eq!(count(&mut connection, "event_type = 'message_sent'").await, all, "{point}");
    assert_eq!(count(&mut connection, "event_type = 'reply_completed'").await, all, "{point}");
    // Only a reply that had begun before the crash is begun again.
    let begun = count(&mut connection, "event_type = 'reply_begun'").await;
    assert!((all..=all + 1).contains(&begun), "{point}: {begun} attempts at {all} replies");
    for reply in &replies {
        let found: Vec<String> = sqlx::query_scalar(
            "SELECT event_type FROM events WHERE payload ->> 'reply_id' = $1 AND event_type = 'reply_completed'",
        )
        .bind(reply)
        .fetch_all(&mut connection)
        .await
        .unwrap();
        assert_eq!(found.len(), 1, "{point}");
    }

    // The stream has each public event once, in order.
    let head: i64 = sqlx::query_scalar("SELECT max(position) FROM events WHERE aggregate_type <> 'claim'")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert!(
        within(STEP_TIMEOUT, async || nats.last_position().await == Some(head)).await,
        "{point}: the stream is behind"
    );
    let positions: Vec<i64> =
        nats.messages().await.iter().map(crate::nats::server::Message::position).collect();
    assert!(positions.is_sorted_by(|one, two| one < two), "{point}: {positions:?}");
    let public = count(&mut connection, "aggregate_type <> 'claim'").await;
    assert_eq!(i64::try_from(positions.len()).unwrap(), public, "{point}");
    assert!(node.stop().await.success());
    let (equal, output) = installation.rebuild();
    assert!(equal, "{point}: {output}");
    connection.close().await.unwrap();
    installation.remove().await;
}

async fn count(connection: &mut PgConnection, which: &str) -> i64 {
    sqlx::query_scalar(&format!("SELECT count(*) FROM events WHERE {which}"))
        .fetch_one(connection)
        .await
        .unwrap()
}
