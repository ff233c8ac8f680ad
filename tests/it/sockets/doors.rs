//! Who is let in.

use serde_json::json;
use sqlx::PgPool;
use verbatim::bootstrap::database::MIGRATOR;

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
async fn a_header_a_query_and_a_ticket_open_a_socket_and_nothing_else_does(db: PgPool) {
    let app = TestApp::start(&db).await;
    let (person, other) = (app.person().await, app.person().await);
    let bearer = format!("Bearer {}", person.access);
    let opened = (101, String::new());
    assert_eq!(status(&app, "", &[("authorization", &bearer)]).await, opened);
    assert_eq!(status(&app, &format!("?token={}", person.access), &[]).await, opened);
    assert_eq!(status(&app, &format!("?ticket={}", ticket(&app, &person).await), &[]).await, opened);

    let refused = (401, "invalid_token".to_owned());
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
        assert_eq!(status(&app, &query, &[]).await, refused, "{query}");
    }
    let query = format!("?token={}", person.access);
    assert_eq!(status(&app, &query, &[("authorization", "Basic x")]).await, refused, "the header counts");
    let twice = [("authorization", bearer.as_str()), ("authorization", bearer.as_str())];
    assert_eq!(status(&app, "", &twice).await, refused);

    // A ticket opens nothing but a socket, and somebody without a token gets none.
    let unused = ticket(&app, &person).await;
    app.get("/api/history").bearer(&unused).send().await.refused(401, "invalid_token");
    app.post("/api/chat/ws/ticket").send().await.refused(401, "invalid_token");
    app.post("/api/chat/ws/ticket").bearer(&unused).send().await.refused(401, "invalid_token");
    // Only sockets take a token in the query.
    app.get(&format!("/api/history?token={}", person.access)).send().await.refused(401, "invalid_token");
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_ticket_runs_out(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let ticket = ticket(&app, &person).await;
    sqlx::query("UPDATE tickets SET ends_at = clock_timestamp()").execute(&db).await.unwrap();
    assert_eq!(status(&app, &format!("?ticket={ticket}"), &[]).await.0, 401);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn pages_of_foreign_origins_and_what_is_no_upgrade_are_refused(db: PgPool) {
    let app = TestApp::with(&db, &[("CORS_ORIGINS", "https://chat.example")]).await;
    let person = app.person().await;
    let query = format!("?token={}", person.access);
    let own = format!("http://{}", app.address());
    for origin in ["https://chat.example", own.as_str()] {
        assert_eq!(status(&app, &query, &[("origin", origin)]).await.0, 101, "{origin}");
    }
    for origin in ["null", "https://chat.example.evil", "https://evil.example"] {
        let refused = status(&app, &query, &[("origin", origin)]).await;
        assert_eq!(refused, (403, "origin_not_allowed".to_owned()), "{origin}");
    }
    app.get(&format!("/api/chat/ws{query}")).send().await.refused(426, "upgrade_required");
    app.post("/api/chat/ws").by(&person).send().await.refused(405, "method_not_allowed");
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_person_has_so_many_sockets_and_streams_at_a_time(db: PgPool) {
    let limits =
        [("MAX_SOCKETS_PER_USER", "2"), ("MAX_STREAMS_PER_USER", "1"), ("SCRIPTED_WORDS_PER_SECOND", "20")];
    let app = TestApp::with(&db, &limits).await;
    let (person, other) = (app.person().await, app.person().await);
    let first = Socket::of(&app, &person).await;
    let _second = Socket::of(&app, &person).await;
    let bearer = format!("Bearer {}", person.access);
    let refused = (429, "too_many_streams".to_owned());
    assert_eq!(status(&app, "", &[("authorization", &bearer)]).await, refused);
    let _others = Socket::of(&app, &other).await;
    drop(first);
    app.until("the place is free again", async || {
        status(&app, "", &[("authorization", &bearer)]).await.0 == 101
    })
    .await;

    let body = json!({"message": "word ".repeat(50)});
    let mut stream = app.post("/api/chat/stream").by(&person).json(&body).stream().await;
    stream.until("reply.delta").await;
    let events = app.events().await;
    app.post("/api/chat/stream").by(&person).json(&body).send().await.refused(429, "too_many_streams");
    assert_eq!(app.events().await, events, "what was refused was taken");
    drop(stream);
    app.end().await;
}

/// A ticket is a row, and a socket a task: neither is for nothing.
#[sqlx::test(migrator = "MIGRATOR")]
async fn tickets_and_sockets_count_as_commands(db: PgPool) {
    let app = TestApp::with(&db, &[("RATE_LIMITS", "on"), ("COMMAND_LIMIT_USER_PER_MINUTE", "2")]).await;
    let (person, other) = (app.person().await, app.person().await);
    let unused = ticket(&app, &person).await;
    let bearer = format!("Bearer {}", person.access);
    assert_eq!(status(&app, "", &[("authorization", &bearer)]).await.0, 101);
    let refused = (429, "rate_limited".to_owned());
    for (query, headers) in [
        (String::new(), vec![("authorization", bearer.as_str())]),
        (format!("?token={}", person.access), Vec::new()),
        (format!("?ticket={unused}"), Vec::new()),
    ] {
        assert_eq!(status(&app, &query, &headers).await, refused, "{query}");
    }
    for call in [app.post("/api/chat/ws/ticket"), app.get("/api/chat/ws")] {
        let answer = call.by(&person).send().await;
        answer.refused(429, "rate_limited");
        assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
    }
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM tickets").fetch_one(&db).await.unwrap();
    assert_eq!(rows, 0, "what was refused was written");
    let query = format!("?ticket={}", ticket(&app, &other).await);
    assert_eq!(status(&app, &query, &[]).await.0, 101);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn signing_out_closes_and_a_new_token_of_the_same_person_goes_on(db: PgPool) {
    let app = TestApp::start(&db).await;
    let (person, other) = (app.person().await, app.person().await);
    let mut socket = Socket::of(&app, &person).await;
    // Another person's token changes nothing.
    socket.send(json!({"type": "auth", "ref": "x", "token": other.access})).await;
    assert_eq!(socket.next().await.unwrap()["code"], "invalid_token");
    socket.send(json!({"type": "auth", "ref": "x", "token": "rubbish"})).await;
    assert_eq!(socket.next().await.unwrap()["code"], "invalid_token");
    // A second login of the same person takes the socket over: it outlives the first one.
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
