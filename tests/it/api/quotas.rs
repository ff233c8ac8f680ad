//! Tests quotas: messages and tokens per day, concurrent replies, reservations, and what a reply finally costs.

use futures::future::join_all;
use reqwest::Method;
use serde_json::json;
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use super::message_limits::{NO_REPLY_WAIT, accepted, end_both, is_accepted, quota_row, send};
use crate::support::app::{TestApp, WAIT_TIMEOUT};

#[sqlx::test(migrator = "MIGRATOR")]
async fn daily_message_quota_is_enforced(db: PgPool) {
    let app = TestApp::with(&db, &[("QUOTA_MESSAGES_PER_DAY", "3")]).await;
    let person = app.person().await;
    for left in [2, 1, 0] {
        send(&app, &person, None).await.is(200);
        let usage = app.get("/api/usage").by(&person).send().await.is(200).value();
        assert_eq!(usage["messages"]["remaining"], left, "{usage}");
    }
    let events = app.events().await;
    let refused = send(&app, &person, None).await;
    refused.assert_error(429, "quota_exceeded");
    let seconds: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=86_400).contains(&seconds), "until midnight: {seconds}");
    assert_eq!(app.events().await, events);
    send(&app, &app.person().await, None).await.is(200);
    // A new day, and a node with an empty rejection cache: the message is accepted at once.
    sqlx::query("UPDATE user_quotas SET day = day - 1").execute(&db).await.unwrap();
    let other = TestApp::with(&db, &[("QUOTA_MESSAGES_PER_DAY", "3")]).await;
    send(&other, &person, None).await.is(200);
    assert_eq!(quota_row(&app, &person).await.0, 1);
    end_both(other, app).await;
}

/// Returns the last value drawn from the position sequence.
async fn last_drawn_position(db: &PgPool) -> i64 {
    sqlx::query_scalar("SELECT last_value FROM events_position_seq").fetch_one(db).await.unwrap()
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn quota_rejection_writes_nothing_and_spares_repetitions(db: PgPool) {
    let quota = [("QUOTA_MESSAGES_PER_DAY", "3"), NO_REPLY_WAIT];
    let (one, two) = (TestApp::with(&db, &quota).await, TestApp::with(&db, &quota).await);
    let person = one.person().await;
    let body = json!({"message": "Hello"});
    let keyed =
        async |app: &TestApp, key: &str| app.post("/api/chat").by(&person).key(key).json(&body).send().await;
    let nodes = [&one, &two];
    let answers = join_all((0..20).map(|number| send(nodes[number % 2], &person, None))).await;
    let kept = answers.iter().filter(|answer| is_accepted(answer)).count();
    assert_eq!(kept, 3, "exactly the quota, despite concurrency");
    sqlx::query("UPDATE user_quotas SET messages = 2").execute(&db).await.unwrap();
    let third = TestApp::with(&db, &quota).await;
    let first = accepted(&keyed(&third, "one").await);
    one.wait_until("all replies have ended", async || quota_row(&one, &person).await.2 == json!({})).await;
    let before = last_drawn_position(&db).await;
    for app in [&one, &two, &third] {
        for answer in join_all((0..10).map(|_| send(app, &person, None))).await {
            answer.assert_error(429, "quota_exceeded");
        }
        keyed(app, "another").await.assert_error(429, "quota_exceeded");
        assert_eq!(accepted(&keyed(app, "one").await)["message_id"], first["message_id"], "a repetition");
    }
    assert_eq!(last_drawn_position(&db).await, before, "no rejection drew a position");
    assert_eq!(quota_row(&one, &person).await.0, 3);
    one.wait_for_projections().await;
    third.stop(WAIT_TIMEOUT).await;
    end_both(two, one).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn tokens_are_reserved_for_reply_and_settled_at_its_end(db: PgPool) {
    let quota =
        [("QUOTA_TOKENS_PER_DAY", "1000"), ("QUOTA_RESERVED_TOKENS", "400"), ("REPLY_WAIT_SECONDS", "20")];
    let slow = TestApp::with(&db, &[quota[0], quota[1], NO_REPLY_WAIT, ("SCRIPTED_FAULT", "hang")]).await;
    let person = slow.person().await;
    let mut pending = Vec::new();
    for reserved in [400, 800] {
        pending
            .push(send(&slow, &person, None).await.is(202).value()["reply_id"].as_str().unwrap().to_owned());
        let usage = slow.get("/api/usage").by(&person).send().await.is(200).value();
        assert_eq!(
            usage["tokens"],
            json!({"used": 0, "reserved": reserved, "limit": 1000, "remaining": 1000 - reserved})
        );
    }
    // Reservations leave no room for a third message, although no token is used yet.
    send(&slow, &person, None).await.assert_error(429, "quota_exceeded");
    // A reply cancelled during its provider call costs its reservation; one that has not begun is free.
    slow.wait_until("the first reply has begun", async || {
        slow.reply_events(&pending[0]).await.contains(&"reply_begun".to_owned())
    })
    .await;
    for reply in &pending {
        slow.call(Method::POST, &format!("/api/replies/{reply}/cancel")).by(&person).send().await.is(200);
    }
    let begun = {
        let second = slow.reply_events(&pending[1]).await;
        i64::from(second.contains(&"reply_begun".to_owned()))
    };
    let (messages, tokens, open) = quota_row(&slow, &person).await;
    assert_eq!((messages, tokens, open), (2, 400 * (1 + begun), json!({})));
    slow.end().await;

    let app = TestApp::with(&db, &quota).await;
    let other = app.person().await;
    let answer = send(&app, &other, None).await.is(200).value();
    let used = answer["usage"]["tokens"].as_i64().unwrap();
    assert!((1..400).contains(&used), "{answer}");
    let (_, tokens, open) = quota_row(&app, &other).await;
    assert_eq!((tokens, open), (used, json!({})), "actual usage is charged");
    app.wait_for_projections().await;
    let usage = app.get("/api/usage").by(&other).send().await.is(200).value();
    assert_eq!(usage["tokens"]["used"], used);
    assert_eq!(usage["days"][0]["messages"], 1);
    let model = &usage["days"][0]["models"][0];
    assert_eq!((&model["replies"], &model["tokens"]), (&json!(1), &json!(used)), "{usage}");
    app.end().await;
}

/// The prompt sent to the provider is charged, however the reply ends, and so is the text received.
#[sqlx::test(migrator = "MIGRATOR")]
async fn unfinished_reply_costs_prompt_and_received_text(db: PgPool) {
    let quota = [("QUOTA_TOKENS_PER_DAY", "100000"), ("QUOTA_RESERVED_TOKENS", "100")];
    let hanging = TestApp::with(&db, &[quota[0], quota[1], NO_REPLY_WAIT, ("SCRIPTED_FAULT", "hang")]).await;
    let person = hanging.person().await;
    let body = json!({"message": "Words that count. ".repeat(300)});
    let sent = async |reply: &str| -> i64 {
        sqlx::query_scalar(
            "SELECT sum((payload #>> '{plan,parameters,context,tokens,all}')::bigint)::bigint FROM events
             WHERE event_type = 'reply_begun' AND payload ->> 'reply_id' = $1 AND payload ->> 'attempt' = '1'",
        )
        .bind(reply)
        .fetch_one(&db)
        .await
        .unwrap()
    };
    let answer = hanging.post("/api/chat").by(&person).json(&body).send().await.is(202).value();
    let reply = answer["reply_id"].as_str().unwrap();
    hanging
        .wait_until("the reply has begun", async || {
            hanging.reply_events(reply).await.contains(&"reply_begun".to_owned())
        })
        .await;
    let sent_first = sent(reply).await;
    assert!(sent_first > 900, "{sent_first}");
    let usage = hanging.get("/api/usage").by(&person).send().await.is(200).value();
    assert_eq!(usage["tokens"]["reserved"], sent_first, "{usage}");
    hanging.post(&format!("/api/replies/{reply}/cancel")).by(&person).send().await.is(200);
    let usage = hanging.get("/api/usage").by(&person).send().await.is(200).value();
    assert_eq!(
        (&usage["tokens"]["used"], &usage["tokens"]["reserved"]),
        (&json!(sent_first), &json!(0)),
        "{usage}"
    );
    hanging.end().await;

    for (fault, text) in [("cut", true), ("empty", false)] {
        let faulty = [("SCRIPTED_FAULT", fault), ("REPLY_MAX_ATTEMPTS", "1"), ("REPLY_WAIT_SECONDS", "20")];
        let app = TestApp::with(&db, &[&quota[..], &faulty].concat()).await;
        let person = app.person().await;
        app.post("/api/chat").by(&person).json(&body).send().await.is(500);
        let reply: String = sqlx::query_scalar(
            "SELECT payload ->> 'reply_id' FROM events WHERE event_type = 'reply_failed' ORDER BY position DESC LIMIT 1",
        )
        .fetch_one(&db)
        .await
        .unwrap();
        let (_, tokens, open) = quota_row(&app, &person).await;
        assert_eq!(open, json!({}));
        if text {
            assert!(tokens > sent(&reply).await, "prompt and received text are charged: {tokens}");
        } else {
            assert_eq!(tokens, 0, "no text was received");
        }
        app.end().await;
    }
}

/// The node that ends a reply settles its reservation, even if that node has no limits configured.
#[sqlx::test(migrator = "MIGRATOR")]
async fn node_without_limits_settles_reservations(db: PgPool) {
    let quota = [
        ("QUOTA_TOKENS_PER_DAY", "100000"),
        ("QUOTA_RESERVED_TOKENS", "4000"),
        ("REPLIES_AT_ONCE_PER_USER", "1"),
        ("ROLES", "api,project"),
        ("REPLY_WAIT_SECONDS", "20"),
    ];
    let none = [
        ("RATE_LIMITS", "off"),
        ("QUOTA_MESSAGES_PER_DAY", "0"),
        ("QUOTA_TOKENS_PER_DAY", "0"),
        ("REPLIES_AT_ONCE_PER_USER", "0"),
    ];
    let api_node = TestApp::with(&db, &quota).await;
    let worker_node = TestApp::with(&db, &none).await;
    let person = api_node.person().await;
    let mut used = 0;
    for _ in 0..3 {
        // Each in a conversation of its own.
        let answer = send(&api_node, &person, None).await.is(200).value();
        used += answer["usage"]["tokens"].as_i64().unwrap();
        assert!(used > 0, "{answer}");
        let (_, tokens, open) = quota_row(&api_node, &person).await;
        assert_eq!((tokens, open), (used, json!({})));
    }
    // A node without limits creates no quota rows.
    send(&worker_node, &worker_node.person().await, None).await;
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM user_quotas").fetch_one(&db).await.unwrap();
    assert_eq!(rows, 1);
    end_both(worker_node, api_node).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn conversations_with_pending_replies_are_limited(db: PgPool) {
    let variables = [("REPLIES_AT_ONCE_PER_USER", "2"), NO_REPLY_WAIT, ("SCRIPTED_FAULT", "hang")];
    let app = TestApp::with(&db, &variables).await;
    let person = app.person().await;
    let first = send(&app, &person, None).await.is(202).value();
    let session = first["session_id"].as_str().unwrap();
    let second = send(&app, &person, None).await.is(202).value();
    send(&app, &person, None).await.assert_error(429, "too_many_replies");
    // A queued message in one of these conversations does not count as a third one.
    let third = send(&app, &person, Some(session)).await.is(202).value();
    let usage = app.get("/api/usage").by(&person).send().await.is(200).value();
    assert_eq!(usage["replies_at_once"], json!({"used": 2, "reserved": 0, "limit": 2, "remaining": 0}));
    for answer in [&first, &third] {
        let path = format!("/api/replies/{}/cancel", answer["reply_id"].as_str().unwrap());
        app.post(&path).by(&person).send().await.is(200);
    }
    let last = send(&app, &person, None).await.is(202).value();
    for answer in [&second, &last] {
        let path = format!("/api/replies/{}/cancel", answer["reply_id"].as_str().unwrap());
        app.post(&path).by(&person).send().await.is(200);
    }
    app.end().await;
}
