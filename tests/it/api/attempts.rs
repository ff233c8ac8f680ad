//! Attempts of those who are not signed in, counted by address; reads and commands, counted by person at each process.
//!
//! Limits are so small that the next one is free only half a minute after the first: a slow run is refused all the same.

use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;
use verbatim::server::database::MIGRATOR;

use super::limits::{end_both, send, taken};
use crate::sockets::client::Socket;
use crate::support::app::{PASSWORD, PATIENCE, Person, TestApp};

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
    let app = TestApp::with(&db, &[("RATE_LIMITS", "on"), ("READ_LIMIT_USER_PER_MINUTE", "2")]).await;
    let (person, other) = (app.person().await, app.person().await);
    for _ in 0..2 {
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
        [("RATE_LIMITS", "on"), ("READ_LIMIT_USER_PER_MINUTE", "1"), ("COMMAND_LIMIT_USER_PER_MINUTE", "2")];
    let app = TestApp::with(&db, &limits).await;
    let ask = async |person: &Person, kind: &str, params: &Value| {
        app.post("/chatkit").by(person).json(&json!({"type": kind, "params": params})).send().await
    };
    let nowhere = json!({"thread_id": Uuid::from_u128(7), "title": "x"});
    for (kind, params, status) in [
        ("threads.list", &json!({}), 200),
        ("threads.get_by_id", &nowhere, 404),
        ("items.list", &nowhere, 404),
    ] {
        let person = app.person().await;
        assert_eq!(ask(&person, kind, params).await.status, status, "{kind}");
        app.get("/api/history").by(&person).send().await.refused(429, "rate_limited");
        ask(&person, "threads.list", &json!({})).await.refused(429, "rate_limited");
        // What changes something has its own count.
        for status in [404, 404, 429] {
            let answer = ask(&person, "threads.update", &nowhere).await;
            assert_eq!(answer.status, status, "{answer:?}");
        }
    }
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn commands_have_a_limit_of_their_own_at_every_door(db: PgPool) {
    let limits =
        [("RATE_LIMITS", "on"), ("COMMAND_LIMIT_USER_PER_MINUTE", "2"), ("REPLY_WAIT_SECONDS", "20")];
    // Without a limit: what takes its time is done here, before anything is counted.
    let without = TestApp::with(&db, &[limits[0], ("COMMAND_LIMIT_USER_PER_MINUTE", "0"), limits[2]]).await;
    let (person, other) = (without.person().await, without.person().await);
    let session = taken(&send(&without, &person, None).await)["session_id"].as_str().unwrap().to_owned();
    let path = format!("/api/history/{session}");
    let rename = async |app: &TestApp, title: &str| {
        app.call(Method::PATCH, &path).by(&person).json(&json!({"title": title})).send().await
    };
    let app = TestApp::with(&db, &limits).await;
    for title in ["one", "two"] {
        rename(&app, title).await.is(200);
    }
    let events = app.events().await;
    let refused = rename(&app, "three").await;
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
    for number in 0..20 {
        rename(&without, &format!("{number}")).await.is(200);
    }
    end_both(app, without).await;
}
