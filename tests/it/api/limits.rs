//! Rates, quotas and attempts: what is refused, what is told, and that all nodes share one count.

use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;
use verbatim::server::database::MIGRATOR;

use crate::sockets::client::Socket;
use crate::support::app::{PASSWORD, PATIENCE, Person, TestApp};
use crate::support::client::Answer;

/// No reply is waited for.
const AT_ONCE: (&str, &str) = ("REPLY_WAIT_SECONDS", "0");

async fn send(app: &TestApp, person: &Person, session: Option<&str>) -> Answer {
    let body = json!({"message": "Hello", "session_id": session});
    app.post("/api/chat").by(person).json(&body).send().await
}

/// Whether the message was kept: its reply may be there already or not.
fn is_taken(answer: &Answer) -> bool {
    matches!(answer.status, 200 | 202)
}

/// The answer to a message that was kept.
fn taken(answer: &Answer) -> Value {
    assert!(is_taken(answer), "{answer:?}");
    answer.value()
}

async fn allowance(app: &TestApp, person: &Person) -> (i64, i64, Value) {
    sqlx::query_as("SELECT messages, tokens, open FROM allowances WHERE user_id = $1")
        .bind(person.id)
        .fetch_one(&app.db)
        .await
        .unwrap()
}

/// Ends `two` and then `one`, when neither has work under way: a node that ends looks whether any session is left in a
/// transaction.
async fn end_both(two: TestApp, one: TestApp) {
    one.until("all replies have ended", async || {
        let owed: i64 =
            sqlx::query_scalar("SELECT count(*) FROM pending_replies").fetch_one(&one.db).await.unwrap();
        owed == 0
    })
    .await;
    one.caught_up().await;
    two.stop(PATIENCE).await;
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
        refused.refused(429, "rate_limited");
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
    keyed("three").await.refused(429, "rate_limited");
    // Refused twice over: by the database and by what this node remembers of it. The first outcome is given all the same.
    keyed("three").await.refused(429, "rate_limited");
    assert_eq!(taken(&keyed("one").await)["message_id"], first["message_id"]);
    app.end().await;
}

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
    refused.refused(429, "quota_exceeded");
    let seconds: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=86_400).contains(&seconds), "until midnight: {seconds}");
    assert_eq!(app.events().await, events);
    send(&app, &app.person().await, None).await.is(200);
    // The next day is another one: a node that remembers no refusal lets it through at once.
    sqlx::query("UPDATE allowances SET day = day - 1").execute(&db).await.unwrap();
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
    sqlx::query("UPDATE allowances SET messages = 2").execute(&db).await.unwrap();
    let third = TestApp::with(&db, &quota).await;
    let first = taken(&keyed(&third, "one").await);
    one.until("all replies have ended", async || allowance(&one, &person).await.2 == json!({})).await;
    let before = drawn(&db).await;
    for app in [&one, &two, &third] {
        for answer in join_all((0..10).map(|_| send(app, &person, None))).await {
            answer.refused(429, "quota_exceeded");
        }
        keyed(app, "another").await.refused(429, "quota_exceeded");
        assert_eq!(taken(&keyed(app, "one").await)["message_id"], first["message_id"], "a repetition");
    }
    assert_eq!(drawn(&db).await, before, "no refusal drew a position");
    assert_eq!(allowance(&one, &person).await.0, 3);
    one.caught_up().await;
    third.stop(PATIENCE).await;
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
    send(&slow, &person, None).await.refused(429, "quota_exceeded");
    // A reply that was cancelled while the provider worked at it costs what was reserved; the other one nothing.
    slow.until("the first reply is begun", async || {
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
    app.caught_up().await;
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
        .until("the reply is begun", async || {
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
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM allowances").fetch_one(&db).await.unwrap();
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
    send(&app, &person, None).await.refused(429, "too_many_replies");
    // A message that waits for its turn in one of these is no third one.
    let third = send(&app, &person, Some(session)).await.is(202).value();
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

/// S36: a client's attempts are counted under its address at all doors, on all nodes. S35: what it says of itself is ignored.
#[sqlx::test(migrator = "MIGRATOR")]
async fn attempts_are_counted_by_address(db: PgPool) {
    let limits = [
        ("RATE_LIMITS", "on"),
        ("SIGN_IN_LIMIT_ADDRESS_PER_MINUTE", "6"),
        ("REGISTER_LIMIT_ADDRESS_PER_HOUR", "2"),
        ("REFRESH_LIMIT_ADDRESS_PER_MINUTE", "3"),
    ];
    let (one, two) = (TestApp::with(&db, &limits).await, TestApp::with(&db, &limits).await);
    let person = one.person().await;
    let _ = two.person().await;
    let new = json!({"email": "third@mail.example", "password": PASSWORD});
    let refused = one.post("/auth/signup").json(&new).send().await;
    refused.refused(429, "too_many_attempts");
    let seconds: u64 = refused.header("retry-after").parse().unwrap();
    assert!((60..=5400).contains(&seconds), "{seconds}");
    assert_eq!(refused.header("ratelimit-policy"), "\"address\";q=2;w=3600");
    assert_eq!(refused.header("ratelimit"), format!("\"address\";r=0;t={seconds}"));

    let body = json!({"email": person.email, "password": PASSWORD});
    let answers = join_all((0..20).map(|number| {
        let (app, path) = [(&one, "/api/auth/login"), (&two, "/auth/signin")][number % 2];
        app.post(path).header("x-forwarded-for", &format!("198.51.100.{number}")).json(&body).send()
    }))
    .await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 6);
    assert_eq!(answers.iter().filter(|answer| answer.status == 429).count(), 14);

    let rubbish = json!({"refresh_token": "rubbish"});
    for status in [401, 401, 401, 429] {
        assert_eq!(one.post("/api/auth/refresh").json(&rubbish).send().await.status, status);
    }
    // Whoever is signed in goes on.
    send(&one, &person, None).await.is(200);
    let addresses: Vec<String> =
        sqlx::query_scalar("SELECT bucket FROM attempts").fetch_all(&db).await.unwrap();
    assert!(addresses.iter().all(|bucket| !bucket.contains("127.0.0.1")), "{addresses:?}");
    two.stop(PATIENCE).await;
    one.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn behind_a_trusted_proxy_clients_are_told_apart(db: PgPool) {
    let limits = [
        ("RATE_LIMITS", "on"),
        ("SIGN_IN_LIMIT_ADDRESS_PER_MINUTE", "2"),
        ("TRUSTED_PROXIES", "127.0.0.0/8"),
    ];
    let app = TestApp::with(&db, &limits).await;
    let body = json!({"email": "nobody@mail.example", "password": PASSWORD});
    let from = async |said: &str| {
        app.post("/api/auth/login").header("x-forwarded-for", said).json(&body).send().await.status
    };
    assert_eq!([from("198.51.100.1").await, from("6.6.6.6, 198.51.100.1").await], [401, 401]);
    assert_eq!(
        from("7.7.7.7, 198.51.100.1").await,
        429,
        "what stands before the client's own address is the client's word"
    );
    assert_eq!(from("198.51.100.2").await, 401);
    assert_eq!(
        [from("2001:db8::1").await, from("2001:db8::2").await, from("2001:db8::3").await],
        [401, 401, 429]
    );
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn reads_have_a_limit_of_their_own(db: PgPool) {
    let app = TestApp::with(&db, &[("RATE_LIMITS", "on"), ("READ_LIMIT_USER_PER_MINUTE", "5")]).await;
    let (person, other) = (app.person().await, app.person().await);
    for _ in 0..5 {
        app.get("/api/history").by(&person).send().await.is(200);
    }
    let refused = app.get("/api/users/me").by(&person).send().await;
    refused.refused(429, "rate_limited");
    assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);
    app.get("/api/history").by(&other).send().await.is(200);
    send(&app, &person, None).await.is(200);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn reads_through_chatkit_are_reads(db: PgPool) {
    let limits =
        [("RATE_LIMITS", "on"), ("READ_LIMIT_USER_PER_MINUTE", "4"), ("COMMAND_LIMIT_USER_PER_MINUTE", "2")];
    let app = TestApp::with(&db, &limits).await;
    let person = app.person().await;
    let ask = async |kind: &str, params: Value| {
        app.post("/chatkit").by(&person).json(&json!({"type": kind, "params": params})).send().await
    };
    let nowhere = Uuid::from_u128(7);
    ask("threads.list", json!({})).await.is(200);
    ask("threads.get_by_id", json!({"thread_id": nowhere})).await.is(404);
    ask("items.list", json!({"thread_id": nowhere})).await.is(404);
    app.get("/api/history").by(&person).send().await.is(200);
    ask("threads.list", json!({})).await.refused(429, "rate_limited");
    // What changes something has its own count.
    for status in [404, 404, 429] {
        let answer = ask("threads.update", json!({"thread_id": nowhere, "title": "x"})).await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn commands_have_a_limit_of_their_own_at_every_door(db: PgPool) {
    let limits =
        [("RATE_LIMITS", "on"), ("COMMAND_LIMIT_USER_PER_MINUTE", "4"), ("REPLY_WAIT_SECONDS", "20")];
    let app = TestApp::with(&db, &limits).await;
    let (person, other) = (app.person().await, app.person().await);
    let session = taken(&send(&app, &person, None).await)["session_id"].as_str().unwrap().to_owned();
    let path = format!("/api/history/{session}");
    let rename = async |title: &str| {
        app.call(Method::PATCH, &path).by(&person).json(&json!({"title": title})).send().await
    };
    for title in ["one", "two", "three"] {
        rename(title).await.is(200);
    }
    let events = app.events().await;
    let refused = rename("four").await;
    refused.refused(429, "rate_limited");
    assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);
    send(&app, &person, Some(&session)).await.refused(429, "rate_limited");
    let mut socket = Socket::of(&app, &person).await;
    socket.send(json!({"type": "read", "session_id": session, "message_id": Uuid::from_u128(7)})).await;
    let error = socket.next_of("error", &["event"]).await;
    assert_eq!((&error["status"], &error["code"]), (&json!(429), &json!("rate_limited")), "{error}");
    assert_eq!(app.events().await, events);
    // Queries and other people are let through.
    app.get(&path).by(&person).send().await.is(200);
    send(&app, &other, None).await.is(200);
    app.end().await;
    let without = TestApp::with(&db, &[limits[0], ("COMMAND_LIMIT_USER_PER_MINUTE", "0")]).await;
    for number in 0..20 {
        let title = json!({"title": format!("{number}")});
        without.call(Method::PATCH, &path).by(&person).json(&title).send().await.is(200);
    }
    without.end().await;
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
    send(&app, &person, None).await.refused(429, "rate_limited");
    app.end().await;
}
