//! Tests SQL injection in every input that takes text: payloads are stored literally or rejected, never executed,
//! never slow.

mod described;
mod frames;
mod params;

use std::time::{Duration, Instant};

use futures::future::join_all;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use crate::support::app::{PASSWORD, TestApp};
use crate::support::client::{Answer, Call};

/// Limit for every response; a payload's sleep, if executed, would exceed it.
const MAX_RESPONSE_TIME: Duration = Duration::from_secs(1);
/// Number of concurrent requests.
const CONCURRENCY: usize = 2;

/// Returns a hundred payloads: all quotings and terminators, comments, stacked statements, sleeps, unions, encodings.
fn payloads() -> Vec<String> {
    let quotes = ["'", "\"", "')", "\")", "'))", "`", "\\'", "''", "$$", "%27"];
    let tails = [
        " OR 1=1 --",
        " OR '1'='1",
        "; DROP TABLE events; --",
        "; SELECT pg_sleep(5); --",
        " UNION SELECT null, null, null --",
        " AND 1=(SELECT count(*) FROM events)/*",
        "||pg_sleep(5)||",
        "; COPY events TO '/tmp/x'; --",
        "::int",
        ";\r\nTRUNCATE events;\t--",
    ];
    quotes.iter().flat_map(|quote| tails.iter().map(move |tail| format!("x{quote}{tail}"))).collect()
}

/// Sends the call and checks that the response is fast and not a 5xx.
async fn send_payload(call: Call, what: &str) -> Answer {
    let started = Instant::now();
    let answer = call.send().await;
    assert!(started.elapsed() < MAX_RESPONSE_TIME, "{what} took {:?}", started.elapsed());
    assert!(answer.status < 500, "{what}: {} {}", answer.status, answer.text);
    answer
}

/// Sends each payload in one input.
async fn send_payloads(what: &str, payloads: &[String], call: impl Fn(&str) -> Call) {
    for some in payloads.chunks(CONCURRENCY) {
        join_all(some.iter().map(async |payload| {
            send_payload(call(payload), &format!("{what}: {payload}")).await;
        }))
        .await;
    }
}

/// Percent-encodes a text for a URL.
fn percent_encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn sql_payloads_in_common_inputs_have_no_effect(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let session = app.session(&person).await;
    let payloads = payloads();
    assert_eq!(payloads.len(), 100);
    for (number, payload) in payloads.iter().enumerate() {
        let encoded = percent_encoded(payload);
        // A title is stored literally.
        let change = app.patch(&format!("/api/history/{session}")).by(&person);
        let titled = send_payload(change.json(&json!({"title": payload})), payload).await;
        if titled.status == 200 {
            assert_eq!(titled.value()["title"], payload.as_str());
        } else {
            titled.assert_error(400, "invalid_value");
        }
        // Password hashing is slow by design: only some payloads are sent.
        if number % 7 == 0 {
            let body = json!({"email": person.email, "password": payload});
            send_payload(app.post("/auth/signin").json(&body), &format!("password at sign-in: {payload}"))
                .await;
        }
        for (what, call) in [
            (
                "name at sign-in",
                app.post("/api/auth/login").json(&json!({"username": payload, "password": PASSWORD})),
            ),
            (
                "address at registration",
                app.post("/api/auth/register").json(&json!({"email": payload, "password": PASSWORD})),
            ),
            ("refresh token", app.post("/api/auth/refresh").json(&json!({"refresh_token": payload}))),
            (
                "session",
                app.post("/api/chat").by(&person).json(&json!({"message": "x", "session_id": payload})),
            ),
            ("topic", app.post("/api/quizzes").by(&person).json(&json!({"topic": payload}))),
            ("id in a path", app.get(&format!("/api/history/{encoded}")).by(&person)),
            ("reply in a path", app.get(&format!("/api/replies/{encoded}")).by(&person)),
            ("file in a path", app.get(&format!("/files/{encoded}")).by(&person)),
            ("cursor", app.get(&format!("/api/history/{session}?before={encoded}")).by(&person)),
            ("page", app.get(&format!("/api/history?page={encoded}")).by(&person)),
            ("days", app.get(&format!("/api/usage?days={encoded}")).by(&person)),
            ("parameter name", app.get(&format!("/api/history?{encoded}=1")).by(&person)),
            ("ticket", app.get(&format!("/api/chat/ws?ticket={encoded}"))),
            (
                "thread",
                app.post("/chatkit")
                    .by(&person)
                    .json(&json!({"type": "items.list", "params": {"thread_id": payload}})),
            ),
            ("type", app.post("/chatkit").by(&person).json(&json!({"type": payload, "params": {}}))),
        ] {
            send_payload(call, &format!("{what}: {payload}")).await;
        }
        // Headers cannot contain line breaks.
        let plain: String = payload.chars().filter(|c| !c.is_control()).collect();
        for header in
            ["idempotency-key", "x-request-id", "last-event-id", "verbatim-position", "accept-language"]
        {
            let call = app.post("/api/auth/logout").header(header, &plain).bearer("x");
            send_payload(call, &format!("{header}: {payload}")).await;
            let call = app.get("/api/history").by(&person).header(header, &plain);
            send_payload(call, &format!("{header}: {payload}")).await;
        }
    }
    // A payload as idempotency key identifies one command.
    let key = "x';DROP/**/TABLE/**/command_keys;--";
    let body = json!({"message": "keyed"});
    let first = app.post("/api/chat").by(&person).key(key).json(&body).send().await.is(200).value();
    let again = app.post("/api/chat").by(&person).key(key).json(&body).send().await.is(200).value();
    assert_eq!(first["message_id"], again["message_id"]);
    // A message is stored literally.
    let message = payloads.join("\n");
    let answer = app.say(&person, Some(&session), &message).await;
    app.wait_for_projections().await;
    let page = app.get(&format!("/api/history/{session}")).by(&person).send().await.is(200).value();
    let kept =
        |item: &Value| item["message_id"] == answer["user_message_id"] && item["text"] == message.as_str();
    assert!(page["items"].as_array().unwrap().iter().any(kept), "{page}");
    app.end().await;
}
