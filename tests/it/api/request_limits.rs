//! Tests the limits of unauthenticated requests, counted by client address, and of reads and commands, counted by
//! user in each process.
//!
//! The limits are so small that the next request is allowed only half a minute after the first, so a slow run is
//! rejected too.

use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;
use verbatim::schema::MIGRATOR;

use super::message_limits::{accepted, end_both, send};
use crate::security::smuggling::send_raw;
use crate::sockets::client::Socket;
use crate::support::app::{PASSWORD, Person, TestApp, WAIT_TIMEOUT};

/// Attempts count under the client's address on every surface and node; addresses claimed in headers are ignored.
#[sqlx::test(migrator = "MIGRATOR")]
async fn auth_attempts_are_limited_by_client_address(db: PgPool) {
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
    refused.assert_error(429, "too_many_attempts");
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
    // Signed-in users are not affected.
    send(&one, &person, None).await.is(200);
    let addresses: Vec<String> =
        sqlx::query_scalar("SELECT bucket FROM rate_limit_buckets").fetch_all(&db).await.unwrap();
    assert!(addresses.iter().all(|bucket| !bucket.contains("127.0.0.1")), "{addresses:?}");
    two.stop(WAIT_TIMEOUT).await;
    one.end().await;
}

/// Returns spellings that another server might treat as this route.
fn spellings(route: &str) -> Vec<String> {
    let (folder, last) = route.rsplit_once('/').unwrap();
    let (first, rest) = last.split_at(1);
    vec![
        route.to_uppercase(),
        format!("{folder}/{}{rest}", first.to_uppercase()),
        format!("{route}/"),
        format!("{route}//"),
        format!("/{route}"),
        format!("{folder}//{last}"),
        format!("{folder}/./{last}"),
        format!("{folder}/x/../{last}"),
        format!("{folder}/%2e/{last}"),
        format!("{folder}%2f{last}"),
        format!("{folder}/%{:02x}{rest}", first.as_bytes()[0]),
        format!("{folder}/%{:02X}{rest}?x=1", first.as_bytes()[0]),
        format!("{route}%2f"),
        format!("{route}%00"),
        format!("{route}%20"),
        format!("{route}%3fx=1"),
        format!("{route};x=1"),
        format!("{route}."),
    ]
}

/// Every spelling of a route either does not exist or counts as that route.
#[sqlx::test(migrator = "MIGRATOR")]
async fn route_spelling_does_not_evade_rate_limit(db: PgPool) {
    let limits = [
        ("RATE_LIMITS", "on"),
        ("SIGN_IN_LIMIT_ADDRESS_PER_MINUTE", "2"),
        // One of them is used up by the test's own user.
        ("REGISTER_LIMIT_ADDRESS_PER_HOUR", "3"),
        ("REFRESH_LIMIT_ADDRESS_PER_MINUTE", "2"),
        ("RESET_LIMIT_ADDRESS_PER_HOUR", "2"),
        ("RATE_LIMIT_USER_PER_MINUTE", "2"),
    ];
    let app = TestApp::with(&db, &limits).await;
    let person = app.person().await;
    let sign_in = json!({"username": person.email, "password": PASSWORD});
    let page_sign_in = json!({"email": person.email, "password": PASSWORD});
    let refresh = json!({"refresh_token": "rubbish"});
    let reset = json!({"token": "rubbish", "password": PASSWORD});
    let new = |n: u32| json!({"email": format!("new{n}@mail.example"), "password": PASSWORD});
    let message = json!({"message": "Hello"});
    // A route, its body and its status; and a route of another surface that shares the count, with its body.
    type BodyOf<'a> = &'a dyn Fn(u32) -> Value;
    let rows: [(&str, BodyOf<'_>, &str, &str, Value); 5] = [
        ("/api/auth/login", &|_| sign_in.clone(), "200", "/auth/signin", page_sign_in),
        ("/api/auth/register", &new, "201", "/auth/signup", new(90)),
        ("/api/auth/refresh", &|_| refresh.clone(), "401", "/api/auth/refresh", refresh.clone()),
        (
            "/api/auth/password/forgot",
            &|_| json!({"email": "x@mail.example"}),
            "202",
            "/api/auth/password/reset",
            reset,
        ),
        ("/api/chat", &|_| message.clone(), "200", "/api/chat/stream", message.clone()),
    ];
    for (route, body, taken, other, others_body) in rows {
        let post = async |start: &str, body: Value| {
            let body = body.to_string();
            let (token, length) = (&person.access, body.len());
            let headers = format!(
                "Host: x\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n"
            );
            let (statuses, answer) =
                send_raw(&app, &format!("POST {start}\r\n{headers}Connection: close\r\n\r\n{body}")).await;
            assert_eq!(statuses.len(), 1, "{start}: {answer}");
            statuses.into_iter().next().unwrap()
        };
        let spellings_have_no_effect = async || {
            let recorded = async || {
                let logins: i64 =
                    sqlx::query_scalar("SELECT count(*) FROM logins").fetch_one(&db).await.unwrap();
                (app.events().await, logins)
            };
            let before = recorded().await;
            for (n, spelling) in (0..).zip(spellings(route)) {
                let status = post(&format!("{spelling} HTTP/1.1"), body(n + 100)).await;
                assert!(["404", "405"].contains(&status.as_str()), "{spelling}: {status}");
            }
            assert_eq!(recorded().await, before, "{route}: another spelling had an effect");
        };
        spellings_have_no_effect().await;
        // The limit is unused so far; these forms are the route itself and use it up.
        let same = [
            format!("{route} HTTP/1.0"),
            format!("http://elsewhere.example{route} HTTP/1.1"),
            format!("{route}?x=1 HTTP/1.1"),
            format!("{route} HTTP/1.1"),
        ];
        for (n, start) in (0..).zip(&same) {
            let status = post(start, body(n)).await;
            assert_eq!(status, if n < 2 { taken } else { "429" }, "{start}");
        }
        for (n, start) in (10..).zip(&same) {
            assert_eq!(post(start, body(n)).await, "429", "{start}");
        }
        assert_eq!(post(&format!("{other} HTTP/1.1"), others_body).await, "429", "{other}");
        spellings_have_no_effect().await;
    }
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn clients_behind_trusted_proxy_are_limited_separately(db: PgPool) {
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
        "entries before the client's own address are claims of the client"
    );
    assert_eq!(from("198.51.100.2").await, 401);
    assert_eq!(
        [from("2001:db8::1").await, from("2001:db8::2").await, from("2001:db8::3").await],
        [401, 401, 429]
    );
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn reads_have_separate_rate_limit(db: PgPool) {
    let app = TestApp::with(&db, &[("RATE_LIMITS", "on"), ("READ_LIMIT_USER_PER_MINUTE", "2")]).await;
    let (person, other) = (app.person().await, app.person().await);
    for _ in 0..2 {
        app.get("/api/history").by(&person).send().await.is(200);
    }
    let refused = app.get("/api/users/me").by(&person).send().await;
    refused.assert_error(429, "rate_limited");
    assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);
    app.get("/api/history").by(&other).send().await.is(200);
    send(&app, &person, None).await.is(200);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn chatkit_queries_count_as_reads(db: PgPool) {
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
        app.get("/api/history").by(&person).send().await.assert_error(429, "rate_limited");
        ask(&person, "threads.list", &json!({})).await.assert_error(429, "rate_limited");
        // Commands are counted separately.
        for status in [404, 404, 429] {
            let answer = ask(&person, "threads.update", &nowhere).await;
            assert_eq!(answer.status, status, "{answer:?}");
        }
    }
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn commands_share_one_rate_limit_on_every_surface(db: PgPool) {
    let limits =
        [("RATE_LIMITS", "on"), ("COMMAND_LIMIT_USER_PER_MINUTE", "2"), ("REPLY_WAIT_SECONDS", "20")];
    // A node without a limit does the slow steps before anything is counted.
    let without = TestApp::with(&db, &[limits[0], ("COMMAND_LIMIT_USER_PER_MINUTE", "0"), limits[2]]).await;
    let (person, other) = (without.person().await, without.person().await);
    let session = accepted(&send(&without, &person, None).await)["session_id"].as_str().unwrap().to_owned();
    let path = format!("/api/history/{session}");
    let rename = async |app: &TestApp, title: &str| {
        app.call(Method::PATCH, &path).by(&person).json(&json!({"title": title})).send().await
    };
    let app = TestApp::with(&db, &limits).await;
    // Opening the socket is the first of the two commands.
    let mut socket = Socket::of(&app, &person).await;
    rename(&app, "one").await.is(200);
    let events = app.events().await;
    let refused = rename(&app, "two").await;
    refused.assert_error(429, "rate_limited");
    assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);
    send(&app, &person, Some(&session)).await.assert_error(429, "rate_limited");
    socket.send(json!({"type": "read", "session_id": session, "message_id": Uuid::from_u128(7)})).await;
    let error = socket.next_of("error", &["event"]).await;
    assert_eq!((&error["status"], &error["code"]), (&json!(429), &json!("rate_limited")), "{error}");
    assert_eq!(app.events().await, events);
    // Queries and other users are not limited.
    app.get(&path).by(&person).send().await.is(200);
    send(&app, &other, None).await.is(200);
    for number in 0..20 {
        rename(&without, &format!("{number}")).await.is(200);
    }
    end_both(app, without).await;
}
