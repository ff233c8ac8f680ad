//! Many at once, at two nodes: one key is one command, one address is one account, and whatever is not done is refused
//! with its reason.

use std::collections::{BTreeMap, BTreeSet};

use event_store::command_key::purge;
use futures::future::join_all;
use serde_json::{Value, json};
use sqlx::PgPool;
use verbatim::bootstrap::database::MIGRATOR;

use super::proxied::{events, events_of};
use crate::support::app::{PASSWORD, Person, TestApp};
use crate::support::client::Answer;
use crate::support::often;

/// Keys of the ordinary run, and how many requests come with each.
const KEYS: (usize, usize) = (20, 200);
const EACH: usize = 100;

async fn two(db: &PgPool) -> [TestApp; 2] {
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
async fn a_hundred_at_two_nodes_with_one_key_are_one_command(db: PgPool) {
    let nodes = two(&db).await;
    let person = nodes[0].person().await;
    let session = message(&nodes[0], &person, "first", "Hello").await.field("session_id");
    let mut refused = 0;
    let keys = often(KEYS.0, KEYS.1);
    for number in 0..keys {
        let (key, change) = (format!("key-{number}"), number % 2 == 1);
        let sent = (0..EACH).map(async |one: usize| {
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
                // It came while the first one was under way.
                409 | 503 => {
                    answer.refusal();
                    refused += 1;
                }
                _ => panic!("{answer:?}"),
            }
        }
        assert_eq!(outcomes.len(), 1, "{outcomes:?}");
        let left = join_all((0..EACH).map(async |one| events_of(&db, &format!("{key}-{one}")).await)).await;
        let left: Vec<_> = left.into_iter().filter(|events| !events.is_empty()).collect();
        let whole: &[&str] = if change {
            &["conversation_renamed"]
        } else {
            &["conversation_started", "message_sent", "reply_requested"]
        };
        assert_eq!(left, [whole], "the events of {key}");
    }
    assert!(refused < keys * EACH / 2, "{refused} were refused");
    Box::pin(end(nodes)).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn after_a_day_a_key_is_new(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let first = message(&app, &person, "key", "One").await.is(200);
    message(&app, &person, "key", "Two").await.refused(422, "idempotency_key_reused");
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
async fn keys_of_a_busy_day_are_dropped_and_younger_ones_stay(db: PgPool) {
    let keys = "INSERT INTO command_keys (owner, key, fingerprint, result, created_at)
                SELECT 'somebody', number::text, '', '{}',
                       clock_timestamp() - interval '24 hours' + make_interval(secs => number - 11000)
                FROM generate_series(0, 11999) AS number";
    sqlx::query(keys).execute(&db).await.unwrap();
    let dropped = purge(&db).await.unwrap();
    let left = count(&db, "SELECT count(*) FROM command_keys").await;
    // Time goes on while they are made and dropped.
    assert!((900..1_000).contains(&left), "{left} are left");
    assert_eq!(dropped + left.unsigned_abs(), 12_000);
    let oldest = count(&db, "SELECT min(key::bigint) FROM command_keys").await;
    assert_eq!(oldest + left, 12_000, "another one than the oldest was dropped");
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn sixty_four_at_once_to_one_conversation_lose_nothing(db: PgPool) {
    let nodes = two(&db).await;
    let person = nodes[0].person().await;
    let session = message(&nodes[0], &person, "first", "Hello").await.field("session_id");
    let path = format!("/api/history/{session}");
    let told = |answers: &[Answer]| {
        let mut told = BTreeMap::<(u16, String), usize>::new();
        for answer in answers {
            let code = if answer.status < 300 { String::new() } else { answer.refusal() };
            assert!(answer.status < 300 || !answer.header("retry-after").is_empty(), "{answer:?}");
            *told.entry((answer.status, code)).or_default() += 1;
        }
        told
    };
    // Changes: each can be carried out.
    for at_once in [16, 64] {
        let renames = (0..at_once).map(async |number| {
            let title = json!({"title": format!("Title {number} of {at_once}")});
            nodes[number % 2].patch(&path).by(&person).json(&title).send().await
        });
        let before = events(&db, "conversation_renamed").await;
        let told = told(&join_all(renames).await);
        let renamed = usize::try_from(events(&db, "conversation_renamed").await - before).unwrap();
        let done = told.get(&(200, String::new())).copied().unwrap_or_default();
        let busy = told.get(&(503, "busy".to_owned())).copied().unwrap_or_default();
        assert_eq!((done + busy, renamed), (at_once, done), "{told:?}");
        assert!(at_once > 16 || done * 20 >= at_once * 19, "{told:?}");
    }
    // Messages: eight replies may be owed, so most are refused with that reason. The first one's is not among them.
    nodes[0].until("the first reply has ended", async || events(&db, "reply_completed").await == 1).await;
    let body = json!({"message": "Hello", "session_id": session});
    let sends =
        (0..64).map(async |number| nodes[number % 2].post("/api/chat").by(&person).json(&body).send().await);
    let before = events(&db, "message_sent").await;
    let told = told(&join_all(sends).await);
    let sent = usize::try_from(events(&db, "message_sent").await - before).unwrap();
    let done = told.get(&(202, String::new())).copied().unwrap_or_default();
    let full = told.get(&(409, "too_many_pending_replies".to_owned())).copied().unwrap_or_default();
    let busy = told.get(&(503, "busy".to_owned())).copied().unwrap_or_default();
    assert_eq!((done + full + busy, sent), (64, done), "{told:?}");
    assert!(done >= 8, "{told:?}");
    // Sequences without a hole are the database's own rule; here, that the streams are whole.
    let holes = "SELECT count(*) FROM (SELECT count(*) AS found, max(sequence) AS last FROM events
                 GROUP BY aggregate_type, aggregate_id) AS s WHERE found <> last";
    assert_eq!(count(&db, holes).await, 0);
    Box::pin(end(nodes)).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn fifty_registrations_of_one_address_in_its_variants_make_one_account(db: PgPool) {
    let nodes = two(&db).await;
    // In order: as it is, in capitals, full-width letters, decomposed, a ligature for two letters.
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
            // Hashing is refused when too many wait for it, which is no answer to the question here.
            if answer.status != 503 {
                return answer;
            }
            assert_eq!(answer.refusal(), "busy");
        }
    });
    let answers = join_all(registrations).await;
    let (made, refused): (Vec<&Answer>, Vec<&Answer>) =
        answers.iter().partition(|answer| answer.status == 201);
    assert_eq!(made.len(), 1, "{made:?}");
    for answer in refused {
        answer.refused(409, "email_taken");
    }
    // White space around it is not taken away, so no account can come of it either.
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
