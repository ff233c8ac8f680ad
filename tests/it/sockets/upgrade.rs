//! Authentication of socket upgrades, origins, and connection limits.

use serde_json::json;
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use super::client::{Socket, open};
use crate::support::app::{Person, TestApp};

async fn ticket(app: &TestApp, person: &Person) -> String {
    let answer = app.post("/api/chat/ws/ticket").by(person).send().await.is(201);
    assert_eq!(answer.value()["expires_in"], 30);
    answer.field("ticket")
}

async fn status(app: &TestApp, query: &str, headers: &[(&str, &str)]) -> (u16, String) {
    match open(&app.address().to_string(), query, headers).await {
        Ok(_) => (101, String::new()),
        Err((status, body)) => (status, body["code"].as_str().unwrap_or_default().to_owned()),
    }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn only_header_query_token_or_ticket_opens_socket(db: PgPool) {
    let app = TestApp::start(&db).await;
    let (person, other) = (app.person().await, app.person().await);
    let bearer = format!("Bearer {}", person.access);
    let opened = (101, String::new());
    assert_eq!(status(&app, "", &[("authorization", &bearer)]).await, opened);
    assert_eq!(status(&app, &format!("?token={}", person.access), &[]).await, opened);
    assert_eq!(status(&app, &format!("?ticket={}", ticket(&app, &person).await), &[]).await, opened);

    let rejected = (401, "invalid_token".to_owned());
    let used = ticket(&app, &person).await;
    let signed_out = ticket(&app, &other).await;
    app.post("/api/auth/logout").by(&other).send().await.is(204);
    drop(open(&app.address().to_string(), &format!("?ticket={used}"), &[]).await.unwrap());
    for query in [
        String::new(),
        "?token=".to_owned(),
        "?token=rubbish".to_owned(),
        format!("?token={}", person.refresh),
        format!("?token={}", other.access),
        format!("?token={used}"),
        format!("?ticket={used}"),
        format!("?ticket={}", person.access),
        format!("?ticket={signed_out}"),
        "?ticket=vst_".to_owned(),
    ] {
        assert_eq!(status(&app, &query, &[]).await, rejected, "{query}");
    }
    let query = format!("?token={}", person.access);
    assert_eq!(
        status(&app, &query, &[("authorization", "Basic x")]).await,
        rejected,
        "the header takes precedence"
    );
    let twice = [("authorization", bearer.as_str()), ("authorization", bearer.as_str())];
    assert_eq!(status(&app, "", &twice).await, rejected);

    // A ticket opens only a socket, and creating one requires a token.
    let unused = ticket(&app, &person).await;
    app.get("/api/history").bearer(&unused).send().await.assert_error(401, "invalid_token");
    app.post("/api/chat/ws/ticket").send().await.assert_error(401, "invalid_token");
    app.post("/api/chat/ws/ticket").bearer(&unused).send().await.assert_error(401, "invalid_token");
    // Only sockets accept a token in the query.
    app.get(&format!("/api/history?token={}", person.access)).send().await.assert_error(401, "invalid_token");
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn ticket_expires(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let ticket = ticket(&app, &person).await;
    sqlx::query("UPDATE tickets SET ends_at = clock_timestamp()").execute(&db).await.unwrap();
    assert_eq!(status(&app, &format!("?ticket={ticket}"), &[]).await.0, 401);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn foreign_origin_and_plain_request_are_rejected(db: PgPool) {
    let app = TestApp::with(&db, &[("CORS_ORIGINS", "https://chat.example")]).await;
    let person = app.person().await;
    let query = format!("?token={}", person.access);
    let own = format!("http://{}", app.address());
    for origin in ["https://chat.example", own.as_str()] {
        assert_eq!(status(&app, &query, &[("origin", origin)]).await.0, 101, "{origin}");
    }
    for origin in ["null", "https://chat.example.evil", "https://evil.example"] {
        let rejected = status(&app, &query, &[("origin", origin)]).await;
        assert_eq!(rejected, (403, "origin_not_allowed".to_owned()), "{origin}");
    }
    app.get(&format!("/api/chat/ws{query}")).send().await.assert_error(426, "upgrade_required");
    app.post("/api/chat/ws").by(&person).send().await.assert_error(405, "method_not_allowed");
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn sockets_and_streams_are_limited_per_user(db: PgPool) {
    let limits =
        [("MAX_SOCKETS_PER_USER", "2"), ("MAX_STREAMS_PER_USER", "1"), ("SCRIPTED_WORDS_PER_SECOND", "20")];
    let app = TestApp::with(&db, &limits).await;
    let (person, other) = (app.person().await, app.person().await);
    let first = Socket::of(&app, &person).await;
    let _second = Socket::of(&app, &person).await;
    let bearer = format!("Bearer {}", person.access);
    let rejected = (429, "too_many_streams".to_owned());
    assert_eq!(status(&app, "", &[("authorization", &bearer)]).await, rejected);
    let _others = Socket::of(&app, &other).await;
    drop(first);
    app.wait_until("a socket slot is free", async || {
        status(&app, "", &[("authorization", &bearer)]).await.0 == 101
    })
    .await;

    let body = json!({"message": "word ".repeat(50)});
    let mut stream = app.post("/api/chat/stream").by(&person).json(&body).stream().await;
    stream.until("reply.delta").await;
    let events = app.events().await;
    app.post("/api/chat/stream").by(&person).json(&body).send().await.assert_error(429, "too_many_streams");
    assert_eq!(app.events().await, events, "a rejected request wrote events");
    drop(stream);
    app.end().await;
}

/// A ticket costs a row and a socket a task, so both count against the command limit.
#[sqlx::test(migrator = "MIGRATOR")]
async fn tickets_and_sockets_count_as_commands(db: PgPool) {
    let app = TestApp::with(&db, &[("RATE_LIMITS", "on"), ("COMMAND_LIMIT_USER_PER_MINUTE", "2")]).await;
    let (person, other) = (app.person().await, app.person().await);
    let unused = ticket(&app, &person).await;
    let bearer = format!("Bearer {}", person.access);
    assert_eq!(status(&app, "", &[("authorization", &bearer)]).await.0, 101);
    let rejected = (429, "rate_limited".to_owned());
    for (query, headers) in [
        (String::new(), vec![("authorization", bearer.as_str())]),
        (format!("?token={}", person.access), Vec::new()),
        (format!("?ticket={unused}"), Vec::new()),
    ] {
        assert_eq!(status(&app, &query, &headers).await, rejected, "{query}");
    }
    for call in [app.post("/api/chat/ws/ticket"), app.get("/api/chat/ws")] {
        let answer = call.by(&person).send().await;
        answer.assert_error(429, "rate_limited");
        assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
    }
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM tickets").fetch_one(&db).await.unwrap();
    assert_eq!(rows, 0, "a rejected request wrote a ticket");
    let query = format!("?ticket={}", ticket(&app, &other).await);
    assert_eq!(status(&app, &query, &[]).await.0, 101);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn sign_out_closes_socket_unless_reauthenticated(db: PgPool) {
    let app = TestApp::start(&db).await;
    let (person, other) = (app.person().await, app.person().await);
    let mut socket = Socket::of(&app, &person).await;
    // Another user's token is rejected.
    socket.send(json!({"type": "auth", "ref": "x", "token": other.access})).await;
    assert_eq!(socket.next().await.unwrap()["code"], "invalid_token");
    socket.send(json!({"type": "auth", "ref": "x", "token": "rubbish"})).await;
    assert_eq!(socket.next().await.unwrap()["code"], "invalid_token");
    // A second login of the same user takes over the socket, which then outlives the first login.
    let form = [("username", person.email.as_str()), ("password", crate::support::app::PASSWORD)];
    let second = app.post("/api/auth/login").form(&form).send().await.is(200).field("access_token");
    socket.send(json!({"type": "auth", "ref": "y", "token": second})).await;
    assert_eq!(socket.next().await.unwrap(), json!({"type": "accepted", "ref": "y"}));
    let mut stays = Socket::of(&app, &person).await;
    app.post("/api/auth/logout").by(&person).send().await.is(204);
    assert_eq!(stays.closed().await, 4401);
    socket.is_idle().await;
    app.post("/api/auth/logout").bearer(&second).send().await.is(204);
    assert_eq!(socket.closed().await, 4401);
    app.end().await;
}
