//! Quotas: messages and tokens of a day, replies at once; what is reserved, and what a reply costs at its end.

use futures::future::join_all;
use reqwest::Method;
use serde_json::json;
use sqlx::PgPool;
use verbatim::bootstrap::database::MIGRATOR;

use super::limits::{AT_ONCE, allowance, end_both, is_taken, send, taken};
use crate::support::app::{TestApp, WAIT_TIMEOUT};

/// S37: messages a day, tokens a day, replies at once.
#[sqlx::test(migrator = "MIGRATOR")]
async fn messages_of_a_day_are_counted_and_bounded(db: PgPool) {
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
    // The next day is another one: a node that remembers no refusal lets it through at once.
    sqlx::query("UPDATE user_quotas SET day = day - 1").execute(&db).await.unwrap();
    let other = TestApp::with(&db, &[("QUOTA_MESSAGES_PER_DAY", "3")]).await;
    send(&other, &person, None).await.is(200);
    assert_eq!(allowance(&app, &person).await.0, 1);
    end_both(other, app).await;
}

/// Where the sequence of positions stands.
async fn drawn(db: &PgPool) -> i64 {
    sqlx::query_scalar("SELECT last_value FROM events_position_seq").fetch_one(db).await.unwrap()
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn what_a_quota_refuses_leaves_nothing_in_the_log_and_repetitions_go_before_it(db: PgPool) {
    let quota = [("QUOTA_MESSAGES_PER_DAY", "3"), AT_ONCE];
    let (one, two) = (TestApp::with(&db, &quota).await, TestApp::with(&db, &quota).await);
    let person = one.person().await;
    let body = json!({"message": "Hello"});
    let keyed =
        async |app: &TestApp, key: &str| app.post("/api/chat").by(&person).key(key).json(&body).send().await;
    let nodes = [&one, &two];
    let answers = join_all((0..20).map(|number| send(nodes[number % 2], &person, None))).await;
    let kept = answers.iter().filter(|answer| is_taken(answer)).count();
    assert_eq!(kept, 3, "exactly, however parallel");
    sqlx::query("UPDATE user_quotas SET messages = 2").execute(&db).await.unwrap();
    let third = TestApp::with(&db, &quota).await;
    let first = taken(&keyed(&third, "one").await);
    one.wait_until("all replies have ended", async || allowance(&one, &person).await.2 == json!({})).await;
    let before = drawn(&db).await;
    for app in [&one, &two, &third] {
        for answer in join_all((0..10).map(|_| send(app, &person, None))).await {
            answer.assert_error(429, "quota_exceeded");
        }
        keyed(app, "another").await.assert_error(429, "quota_exceeded");
        assert_eq!(taken(&keyed(app, "one").await)["message_id"], first["message_id"], "a repetition");
    }
    assert_eq!(drawn(&db).await, before, "no refusal drew a position");
    assert_eq!(allowance(&one, &person).await.0, 3);
    one.wait_for_projections().await;
    third.stop(WAIT_TIMEOUT).await;
    end_both(two, one).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn tokens_are_reserved_for_a_reply_and_settled_at_its_end(db: PgPool) {
    let quota =
        [("QUOTA_TOKENS_PER_DAY", "1000"), ("QUOTA_RESERVED_TOKENS", "400"), ("REPLY_WAIT_SECONDS", "20")];
    let slow = TestApp::with(&db, &[quota[0], quota[1], AT_ONCE, ("SCRIPTED_FAULT", "hang")]).await;
    let person = slow.person().await;
    let mut owed = Vec::new();
    for reserved in [400, 800] {
        owed.push(send(&slow, &person, None).await.is(202).value()["reply_id"].as_str().unwrap().to_owned());
        let usage = slow.get("/api/usage").by(&person).send().await.is(200).value();
        assert_eq!(
            usage["tokens"],
            json!({"used": 0, "reserved": reserved, "limit": 1000, "remaining": 1000 - reserved})
        );
    }
    // Nothing is left for a third one, although nothing was used yet.
    send(&slow, &person, None).await.assert_error(429, "quota_exceeded");
    // A reply that was cancelled while the provider worked at it costs what was reserved; the other one nothing.
    slow.wait_until("the first reply is begun", async || {
        slow.reply_events(&owed[0]).await.contains(&"reply_begun".to_owned())
    })
    .await;
    for reply in &owed {
        slow.call(Method::POST, &format!("/api/replies/{reply}/cancel")).by(&person).send().await.is(200);
    }
    let begun = {
        let second = slow.reply_events(&owed[1]).await;
        i64::from(second.contains(&"reply_begun".to_owned()))
    };
    let (messages, tokens, open) = allowance(&slow, &person).await;
    assert_eq!((messages, tokens, open), (2, 400 * (1 + begun), json!({})));
    slow.end().await;

    let app = TestApp::with(&db, &quota).await;
    let other = app.person().await;
    let answer = send(&app, &other, None).await.is(200).value();
    let took = answer["usage"]["tokens"].as_i64().unwrap();
    assert!((1..400).contains(&took), "{answer}");
    let (_, tokens, open) = allowance(&app, &other).await;
    assert_eq!((tokens, open), (took, json!({})), "what it really took");
    app.wait_for_projections().await;
    let usage = app.get("/api/usage").by(&other).send().await.is(200).value();
    assert_eq!(usage["tokens"]["used"], took);
    assert_eq!(usage["days"][0]["messages"], 1);
    let model = &usage["days"][0]["models"][0];
    assert_eq!((&model["replies"], &model["tokens"]), (&json!(1), &json!(took)), "{usage}");
    app.end().await;
}

/// What was sent to the provider is charged, however late the reply is cancelled, and so is the text that came.
#[sqlx::test(migrator = "MIGRATOR")]
async fn a_reply_that_does_not_end_well_costs_what_was_sent_and_what_came(db: PgPool) {
    let quota = [("QUOTA_TOKENS_PER_DAY", "100000"), ("QUOTA_RESERVED_TOKENS", "100")];
    let hanging = TestApp::with(&db, &[quota[0], quota[1], AT_ONCE, ("SCRIPTED_FAULT", "hang")]).await;
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
        .wait_until("the reply is begun", async || {
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
        let (_, tokens, open) = allowance(&app, &person).await;
        assert_eq!(open, json!({}));
        if text {
            assert!(tokens > sent(&reply).await, "what was sent, and what came: {tokens}");
        } else {
            assert_eq!(tokens, 0, "nothing came");
        }
        app.end().await;
    }
}

/// Whoever ends a reply settles it, also where no limits are configured.
#[sqlx::test(migrator = "MIGRATOR")]
async fn what_one_node_reserved_another_one_without_limits_settles(db: PgPool) {
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
    let serves = TestApp::with(&db, &quota).await;
    let writes = TestApp::with(&db, &none).await;
    let person = serves.person().await;
    let mut took = 0;
    for _ in 0..3 {
        // Each in a conversation of its own.
        let answer = send(&serves, &person, None).await.is(200).value();
        took += answer["usage"]["tokens"].as_i64().unwrap();
        assert!(took > 0, "{answer}");
        let (_, tokens, open) = allowance(&serves, &person).await;
        assert_eq!((tokens, open), (took, json!({})));
    }
    // A node without limits makes no rows.
    send(&writes, &writes.person().await, None).await;
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM user_quotas").fetch_one(&db).await.unwrap();
    assert_eq!(rows, 1);
    end_both(writes, serves).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn replies_are_owed_in_so_many_conversations_at_once(db: PgPool) {
    let variables = [("REPLIES_AT_ONCE_PER_USER", "2"), AT_ONCE, ("SCRIPTED_FAULT", "hang")];
    let app = TestApp::with(&db, &variables).await;
    let person = app.person().await;
    let first = send(&app, &person, None).await.is(202).value();
    let session = first["session_id"].as_str().unwrap();
    let second = send(&app, &person, None).await.is(202).value();
    send(&app, &person, None).await.assert_error(429, "too_many_replies");
    // A message that waits for its turn in one of these is no third one.
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
