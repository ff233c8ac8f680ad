//! Tests message rate limits: rejections, response headers, and one count for all nodes.

use futures::future::join_all;
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;
use verbatim::schema::MIGRATOR;

use crate::support::app::{Person, TestApp, WAIT_TIMEOUT};
use crate::support::client::Answer;

/// Requests return without waiting for the reply.
pub(super) const NO_REPLY_WAIT: (&str, &str) = ("REPLY_WAIT_SECONDS", "0");

pub(super) async fn send(app: &TestApp, person: &Person, session: Option<&str>) -> Answer {
    let body = json!({"message": "Hello", "session_id": session});
    app.post("/api/chat").by(person).json(&body).send().await
}

/// Returns whether the message was accepted, with its reply finished or still pending.
pub(super) fn is_accepted(answer: &Answer) -> bool {
    matches!(answer.status, 200 | 202)
}

/// Returns the response body of an accepted message.
pub(super) fn accepted(answer: &Answer) -> Value {
    assert!(is_accepted(answer), "{answer:?}");
    answer.value()
}

pub(super) async fn quota_row(app: &TestApp, person: &Person) -> (i64, i64, Value) {
    sqlx::query_as("SELECT messages, tokens, reservations FROM user_quotas WHERE user_id = $1")
        .bind(person.id)
        .fetch_one(&app.db)
        .await
        .unwrap()
}

/// Ends `two` and then `one` once neither has work in progress: a node that ends checks that no database session is
/// left in a transaction.
pub(super) async fn end_both(two: TestApp, one: TestApp) {
    one.wait_until("all replies have ended", async || {
        let pending: i64 =
            sqlx::query_scalar("SELECT count(*) FROM pending_replies").fetch_one(&one.db).await.unwrap();
        pending == 0
    })
    .await;
    one.wait_for_projections().await;
    two.stop(WAIT_TIMEOUT).await;
    one.end().await;
}

/// Two nodes together allow what one node allows.
#[sqlx::test(migrator = "MIGRATOR")]
async fn nodes_share_one_rate_limit(db: PgPool) {
    let limits = [
        ("RATE_LIMITS", "on"),
        ("RATE_LIMIT_USER_PER_MINUTE", "20"),
        ("RATE_LIMIT_CHANNEL_PER_MINUTE", "15"),
        ("RATE_LIMIT_SESSION_PER_MINUTE", "4"),
        NO_REPLY_WAIT,
    ];
    let (one, two) = (TestApp::with(&db, &limits).await, TestApp::with(&db, &limits).await);
    let person = one.person().await;
    let nodes = [&one, &two];
    let answers = join_all((0..60).map(|number| send(nodes[number % 2], &person, None))).await;
    let kept = answers.iter().filter(|answer| is_accepted(answer)).count();
    assert_eq!(kept, 15, "exactly the channel's limit, despite concurrency");
    for refused in answers.iter().filter(|answer| !is_accepted(answer)) {
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
    // Another surface is another channel, up to the user's own limit.
    let chatkit = json!({"type": "threads.create", "params": {"input": {
        "content": [{"type": "input_text", "text": "Hello"}], "attachments": [], "inference_options": {}}}});
    let mut statuses = Vec::new();
    for number in 0..6 {
        statuses.push(nodes[number % 2].post("/chatkit").by(&person).json(&chatkit).send().await.status);
    }
    assert_eq!(statuses, [200, 200, 200, 200, 200, 429]);

    // One conversation has a limit of its own, over all nodes.
    let other = one.person().await;
    let session = accepted(&send(&one, &other, None).await)["session_id"].as_str().unwrap().to_owned();
    let answers = join_all((0..8).map(|number| send(nodes[number % 2], &other, Some(&session)))).await;
    assert_eq!(
        answers.iter().filter(|answer| is_accepted(answer)).count(),
        3,
        "the first message started the conversation"
    );
    end_both(two, one).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn message_responses_carry_rate_limit_headers(db: PgPool) {
    let app = TestApp::with(&db, &[("RATE_LIMITS", "on"), NO_REPLY_WAIT]).await;
    let person = app.person().await;
    let first = send(&app, &person, None).await;
    let session = accepted(&first)["session_id"].as_str().unwrap().to_owned();
    assert_eq!(
        first.header("ratelimit-policy"),
        "\"user\";q=30;w=60, \"session\";q=10;w=60, \"channel\";q=20;w=60"
    );
    assert_eq!(first.header("ratelimit"), "\"user\";r=29;t=60, \"session\";r=9;t=60, \"channel\";r=19;t=60");
    let second = send(&app, &person, Some(&session)).await;
    accepted(&second);
    assert!(second.header("ratelimit").starts_with("\"user\";r=28;t="), "{}", second.header("ratelimit"));
    // Free requests are not counted and carry no rate limit headers.
    let read = app.get("/api/history").by(&person).send().await.is(200);
    assert!(read.headers.get("ratelimit").is_none());
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn repetition_is_free_and_never_rate_limited(db: PgPool) {
    let limits = [("RATE_LIMITS", "on"), ("RATE_LIMIT_USER_PER_MINUTE", "2"), NO_REPLY_WAIT];
    let app = TestApp::with(&db, &limits).await;
    let person = app.person().await;
    let body = json!({"message": "Hello"});
    let keyed = async |key: &str| app.post("/api/chat").by(&person).key(key).json(&body).send().await;
    let first = accepted(&keyed("one").await);
    for _ in 0..5 {
        assert_eq!(accepted(&keyed("one").await)["message_id"], first["message_id"]);
    }
    accepted(&keyed("two").await);
    keyed("three").await.assert_error(429, "rate_limited");
    // Rejected by the database and then from the node's rejection cache; the earlier key still returns its result.
    keyed("three").await.assert_error(429, "rate_limited");
    assert_eq!(accepted(&keyed("one").await)["message_id"], first["message_id"]);
    app.end().await;
}

/// The charge is part of the append's transaction, so a rejected command costs nothing.
#[sqlx::test(migrator = "MIGRATOR")]
async fn rejected_command_costs_nothing(db: PgPool) {
    let app =
        TestApp::with(&db, &[("RATE_LIMITS", "on"), ("RATE_LIMIT_USER_PER_MINUTE", "2"), NO_REPLY_WAIT])
            .await;
    let person = app.person().await;
    let nowhere = Uuid::from_u128(7).to_string();
    for _ in 0..5 {
        send(&app, &person, Some(&nowhere)).await.is(404);
    }
    accepted(&send(&app, &person, None).await);
    accepted(&send(&app, &person, None).await);
    send(&app, &person, None).await.assert_error(429, "rate_limited");
    app.end().await;
}
