//! SQL in every place that takes text: taken literally or refused, never executed, never slow.

mod described;
mod frames;
mod params;

use std::time::{Duration, Instant};

use futures::future::join_all;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use sqlx::PgPool;
use verbatim::bootstrap::database::MIGRATOR;

use crate::support::app::{PASSWORD, TestApp};
use crate::support::client::{Answer, Call};

/// No answer may take longer: a statement that sleeps as the payloads say would.
const SOON: Duration = Duration::from_secs(1);
/// So many are asked at once.
const AT_ONCE: usize = 2;

/// A hundred payloads: every quoting, every end, comments, stacked statements, sleeps, unions, encodings.
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

/// The call's answer, which has to come soon and must not be a failure of ours.
async fn ask(call: Call, what: &str) -> Answer {
    let asked = Instant::now();
    let answer = call.send().await;
    assert!(asked.elapsed() < SOON, "{what} took {:?}", asked.elapsed());
    assert!(answer.status < 500, "{what}: {} {}", answer.status, answer.text);
    answer
}

/// Asks for one place with each of these payloads.
async fn ask_all(what: &str, payloads: &[String], call: impl Fn(&str) -> Call) {
    for some in payloads.chunks(AT_ONCE) {
        join_all(some.iter().map(async |payload| {
            ask(call(payload), &format!("{what}: {payload}")).await;
        }))
        .await;
    }
}

/// As it stands in an address.
fn coded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// S26.
#[sqlx::test(migrator = "MIGRATOR")]
async fn a_hundred_payloads_in_every_place_do_nothing(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let session = app.session(&person).await;
    let payloads = payloads();
    assert_eq!(payloads.len(), 100);
    for (number, payload) in payloads.iter().enumerate() {
        let coded = coded(payload);
        // Kept as it was sent, where it is text.
        let change = app.patch(&format!("/api/history/{session}")).by(&person);
        let titled = ask(change.json(&json!({"title": payload})), payload).await;
        if titled.status == 200 {
            assert_eq!(titled.value()["title"], payload.as_str());
        } else {
            titled.assert_error(400, "invalid_value");
        }
        // What is hashed is slow on purpose: each takes another one.
        if number % 7 == 0 {
            let body = json!({"email": person.email, "password": payload});
            ask(app.post("/auth/signin").json(&body), &format!("password at sign-in: {payload}")).await;
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
            ("id in a path", app.get(&format!("/api/history/{coded}")).by(&person)),
            ("reply in a path", app.get(&format!("/api/replies/{coded}")).by(&person)),
            ("file in a path", app.get(&format!("/files/{coded}")).by(&person)),
            ("cursor", app.get(&format!("/api/history/{session}?before={coded}")).by(&person)),
            ("page", app.get(&format!("/api/history?page={coded}")).by(&person)),
            ("days", app.get(&format!("/api/usage?days={coded}")).by(&person)),
            ("a name of a parameter", app.get(&format!("/api/history?{coded}=1")).by(&person)),
            ("ticket", app.get(&format!("/api/chat/ws?ticket={coded}"))),
            (
                "thread",
                app.post("/chatkit")
                    .by(&person)
                    .json(&json!({"type": "items.list", "params": {"thread_id": payload}})),
            ),
            ("type", app.post("/chatkit").by(&person).json(&json!({"type": payload, "params": {}}))),
        ] {
            ask(call, &format!("{what}: {payload}")).await;
        }
        // Headers hold no line breaks.
        let plain: String = payload.chars().filter(|c| !c.is_control()).collect();
        for header in
            ["idempotency-key", "x-request-id", "last-event-id", "verbatim-position", "accept-language"]
        {
            let call = app.post("/api/auth/logout").header(header, &plain).bearer("x");
            ask(call, &format!("{header}: {payload}")).await;
            let call = app.get("/api/history").by(&person).header(header, &plain);
            ask(call, &format!("{header}: {payload}")).await;
        }
    }
    // One key is one command, whatever it is called.
    let key = "x';DROP/**/TABLE/**/command_keys;--";
    let body = json!({"message": "keyed"});
    let first = app.post("/api/chat").by(&person).key(key).json(&body).send().await.is(200).value();
    let again = app.post("/api/chat").by(&person).key(key).json(&body).send().await.is(200).value();
    assert_eq!(first["message_id"], again["message_id"]);
    // A message is kept to the letter.
    let message = payloads.join("\n");
    let answer = app.say(&person, Some(&session), &message).await;
    app.wait_for_projections().await;
    let page = app.get(&format!("/api/history/{session}")).by(&person).send().await.is(200).value();
    let kept =
        |item: &Value| item["message_id"] == answer["user_message_id"] && item["text"] == message.as_str();
    assert!(page["items"].as_array().unwrap().iter().any(kept), "{page}");
    app.end().await;
}
