//! Deaths at chosen moments: everywhere between a request and the acknowledgement of its reply, one after the other.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use super::client;
use super::process::{Form, Place, SOON, within};
use super::{number, tell};
use crate::nats::server::NatsServer;

/// Longer than a lease and JetStream's patience together.
const TAKEN_UP: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_death_at_any_place_loses_nothing_and_doubles_nothing() {
    let rounds: u32 = number("PLACE_ROUNDS").unwrap_or(1);
    // Several at a time: most of it is waiting for leases of the dead.
    for some in event_store::crash_points::POINTS.chunks(5) {
        let dying = some.iter().map(async |place| {
            for round in 1..=rounds {
                dies_at(place, round).await;
            }
        });
        futures::future::join_all(dying).await;
    }
}

/// One process dies when it comes past `place` for the `nth` time, with a message on its way.
async fn dies_at(place: &'static str, nth: u32) {
    tell(&format!("dies at {place}, time {nth}"));
    let nats = NatsServer::start().await;
    let mut home = Place::new(Form::Server, None).await;
    home.set("NATS_URL", nats.url());
    home.set("SCRIPTED_WORDS_PER_SECOND", "0".to_owned());
    let http = client::http();
    // An account and a conversation, before anything is planted.
    let (node, base, _) = home.start(&http, SOON).await.unwrap();
    let account = json!({"email": "someone@mail.example", "password": "correct horse 7"});
    let registered = http.post(format!("{base}/api/auth/register")).json(&account).send().await.unwrap();
    let token = registered.json::<Value>().await.unwrap()["access_token"].as_str().unwrap().to_owned();
    assert!(node.stop().await.success());

    home.set("INJECTED_FAULT", format!("crash-at:{place}:{nth}"));
    let (node, base, _) = home.start(&http, SOON).await.unwrap();
    let dies = tokio::task::JoinSet::from_iter([node.died()]);
    let mut sent = 0;
    // The first is enough where it dies at the first time.
    let said = async {
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
        died = dies.join_all() => died,
        () = said => unreachable!("it is sent for ever"),
        () = tokio::time::sleep(SOON) => panic!("it did not come past {place} {nth} times"),
    };
    assert_eq!(died, [true], "it ended in order at {place}");

    // What comes after it has the same data and nothing planted, and the client says again what it does not know.
    home.set("INJECTED_FAULT", String::new());
    let (node, base, _) = home.start(&http, SOON).await.unwrap();
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
        assert!(answer.status().is_success(), "{place}: {}", answer.status());
        replies.push(answer.json::<Value>().await.unwrap()["reply_id"].as_str().unwrap().to_owned());
    }
    let mut connection = PgConnection::connect_with(&home.options()).await.unwrap();
    let all = i64::from(sent);
    let ended = async || {
        count(&mut connection, "event_type IN ('reply_completed', 'reply_failed', 'reply_cancelled')").await
            == all
    };
    assert!(within(TAKEN_UP, ended).await, "{place}: replies are left");
    assert_eq!(count(&mut connection, "event_type = 'message_sent'").await, all, "{place}");
    assert_eq!(count(&mut connection, "event_type = 'reply_completed'").await, all, "{place}");
    // Only what had begun before the death is begun again.
    let begun = count(&mut connection, "event_type = 'reply_begun'").await;
    assert!((all..=all + 1).contains(&begun), "{place}: {begun} attempts at {all} replies");
    for reply in &replies {
        let found: Vec<String> = sqlx::query_scalar(
            "SELECT event_type FROM events WHERE payload ->> 'reply_id' = $1 AND event_type = 'reply_completed'",
        )
        .bind(reply)
        .fetch_all(&mut connection)
        .await
        .unwrap();
        assert_eq!(found.len(), 1, "{place}");
    }

    // The stream has each public event once, in order.
    let head: i64 = sqlx::query_scalar("SELECT max(position) FROM events WHERE aggregate_type <> 'claim'")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert!(
        within(SOON, async || nats.last_position().await == Some(head)).await,
        "{place}: the stream is behind"
    );
    let positions: Vec<i64> =
        nats.messages().await.iter().map(crate::nats::server::Message::position).collect();
    assert!(positions.is_sorted_by(|one, two| one < two), "{place}: {positions:?}");
    let public = count(&mut connection, "aggregate_type <> 'claim'").await;
    assert_eq!(i64::try_from(positions.len()).unwrap(), public, "{place}");
    assert!(node.stop().await.success());
    let (equal, said) = home.rebuild();
    assert!(equal, "{place}: {said}");
    connection.close().await.unwrap();
    home.remove().await;
}

async fn count(connection: &mut PgConnection, which: &str) -> i64 {
    sqlx::query_scalar(&format!("SELECT count(*) FROM events WHERE {which}"))
        .fetch_one(connection)
        .await
        .unwrap()
}
