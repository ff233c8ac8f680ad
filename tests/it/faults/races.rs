//! Many concurrent requests at two nodes: one key is one command, one address is one account, and every request that is
//! not executed is rejected with its reason.

use std::collections::{BTreeMap, BTreeSet};

use event_store::purge_command_keys;
use futures::future::join_all;
use serde_json::{Value, json};
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use super::proxied::{events, events_of};
use crate::support::app::{PASSWORD, Person, TestApp};
use crate::support::client::Answer;
use crate::support::normal_or_soak;

/// Number of keys in an ordinary run and under `scripts/soak`, and the number of requests with each.
const KEYS: (usize, usize) = (20, 200);
const REQUESTS_PER_KEY: usize = 100;

async fn two_nodes(db: &PgPool) -> [TestApp; 2] {
    let now = [("REPLY_WAIT_SECONDS", "0")];
    [TestApp::with(db, &now).await, TestApp::with(db, &now).await]
}

async fn end(nodes: [TestApp; 2]) {
    for node in nodes {
        node.end().await;
    }
}

async fn message(app: &TestApp, person: &Person, key: &str, text: &str) -> Answer {
    app.post("/api/chat").by(person).key(key).json(&json!({"message": text})).send().await
}

async fn count(db: &PgPool, statement: &str) -> i64 {
    sqlx::query_scalar(statement).fetch_one(db).await.unwrap()
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn hundred_requests_with_one_key_are_one_command(db: PgPool) {
    let nodes = two_nodes(&db).await;
    let person = nodes[0].person().await;
    let session = message(&nodes[0], &person, "first", "Hello").await.field("session_id");
    let mut rejected = 0;
    let keys = normal_or_soak(KEYS.0, KEYS.1);
    for number in 0..keys {
        let (key, change) = (format!("key-{number}"), number % 2 == 1);
        let sent = (0..REQUESTS_PER_KEY).map(async |one: usize| {
            let app = &nodes[one % 2];
            let (call, body) = if change {
                let body = json!({"title": format!("Title {number}")});
                (app.patch(&format!("/api/history/{session}")), body)
            } else {
                (app.post("/api/chat"), json!({"message": format!("Message {number}")}))
            };
            call.by(&person)
                .key(&key)
                .header("x-request-id", &format!("{key}-{one}"))
                .json(&body)
                .send()
                .await
        });
        let mut outcomes = BTreeSet::new();
        for answer in join_all(sent).await {
            match answer.status {
                200 | 202 => {
                    let body = answer.value();
                    let ids = ["session_id", "user_message_id", "reply_id", "title"];
                    outcomes.insert(ids.map(|name| body.get(name).map(Value::to_string)));
                }
                // It arrived while the first request was in flight.
                409 | 503 => {
                    answer.error_code();
                    rejected += 1;
                }
                _ => panic!("{answer:?}"),
            }
        }
        assert_eq!(outcomes.len(), 1, "{outcomes:?}");
        let left =
            join_all((0..REQUESTS_PER_KEY).map(async |one| events_of(&db, &format!("{key}-{one}")).await))
                .await;
        let left: Vec<_> = left.into_iter().filter(|events| !events.is_empty()).collect();
        let whole: &[&str] = if change {
            &["conversation_renamed"]
        } else {
            &["conversation_started", "message_sent", "reply_requested"]
        };
        assert_eq!(left, [whole], "the events of {key}");
    }
    assert!(rejected < keys * REQUESTS_PER_KEY / 2, "{rejected} were rejected");
    Box::pin(end(nodes)).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn key_is_reusable_after_a_day(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let first = message(&app, &person, "key", "One").await.is(200);
    message(&app, &person, "key", "Two").await.assert_error(422, "idempotency_key_reused");
    sqlx::query("UPDATE command_keys SET created_at = created_at - interval '24 hours'")
        .execute(&db)
        .await
        .unwrap();
    let second = message(&app, &person, "key", "Two").await.is(200);
    assert_ne!(first.field("session_id"), second.field("session_id"));
    assert_eq!(message(&app, &person, "key", "Two").await.value(), second.value());
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn purge_drops_old_keys_and_keeps_young_ones(db: PgPool) {
    let keys = "INSERT INTO command_keys (owner, key, fingerprint, result, created_at)
                SELECT 'owner', number::text, '', '{}',
                       clock_timestamp() - interval '24 hours' + make_interval(secs => number - 11000)
                FROM generate_series(0, 11999) AS number";
    sqlx::query(keys).execute(&db).await.unwrap();
    let dropped = purge_command_keys(&db).await.unwrap();
    let left = count(&db, "SELECT count(*) FROM command_keys").await;
    // Time passes while the keys are inserted and dropped.
    assert!((900..1_000).contains(&left), "{left} keys are left");
    assert_eq!(dropped + left.unsigned_abs(), 12_000);
    let oldest = count(&db, "SELECT min(key::bigint) FROM command_keys").await;
    assert_eq!(oldest + left, 12_000, "a key other than the oldest was dropped");
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn concurrent_commands_to_one_conversation_lose_nothing(db: PgPool) {
    let nodes = two_nodes(&db).await;
    let person = nodes[0].person().await;
    let session = message(&nodes[0], &person, "first", "Hello").await.field("session_id");
    let path = format!("/api/history/{session}");
    let outcomes = |answers: &[Answer]| {
        let mut outcomes = BTreeMap::<(u16, String), usize>::new();
        for answer in answers {
            let code = if answer.status < 300 { String::new() } else { answer.error_code() };
            assert!(answer.status < 300 || !answer.header("retry-after").is_empty(), "{answer:?}");
            *outcomes.entry((answer.status, code)).or_default() += 1;
        }
        outcomes
    };
    // Renames: each can succeed.
    for at_once in [16, 64] {
        let renames = (0..at_once).map(async |number| {
            let title = json!({"title": format!("Title {number} of {at_once}")});
            nodes[number % 2].patch(&path).by(&person).json(&title).send().await
        });
        let before = events(&db, "conversation_renamed").await;
        let outcomes = outcomes(&join_all(renames).await);
        let renamed = usize::try_from(events(&db, "conversation_renamed").await - before).unwrap();
        let done = outcomes.get(&(200, String::new())).copied().unwrap_or_default();
        let busy = outcomes.get(&(503, "busy".to_owned())).copied().unwrap_or_default();
        assert_eq!((done + busy, renamed), (at_once, done), "{outcomes:?}");
        assert!(at_once > 16 || done * 20 >= at_once * 19, "{outcomes:?}");
    }
    // Messages: at most eight replies may be pending, so most are rejected with that reason.
    nodes[0]
        .wait_until("the first reply has ended", async || events(&db, "reply_completed").await == 1)
        .await;
    let body = json!({"message": "Hello", "session_id": session});
    let sends =
        (0..64).map(async |number| nodes[number % 2].post("/api/chat").by(&person).json(&body).send().await);
    let before = events(&db, "message_sent").await;
    let outcomes = outcomes(&join_all(sends).await);
    let sent = usize::try_from(events(&db, "message_sent").await - before).unwrap();
    let done = outcomes.get(&(202, String::new())).copied().unwrap_or_default();
    let full = outcomes.get(&(409, "too_many_pending_replies".to_owned())).copied().unwrap_or_default();
    let busy = outcomes.get(&(503, "busy".to_owned())).copied().unwrap_or_default();
    assert_eq!((done + full + busy, sent), (64, done), "{outcomes:?}");
    assert!(done >= 8, "{outcomes:?}");
    // Every stream is complete.
    let holes = "SELECT count(*) FROM (SELECT count(*) AS found, max(sequence) AS last FROM events
                 GROUP BY aggregate_type, aggregate_id) AS s WHERE found <> last";
    assert_eq!(count(&db, holes).await, 0);
    Box::pin(end(nodes)).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn registrations_of_one_address_in_variants_make_one_account(db: PgPool) {
    let nodes = two_nodes(&db).await;
    // In order: plain, capitals, full-width letters, decomposed, a ligature for two letters.
    let variants = [
        "jos\u{e9}.fi@mail.example",
        "JOS\u{c9}.FI@MAIL.EXAMPLE",
        "\u{ff4a}os\u{e9}.fi@Mail.Example",
        "jose\u{301}.fi@mail.example",
        "Jos\u{e9}.\u{fb01}@mail.example",
    ];
    let registrations = (0..50).map(async |number| {
        let body = json!({"email": variants[number % variants.len()], "password": PASSWORD});
        loop {
            let answer = nodes[number % 2].post("/api/auth/register").json(&body).send().await;
            // Hashing is rejected when too many requests wait for it; retry.
            if answer.status != 503 {
                return answer;
            }
            assert_eq!(answer.error_code(), "busy");
        }
    });
    let answers = join_all(registrations).await;
    let (made, rejected): (Vec<&Answer>, Vec<&Answer>) =
        answers.iter().partition(|answer| answer.status == 201);
    assert_eq!(made.len(), 1, "{made:?}");
    for answer in rejected {
        answer.assert_error(409, "email_taken");
    }
    // White space around the address is not trimmed, so it makes no second account.
    for blank in [" ", "\t", "\u{a0}", "\u{3000}"] {
        let body = json!({"email": format!("{blank}{}", variants[0]), "password": PASSWORD});
        let answer = nodes[0].post("/api/auth/register").json(&body).send().await;
        assert!([400, 409].contains(&answer.status), "{answer:?}");
    }
    for table in ["users", "credentials"] {
        assert_eq!(count(&db, &format!("SELECT count(*) FROM {table}")).await, 1, "{table}");
    }
    assert_eq!((events(&db, "user_registered").await, events(&db, "claim_taken").await), (1, 1));
    Box::pin(end(nodes)).await;
}
