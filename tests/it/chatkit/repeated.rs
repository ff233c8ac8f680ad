//! Tests repeated requests with one idempotency key, and limits that apply before a stream begins.

use serde_json::{Value, json};
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use super::sequences::{ASK, app_with_bank_and_tools, count_events, question_of};
use super::support::{Kit, acting, answer_of, assert_well_formed, done, id_of, kind, parse, text, thread_of};
use crate::support::app::TestApp;
use crate::support::client::Answer;

/// Sends a request with a key and returns the response.
async fn keyed(kit: Kit<'_>, key: &str, kind: &str, params: &Value) -> Answer {
    kit.call(kind, params).key(key).send().await
}

/// Sends a request with a key and returns the events of its stream.
async fn streamed(kit: Kit<'_>, key: &str, kind: &str, params: &Value) -> Vec<Value> {
    let (answer, bytes) = kit.call(kind, params).key(key).download().await;
    assert_eq!(answer.status, 200, "{kind}: {}", answer.text);
    let events = parse(&bytes);
    assert_well_formed(&events);
    events
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn keyed_requests_run_once(db: PgPool) {
    let folder = tempfile::tempdir().unwrap();
    let app = app_with_bank_and_tools(&db, folder.path(), &[]).await;
    let person = app.person().await;
    let kit = Kit::new(&app, &person);
    let twice = async |key: &str, kind: &str, params: Value| {
        let first = streamed(kit, key, kind, &params).await;
        let events = app.events().await;
        let again = streamed(kit, key, kind, &params).await;
        assert_eq!(app.events().await, events, "{kind} ran again");
        assert_eq!(again.last(), first.last(), "{kind}");
        let other = json!({"input": text("Something else")});
        keyed(kit, key, "threads.create", &other).await.assert_error(422, "idempotency_key_reused");
        first
    };
    let first = twice("create", "threads.create", json!({"input": text("Hello")})).await;
    let thread = thread_of(&first);
    let asked = id_of(done(&first, "user_message")[0]);
    let of = |more: Value| {
        let mut params = json!({"thread_id": thread});
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        params
    };
    let add = "threads.add_user_message";
    twice("call", add, of(json!({"input": text("call open_map {}")}))).await;
    // The call is no longer pending, but the repetition returns the first result.
    twice("output", "threads.add_client_tool_output", of(json!({"result": 1}))).await;
    let questions = twice("ask", add, of(json!({"input": text(ASK)}))).await;
    let item = id_of(done(&questions, "structured_input")[0]);
    twice("answer", "threads.add_structured_input", of(json!({"item_id": item, "input": {}}))).await;
    let begun = twice("quiz", add, of(json!({"input": text("quiz me on fruit")}))).await;
    let card = done(&begun, "widget")[0];
    let payload = json!({"questionId": question_of(&card["widget"]), "answer": "a", "attempt": 1});
    twice("submit", "threads.custom_action", acting(&thread, &id_of(card), "mcq.submit", payload)).await;
    twice("retry", "threads.retry_after_item", of(json!({"item_id": asked}))).await;
    assert_eq!(kit.items(&thread).await.len(), 2);

    for (key, kind, params) in [
        ("title", "threads.update", of(json!({"title": "Named"}))),
        ("feedback", "items.feedback", of(json!({"item_ids": [asked], "kind": "positive"}))),
        ("file", "attachments.create", json!({"name": "a.txt", "size": 5, "mime_type": "text/plain"})),
        ("delete", "threads.delete", of(json!({}))),
    ] {
        let first = keyed(kit, key, kind, &params).await.is(200).value();
        let events = app.events().await;
        let again = keyed(kit, key, kind, &params).await.is(200).value();
        assert_eq!(app.events().await, events, "{kind} ran again");
        assert_eq!(again.get("id"), first.get("id"), "{kind}");
    }
    keyed(kit, "", "threads.list", &json!({})).await.assert_error(400, "invalid_idempotency_key");
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn requests_over_limits_are_rejected_before_stream_begins(db: PgPool) {
    // Limit of open streams.
    let variables = [("CHAT_TITLES", "off"), ("SCRIPTED_FAULT", "hang"), ("MAX_STREAMS_PER_USER", "2")];
    let app = TestApp::with(&db, &variables).await;
    let (person, other) = (app.person().await, app.person().await);
    let kit = Kit::new(&app, &person);
    let hello = json!({"input": text("Hello")});
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut stream = kit.open("threads.create", hello.clone()).await;
        stream.read_until(|event| kind(event) == "stream_options").await;
        open.push(stream);
    }
    app.wait_until("both replies have begun", async || count_events(&app, "reply_begun").await == 2).await;
    let events = app.events().await;
    let refused = kit.ask("threads.create", hello.clone()).await;
    refused.assert_error(429, "too_many_streams");
    assert!(!refused.header("retry-after").is_empty());
    assert_eq!(app.events().await, events);
    kit.get("threads.list", json!({})).await;
    let mut theirs = Kit::new(&app, &other).open("threads.create", hello.clone()).await;
    theirs.read_until(|event| kind(event) == "stream_options").await;
    // Closing a stream frees its place.
    drop((open.pop(), theirs));
    app.wait_until("two replies were cancelled", async || count_events(&app, "reply_cancelled").await == 2)
        .await;
    let mut stream = kit.open("threads.create", hello.clone()).await;
    stream.read_until(|event| kind(event) == "stream_options").await;
    drop((open, stream));
    app.end().await;

    // Limits of messages per minute and of pending replies in a thread.
    let variables = [("CHAT_TITLES", "off"), ("RATE_LIMITS", "on"), ("RATE_LIMIT_SESSION_PER_MINUTE", "3")];
    let app = TestApp::with(&db, &variables).await;
    let person = app.person().await;
    let kit = Kit::new(&app, &person);
    let (thread, first) = kit.create("Hello").await;
    let asked = id_of(done(&first, "user_message")[0]);
    for _ in 0..2 {
        answer_of(&kit.add(&thread, "More").await);
    }
    let events = app.events().await;
    for (kind, params) in [
        ("threads.add_user_message", json!({"thread_id": thread, "input": text("Even more")})),
        ("threads.retry_after_item", json!({"thread_id": thread, "item_id": asked})),
    ] {
        let refused = kit.ask(kind, params).await;
        refused.assert_error(429, "rate_limited");
        assert!(!refused.header("retry-after").is_empty());
    }
    assert_eq!(app.events().await, events);
    kit.create("Elsewhere").await;
    app.end().await;
}
