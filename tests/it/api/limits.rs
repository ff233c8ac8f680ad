//! Rates: what is refused, what is told, and that all nodes share one count.

use futures::future::join_all;
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;
use verbatim::bootstrap::database::MIGRATOR;

use crate::support::app::{Person, TestApp, WAIT_TIMEOUT};
use crate::support::client::Answer;

/// No reply is waited for.
pub(super) const AT_ONCE: (&str, &str) = ("REPLY_WAIT_SECONDS", "0");

pub(super) async fn send(app: &TestApp, person: &Person, session: Option<&str>) -> Answer {
    let body = json!({"message": "Hello", "session_id": session});
    app.post("/api/chat").by(person).json(&body).send().await
}

/// Whether the message was kept: its reply may be there already or not.
pub(super) fn is_taken(answer: &Answer) -> bool {
    matches!(answer.status, 200 | 202)
}

/// The answer to a message that was kept.
pub(super) fn taken(answer: &Answer) -> Value {
    assert!(is_taken(answer), "{answer:?}");
    answer.value()
}

pub(super) async fn allowance(app: &TestApp, person: &Person) -> (i64, i64, Value) {
    sqlx::query_as("SELECT messages, tokens, reservations FROM user_quotas WHERE user_id = $1")
        .bind(person.id)
        .fetch_one(&app.db)
        .await
        .unwrap()
}

/// Ends `two` and then `one`, when neither has work under way: a node that ends looks whether any session is left in a
/// transaction.
pub(super) async fn end_both(two: TestApp, one: TestApp) {
    one.wait_until("all replies have ended", async || {
        let owed: i64 =
            sqlx::query_scalar("SELECT count(*) FROM pending_replies").fetch_one(&one.db).await.unwrap();
        owed == 0
    })
    .await;
    one.wait_for_projections().await;
    two.stop(WAIT_TIMEOUT).await;
    one.end().await;
}

/// S36: two nodes together let through what one does.
#[sqlx::test(migrator = "MIGRATOR")]
async fn two_nodes_share_one_count(db: PgPool) {
    let limits = [
        ("RATE_LIMITS", "on"),
        ("RATE_LIMIT_USER_PER_MINUTE", "20"),
        ("RATE_LIMIT_CHANNEL_PER_MINUTE", "15"),
        ("RATE_LIMIT_SESSION_PER_MINUTE", "4"),
        AT_ONCE,
    ];
    let (one, two) = (TestApp::with(&db, &limits).await, TestApp::with(&db, &limits).await);
    let person = one.person().await;
    let nodes = [&one, &two];
    let answers = join_all((0..60).map(|number| send(nodes[number % 2], &person, None))).await;
    let kept = answers.iter().filter(|answer| is_taken(answer)).count();
    assert_eq!(kept, 15, "the channel's limit, exactly, however parallel");
    for refused in answers.iter().filter(|answer| !is_taken(answer)) {
        refused.assert_error(429, "rate_limited");
        let seconds: u64 = refused.header("retry-after").parse().unwrap();
        assert!((1..=64).contains(&seconds), "{seconds}");
        assert!(
            refused.header("ratelimit").starts_with("\"channel\";r=0;t="),
            "{}",
            refused.header("ratelimit")
        );
        assert_eq!(refused.header("ratelimit-policy"), "\"channel\";q=15;w=60");
    }
    // Another door is another channel, up to the person's own limit.
    let chatkit = json!({"type": "threads.create", "params": {"input": {
        "content": [{"type": "input_text", "text": "Hello"}], "attachments": [], "inference_options": {}}}});
    let mut statuses = Vec::new();
    for number in 0..6 {
        statuses.push(nodes[number % 2].post("/chatkit").by(&person).json(&chatkit).send().await.status);
    }
    assert_eq!(statuses, [200, 200, 200, 200, 200, 429]);

    // One conversation has a limit of its own, whichever node and spelling of the route.
    let other = one.person().await;
    let session = taken(&send(&one, &other, None).await)["session_id"].as_str().unwrap().to_owned();
    let answers = join_all((0..8).map(|number| send(nodes[number % 2], &other, Some(&session)))).await;
    assert_eq!(answers.iter().filter(|answer| is_taken(answer)).count(), 3, "the first one began it");
    end_both(two, one).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn every_answer_to_a_message_tells_what_is_left(db: PgPool) {
    let app = TestApp::with(&db, &[("RATE_LIMITS", "on"), AT_ONCE]).await;
    let person = app.person().await;
    let first = send(&app, &person, None).await;
    let session = taken(&first)["session_id"].as_str().unwrap().to_owned();
    assert_eq!(
        first.header("ratelimit-policy"),
        "\"user\";q=30;w=60, \"session\";q=10;w=60, \"channel\";q=20;w=60"
    );
    assert_eq!(first.header("ratelimit"), "\"user\";r=29;t=60, \"session\";r=9;t=60, \"channel\";r=19;t=60");
    let second = send(&app, &person, Some(&session)).await;
    taken(&second);
    assert!(second.header("ratelimit").starts_with("\"user\";r=28;t="), "{}", second.header("ratelimit"));
    // What costs nothing is not counted, and says nothing.
    let read = app.get("/api/history").by(&person).send().await.is(200);
    assert!(read.headers.get("ratelimit").is_none());
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_repetition_costs_nothing_and_is_not_refused(db: PgPool) {
    let limits = [("RATE_LIMITS", "on"), ("RATE_LIMIT_USER_PER_MINUTE", "2"), AT_ONCE];
    let app = TestApp::with(&db, &limits).await;
    let person = app.person().await;
    let body = json!({"message": "Hello"});
    let keyed = async |key: &str| app.post("/api/chat").by(&person).key(key).json(&body).send().await;
    let first = taken(&keyed("one").await);
    for _ in 0..5 {
        assert_eq!(taken(&keyed("one").await)["message_id"], first["message_id"]);
    }
    taken(&keyed("two").await);
    keyed("three").await.assert_error(429, "rate_limited");
    // Refused twice over: by the database and by what this node remembers of it. The first outcome is given all the same.
    keyed("three").await.assert_error(429, "rate_limited");
    assert_eq!(taken(&keyed("one").await)["message_id"], first["message_id"]);
    app.end().await;
}

/// What is charged is charged in the append's own transaction: a refused command costs nothing.
#[sqlx::test(migrator = "MIGRATOR")]
async fn a_command_that_is_refused_costs_nothing(db: PgPool) {
    let app =
        TestApp::with(&db, &[("RATE_LIMITS", "on"), ("RATE_LIMIT_USER_PER_MINUTE", "2"), AT_ONCE]).await;
    let person = app.person().await;
    let nowhere = Uuid::from_u128(7).to_string();
    for _ in 0..5 {
        send(&app, &person, Some(&nowhere)).await.is(404);
    }
    taken(&send(&app, &person, None).await);
    taken(&send(&app, &person, None).await);
    send(&app, &person, None).await.assert_error(429, "rate_limited");
    app.end().await;
}
