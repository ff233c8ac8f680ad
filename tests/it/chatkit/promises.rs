//! Tests guarantees of the ChatKit surface besides its formats: no lost acknowledged writes, read-your-writes,
//! idempotency, and robustness against model output.

use futures::future::join_all;
use serde_json::{Value, json};
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use super::support::{Kit, acting, answer_of, done, id_of, kinds, text, thread_of};
use crate::support::app::TestApp;

/// Returns a file with client tools; it exists as long as the returned handle.
fn tools() -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let tools =
        json!([{"name": "open_map", "description": "Opens the map", "parameters": {"type": "object"}}]);
    std::fs::write(file.path(), tools.to_string()).unwrap();
    file
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn malformed_tool_arguments_do_not_block_thread(db: PgPool) {
    let file = tools();
    let app = TestApp::with(&db, &[("CLIENT_TOOLS_FILE", file.path().to_str().unwrap())]).await;
    let person = app.person().await;
    let kit = Kit::new(&app, &person);
    // The message contains the escape as typed text; the scripted model turns it into U+0000.
    let (thread, events) = kit.create(r#"call open_map {"at\u0000":"x\u0000y"}"#).await;
    assert_eq!(done(&events, "client_tool_call")[0]["arguments"], json!({"at": "xy"}));
    let events = kit.add(&thread, r#"call ask_user {"questions":[{"question":"W\u0000hy?"}]}"#).await;
    assert_eq!(done(&events, "structured_input")[0]["inputs"][0]["question"], "Why?");
    let widget = r#"call show_widget {"copy_text":"a\u0000","widget":{"type":"Card","children":[{"type":"Text","value":"S\u0000aved"}]}}"#;
    let events = kit.add(&thread, widget).await;
    assert_eq!(done(&events, "widget")[0]["widget"]["children"][0]["value"], "Saved");

    // JSON that is too deep to be read back creates no item, and the thread stays readable.
    let deep = format!("call open_map {}1{}", r#"{"a":"#.repeat(120), "}".repeat(120));
    let events = kit.add(&thread, &deep).await;
    assert!(done(&events, "client_tool_call").is_empty(), "{:?}", kinds(&events));
    assert!(!kit.items(&thread).await.is_empty());
    let health = app.get("/health").send().await.is(200).value();
    assert_eq!(health["status"], "healthy");
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn concurrent_answers_accept_one_and_reject_others(db: PgPool) {
    let file = tools();
    let app = TestApp::with(&db, &[("CLIENT_TOOLS_FILE", file.path().to_str().unwrap())]).await;
    let person = app.person().await;
    let kit = Kit::new(&app, &person);
    let (thread, events) =
        kit.create(r#"call ask_user {"questions":[{"id":"q","question":"Which?"}]}"#).await;
    let item = id_of(done(&events, "structured_input")[0]);
    let answers = ["a", "b", "c", "d", "e", "f"].map(|value| {
        let answers = json!({"q": {"values": [value]}});
        let params = json!({"thread_id": thread, "item_id": item, "input": {"answers": answers}});
        kit.call("threads.add_structured_input", &params).send()
    });
    let taken: Vec<u16> = join_all(answers).await.into_iter().map(|answer| answer.status).collect();
    assert_eq!(taken.iter().filter(|status| **status == 200).count(), 1, "{taken:?}");
    assert_eq!(taken.iter().filter(|status| **status == 409).count(), 5, "{taken:?}");

    kit.add(&thread, r#"call open_map {"at":1}"#).await;
    let outputs = [1, 2, 3, 4].map(|n| {
        let params = json!({"thread_id": thread, "result": n});
        kit.call("threads.add_client_tool_output", &params).send()
    });
    let taken: Vec<u16> = join_all(outputs).await.into_iter().map(|answer| answer.status).collect();
    assert_eq!(taken.iter().filter(|status| **status == 200).count(), 1, "{taken:?}");
    let recorded: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM events WHERE event_type IN ('input_answered', 'client_tool_answered')",
    )
    .fetch_one(&db)
    .await
    .unwrap();
    assert_eq!(recorded, 2);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn old_question_can_still_be_answered(db: PgPool) {
    let app = TestApp::with(&db, &[("HISTORY_TURNS", "1")]).await;
    let person = app.person().await;
    let kit = Kit::new(&app, &person);
    let (thread, events) =
        kit.create(r#"call ask_user {"questions":[{"id":"q","question":"Which?"}]}"#).await;
    let item = id_of(done(&events, "structured_input")[0]);
    for n in 0..20 {
        app.say(&person, Some(&super::support::session_of(&thread)), &format!("number {n}")).await;
    }
    let input = json!({"answers": {"q": {"values": ["the last"]}}});
    let params = json!({"thread_id": thread, "item_id": item, "input": input});
    let events = kit.stream("threads.add_structured_input", params).await;
    assert!(answer_of(&events).contains("Which?: the last"), "{}", answer_of(&events));
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn action_effect_is_visible_to_next_read(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let kit = Kit::new(&app, &person);
    let (thread, events) = kit.create("quiz me on rust").await;
    let card = id_of(done(&events, "widget")[0]);
    let quiz = app.get(&format!("/api/quizzes/{}", &card[4..])).by(&person).send().await.is(200).value();
    let question = quiz["question"]["id"].clone();
    for n in 0..20 {
        let choice = quiz["question"]["options"][n % 2]["value"].clone();
        let params = acting(&thread, &card, "mcq.select", json!({"questionId": question, "answer": choice}));
        let answer = kit.ask("threads.sync_custom_action", params).await;
        assert!(answer.headers.contains_key("verbatim-position"));
        let acted = answer.is(200).value()["updated_item"].clone();
        let read = kit.items(&thread).await;
        assert_eq!(read.iter().find(|item| item["id"] == card), Some(&acted), "after {n} actions");
    }
    // Queries of this surface wait for a position like all others, and reject a malformed one.
    let call = kit.call("items.list", &json!({"thread_id": thread})).header("verbatim-position", "x");
    call.send().await.assert_error(400, "invalid_position");
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn keyed_retry_repeats_its_own_reply(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let kit = Kit::new(&app, &person);
    let (thread, events) = kit.create("Once").await;
    let message = id_of(done(&events, "user_message")[0]);
    let params = json!({"thread_id": thread, "item_id": message});
    let keyed = || kit.call("threads.retry_after_item", &params).key("again");
    let answer_id = |text: &str| {
        let events = super::support::parse(text.as_bytes());
        id_of(done(&events, "assistant_message")[0])
    };
    let first = answer_id(&keyed().send().await.is(200).text);
    let second = kit.stream("threads.retry_after_item", params.clone()).await;
    assert_ne!(id_of(done(&second, "assistant_message")[0]), first);
    // On an inactive branch by now, and still the response to that request.
    assert_eq!(answer_id(&keyed().send().await.is(200).text), first);
    let asked: i64 = sqlx::query_scalar("SELECT count(*) FROM events WHERE event_type = 'reply_requested'")
        .fetch_one(&db)
        .await
        .unwrap();
    assert_eq!(asked, 3);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn stop_writes_at_most_one_note_before_next_reply(db: PgPool) {
    let app = TestApp::with(&db, &[("SCRIPTED_WORDS_PER_SECOND", "20")]).await;
    let person = app.person().await;
    let kit = Kit::new(&app, &person);
    let mut thread = None;
    for _ in 0..6 {
        let params = json!({"input": text("A long story, please")});
        let mut stream = kit.open("threads.create", params).await;
        stream.read_until_more_than(5).await;
        let events = stream.events.clone();
        let (id, message) = (thread_of(&events), id_of(done(&events, "user_message")[0]));
        drop(stream);
        // Immediately, while the disconnect is still being processed.
        kit.stream("threads.retry_after_item", json!({"thread_id": id, "item_id": message})).await;
        thread = Some(id);
    }
    assert!(thread.is_some());
    app.wait_for_projections().await;
    let misplaced: Vec<Value> = sqlx::query_scalar(
        "SELECT note.payload FROM events AS note WHERE note.event_type = 'note_added' AND NOT EXISTS (
             SELECT FROM events AS end_of WHERE end_of.aggregate_id = note.aggregate_id
                 AND end_of.sequence = note.sequence - 1 AND end_of.event_type = 'reply_cancelled')",
    )
    .fetch_all(&db)
    .await
    .unwrap();
    assert_eq!(misplaced, Vec::<Value>::new(), "a note without the cancelled reply that it refers to");
    app.end().await;
}
