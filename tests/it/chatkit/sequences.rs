//! Tests the response to each request, event by event, against transcripts; and its effect on the log and on other
//! surfaces.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use super::support::{Kit, answer_of, done, id_of, kind, kinds, session_of, text, thread_of};
use super::transcript::Transcript;
use crate::support::app::TestApp;
use crate::support::openai_server::{Act, Ending, KEY, OpenAiServer};

/// Returns variables for a bank of two questions that differ only in the id, so that their order does not matter, and
/// a client tool.
pub(super) fn bank_and_tools(folder: &Path) -> [(&'static str, PathBuf); 2] {
    let question = |id: &str| {
        json!({
            "id": id,
            "prompt": "What colour is a lemon?",
            "options": [{"value": "a", "label": "Blue"}, {"value": "b", "label": "Yellow"}, {"value": "c", "label": "Red"}],
            "correct": "b",
            "hint": "Think of the sun.",
            "explanation": "Lemons are yellow when they are ripe.",
        })
    };
    let questions = [question("q1"), question("q2")];
    let bank = json!({"topics": [{"name": "fruit", "title": "Fruit", "questions": questions}]});
    let tools =
        json!([{"name": "open_map", "description": "Opens the map.", "parameters": {"type": "object"}}]);
    [("QUIZ_FILE", bank), ("CLIENT_TOOLS_FILE", tools)].map(|(name, content)| {
        let path = folder.join(name);
        std::fs::write(&path, content.to_string()).unwrap();
        (name, path)
    })
}

/// Starts an app with a bank of two questions and a client tool, and without titles unless these variables enable them.
pub(super) async fn app_with_bank_and_tools(db: &PgPool, folder: &Path, more: &[(&str, &str)]) -> TestApp {
    let files = bank_and_tools(folder);
    let mut variables = vec![("QUIZ_LENGTH", "2")];
    if !more.iter().any(|(name, _)| *name == "CHAT_TITLES") {
        variables.push(("CHAT_TITLES", "off"));
    }
    variables.extend(files.iter().map(|(name, path)| (*name, path.to_str().unwrap())));
    variables.extend_from_slice(more);
    TestApp::with(db, &variables).await
}

fn create(input: Value) -> Value {
    json!({"input": input})
}

/// A call with three questions, one of each form.
pub(super) const ASK: &str = r#"call ask_user {"questions": [
    {"id": "size", "question": "Which size?", "options": ["S", "M", "L"]},
    {"id": "toppings", "question": "What on top?", "options": ["nuts", "plums"], "multiple": true},
    {"id": "wishes", "question": "Anything else?", "description": "In your own words."}]}"#;

pub(super) const WIDGET: &str = r#"call show_widget {"copy_text": "Saved", "widget": {"type": "Card", "children": [
    {"type": "Text", "id": "body", "value": "Saved"},
    {"type": "Button", "label": "Undo", "onClickAction": {"type": "undo", "payload": {"id": 7}}}]}}"#;

/// Counts the events of this type in the log.
pub(super) async fn count_events(app: &TestApp, event_type: &str) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM events WHERE event_type = $1")
        .bind(event_type)
        .fetch_one(&app.db)
        .await
        .unwrap()
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn messages_and_retries_match_transcripts(db: PgPool) {
    let folder = tempfile::tempdir().unwrap();
    let app = app_with_bank_and_tools(&db, folder.path(), &[]).await;
    let person = app.person().await;
    let kit = Kit::new(&app, &person);

    let mut talk = Transcript::of(kit);
    let events = talk.stream("threads.create", create(text("Good morning"))).await;
    let thread = thread_of(&events);
    assert!(answer_of(&events).contains("You said: \"Good morning\""));
    talk.check("create");

    let mut talk = Transcript::of(kit);
    talk.stream("threads.add_user_message", json!({"thread_id": thread, "input": text("And now?")})).await;
    let by_id = talk.get("threads.get_by_id", json!({"thread_id": thread})).await;
    assert_eq!(by_id["items"]["data"].as_array().unwrap().len(), 4);
    talk.check("add_user_message");

    // A message with every field; quoted text and tags reach the provider.
    let mut talk = Transcript::of(kit);
    let input = json!({
        "content": [
            {"type": "input_text", "text": "See "},
            {"type": "input_tag", "id": "d1", "text": "plan", "data": {"page": null, "deep": {"n": 1.5}}, "group": "Papers", "interactive": true},
            {"type": "input_tag", "id": "d2", "text": "map", "data": {}},
        ],
        "attachments": [],
        "quoted_text": "as said before",
        "inference_options": {"tool_choice": null, "model": null},
    });
    let events = talk.stream("threads.create", create(input)).await;
    let answer = answer_of(&events);
    assert!(answer.contains("<quoted>\nas said before\n</quoted>") && answer.contains("See @plan@map"));
    talk.check("composed");

    // Retry: items after the message disappear everywhere except in the log.
    let mut talk = Transcript::of(kit);
    let events = talk.stream("threads.create", create(text("First"))).await;
    let thread = thread_of(&events);
    let first = id_of(done(&events, "user_message")[0]);
    let old = id_of(done(&events, "assistant_message")[0]);
    kit.add(&thread, "Second").await;
    let completed = count_events(&app, "reply_completed").await;
    let retry = json!({"thread_id": thread, "item_id": first});
    let again = talk.stream("threads.retry_after_item", retry).await;
    let new = id_of(done(&again, "assistant_message")[0]);
    assert_ne!(old, new);
    talk.get("items.list", json!({"thread_id": thread})).await;
    let not_mine = json!({"thread_id": thread, "item_id": new});
    talk.refused("threads.retry_after_item", not_mine, 400, "not_a_message").await;
    let gone = json!({"thread_id": thread, "item_id": old});
    talk.refused("threads.retry_after_item", gone, 404, "not_found").await;
    talk.check("retry");
    let history =
        app.get(&format!("/api/history/{}", session_of(&thread))).by(&person).send().await.is(200).value();
    let texts: Vec<&str> =
        history["items"].as_array().unwrap().iter().map(|item| item["text"].as_str().unwrap()).collect();
    assert_eq!(texts, ["First", answer_of(&again)]);
    assert_eq!(count_events(&app, "reply_completed").await, completed + 1, "the log keeps both");
    assert_eq!(count_events(&app, "branch_begun").await, 1);
    // Another retry, in a thread with later items.
    kit.add(&thread, "Third").await;
    let retry = json!({"thread_id": thread, "item_id": first});
    kit.stream("threads.retry_after_item", retry).await;
    assert_eq!(kit.items(&thread).await.len(), 2);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn reply_items_and_questions_match_transcripts(db: PgPool) {
    let folder = tempfile::tempdir().unwrap();
    let app = app_with_bank_and_tools(&db, folder.path(), &[]).await;
    let person = app.person().await;
    let kit = Kit::new(&app, &person);

    let map = r#"call open_map {"place": "harbour", "zoom": null}"#;
    for (name, result) in
        [("client_tool", json!({"shown": true, "at": null})), ("client_tool_null", json!(null))]
    {
        let mut talk = Transcript::of(kit);
        let thread = thread_of(&talk.stream("threads.create", create(text(map))).await);
        let output = json!({"thread_id": thread, "result": result});
        let events = talk.stream("threads.add_client_tool_output", output.clone()).await;
        assert!(answer_of(&events).contains(&format!("The tool open_map has returned: {result}")));
        talk.refused("threads.add_client_tool_output", output, 409, "not_pending").await;
        talk.get("items.list", json!({"thread_id": thread, "order": "asc"})).await;
        talk.check(name);
    }
    // A call is no longer pending once the user sends another message.
    let (thread, _) = kit.create(map).await;
    kit.add(&thread, "Never mind").await;
    let late = kit.ask("threads.add_client_tool_output", json!({"thread_id": thread, "result": 1})).await;
    late.assert_error(409, "not_pending");

    let mut talk = Transcript::of(kit);
    let events = talk.stream("threads.create", create(text(ASK))).await;
    let (thread, item) = (thread_of(&events), id_of(done(&events, "structured_input")[0]));
    let answers = json!({
        "size": {"values": ["XXL", "S"]},
        "toppings": {"values": ["plums", "own wish"], "skipped": false},
        "stranger": {"values": ["x"]},
    });
    let submit = json!({"thread_id": thread, "item_id": item, "input": {"answers": answers}});
    let events = talk.stream("threads.add_structured_input", submit.clone()).await;
    assert_eq!(kinds(&events)[..2], ["stream_options", "thread.item.replaced"]);
    let answer = answer_of(&events);
    for line in ["Which size?: XXL", "What on top?: plums, own wish", "Anything else?: (skipped)"] {
        assert!(answer.contains(line), "{answer}");
    }
    talk.refused("threads.add_structured_input", submit, 409, "not_pending").await;
    talk.get("items.list", json!({"thread_id": thread, "order": "asc"})).await;
    talk.check("structured_input_answered");

    let mut talk = Transcript::of(kit);
    let events = talk.stream("threads.create", create(text(ASK))).await;
    let (thread, item) = (thread_of(&events), id_of(done(&events, "structured_input")[0]));
    let input = json!({"status": "skipped", "answers": {"size": {"values": ["S"]}}});
    let submit = json!({"thread_id": thread, "item_id": item, "input": input});
    talk.stream("threads.add_structured_input", submit).await;
    let message = kit.items(&thread).await[0].clone();
    let wrong = json!({"thread_id": thread, "item_id": message["id"], "input": {}});
    talk.refused("threads.add_structured_input", wrong, 409, "not_pending").await;
    talk.check("structured_input_skipped");

    let mut talk = Transcript::of(kit);
    let mut input = text("Where is it?");
    input["inference_options"] = json!({"tool_choice": {"id": "open_map"}});
    let events = talk.stream("threads.create", create(input)).await;
    assert_eq!(done(&events, "client_tool_call")[0]["arguments"], json!({"message": "Where is it?"}));
    // An unknown tool cannot be chosen.
    let mut input = text("And this?");
    input["inference_options"] = json!({"tool_choice": {"id": "unheard_of"}});
    let before = app.events().await;
    let add = json!({"thread_id": thread_of(&events), "input": input});
    talk.refused("threads.add_user_message", add, 400, "unknown_tool").await;
    assert_eq!(app.events().await, before);
    talk.check("tool_choice");

    let mut talk = Transcript::of(kit);
    let events = talk.stream("threads.create", create(text(WIDGET))).await;
    let (thread, item) = (thread_of(&events), id_of(done(&events, "widget")[0]));
    talk.check("widget");
    let mut talk = Transcript::of(kit);
    let action = json!({"type": "undo", "payload": {"id": 7}, "handler": "server"});
    let act = json!({"thread_id": thread, "item_id": item, "action": action});
    talk.stream("threads.custom_action", act.clone()).await;
    talk.get("threads.sync_custom_action", act).await;
    assert_eq!(count_events(&app, "note_added").await, 2, "only the model gets the note");
    talk.get("items.list", json!({"thread_id": thread, "order": "asc"})).await;
    let after =
        talk.stream("threads.add_user_message", json!({"thread_id": thread, "input": text("Done?")})).await;
    assert!(answer_of(&after).contains("Turns seen: "));
    talk.check("action_of_a_widget");
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn actions_match_transcripts(db: PgPool) {
    let folder = tempfile::tempdir().unwrap();
    let app = app_with_bank_and_tools(&db, folder.path(), &[]).await;
    let person = app.person().await;
    let kit = Kit::new(&app, &person);

    let mut talk = Transcript::of(kit);
    let events = talk.stream("threads.create", create(text("Please quiz me on fruit!"))).await;
    let (thread, card) = (thread_of(&events), done(&events, "widget")[0].clone());
    let quiz = id_of(&card);
    let said = id_of(done(&events, "user_message")[0]);
    let answered = done(&events, "assistant_message").len();
    assert_eq!(answered, 1);
    let first = question_of(&card["widget"]);
    let second = if first == "q1" { "q2" } else { "q1" };
    let act = |name: &str, question: &str, more: Value| {
        let mut payload = json!({"questionId": question, "index": 1});
        payload.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"thread_id": thread, "item_id": quiz, "action": {"type": name, "payload": payload}})
    };
    let steps = [
        ("mcq.select", first.as_str(), json!({"answer": "a"}), true),
        ("mcq.submit", &first, json!({"answer": "a", "attempt": 1}), true),
        // The same click again, and a stale card in another tab.
        ("mcq.submit", &first, json!({"answer": "a", "attempt": 1}), false),
        ("mcq.submit", &first, json!({"answer": "c", "attempt": 1}), false),
        ("mcq.clear", &first, json!({}), true),
        // Not allowed yet.
        ("mcq.next", &first, json!({}), false),
        ("mcq.submit", &first, json!({"answer": "b", "attempt": 2}), true),
        ("mcq.next", &first, json!({}), true),
        ("mcq.next", &first, json!({}), false),
        ("mcq.submit", second, json!({"answer": "b", "attempt": 1}), true),
        ("mcq.finish", second, json!({}), true),
        ("mcq.submit", second, json!({"answer": "a", "attempt": 2}), false),
    ];
    let mut quiz_talk = Transcript::of(kit);
    for (name, question, more, changes) in steps {
        let events = app.events().await;
        let answer = quiz_talk.stream("threads.custom_action", act(name, question, more.clone())).await;
        assert_eq!(app.events().await > events, changes, "{name} {more}: {:?}", kinds(&answer));
        let last = answer.last().unwrap();
        assert_eq!(last["update"]["type"], "widget.root.updated", "{name}");
        assert_eq!(last["item_id"], quiz);
        let notice = answer.iter().any(|event| kind(event) == "notice");
        assert!(!(notice && changes), "{name} {more}");
    }
    named(quiz_talk, &first).check("action_of_a_quiz");

    // Synchronous actions.
    let events = kit.stream("threads.create", create(text("quiz me on fruit"))).await;
    let (thread, card) = (thread_of(&events), done(&events, "widget")[0].clone());
    let (quiz, first) = (id_of(&card), question_of(&card["widget"]));
    let mut talk = Transcript::of(kit);
    let sync = |name: &str| {
        let payload = json!({"questionId": first, "answer": "b"});
        json!({"thread_id": thread, "item_id": quiz, "action": {"type": name, "payload": payload}})
    };
    for name in ["mcq.select", "mcq.submit", "mcq.submit", "mcq.unheard_of"] {
        talk.get("threads.sync_custom_action", sync(name)).await;
    }
    named(talk, &first).check("action_synchronous");

    // Unknown actions, and actions without a widget.
    let mut talk = Transcript::of(kit);
    let events = app.events().await;
    let nothing = |payload: Value| json!({"thread_id": thread, "item_id": quiz, "action": {"type": "other", "payload": payload}});
    talk.stream("threads.custom_action", nothing(json!({"questionId": "q1"}))).await;
    talk.stream("threads.custom_action", nothing(json!(null))).await;
    let no_sender =
        json!({"thread_id": thread, "action": {"type": "mcq.next", "payload": {"questionId": "q1"}}});
    talk.stream("threads.custom_action", no_sender).await;
    let message = kit.items(&thread).await[0]["id"].clone();
    assert_ne!(message, json!(said));
    let from_message = json!({"thread_id": thread, "item_id": message, "action": {"type": "mcq.next"}});
    talk.stream("threads.custom_action", from_message.clone()).await;
    talk.get("threads.sync_custom_action", from_message).await;
    assert_eq!(app.events().await, events);
    talk.check("action_that_is_none");
    app.end().await;
}

/// Returns the id of the question on a card.
pub(super) fn question_of(widget: &Value) -> String {
    let form = &widget["children"][2];
    form["onSubmitAction"]["payload"]["questionId"]
        .as_str()
        .unwrap_or_else(|| panic!("{widget:#}"))
        .to_owned()
}

/// Renames the questions in a transcript by their order, which is random.
fn named<'a>(talk: Transcript<'a>, first: &str) -> Transcript<'a> {
    let second = if first == "q1" { "q2" } else { "q1" };
    talk.renamed(&[(first, "<first question>"), (second, "<second question>")])
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn thread_is_titled_once_during_first_reply(db: PgPool) {
    let folder = tempfile::tempdir().unwrap();
    // Slow enough that the title is ready before the reply ends.
    let variables = [("CHAT_TITLES", "on"), ("SCRIPTED_WORDS_PER_SECOND", "40")];
    let app = app_with_bank_and_tools(&db, folder.path(), &variables).await;
    let person = app.person().await;
    let kit = Kit::new(&app, &person);
    let mut talk = Transcript::of(kit);
    let events = talk.stream("threads.create", create(text("Apples and pears"))).await;
    let thread = thread_of(&events);
    assert_eq!(events[0]["thread"].get("title"), None);
    let last = events.last().unwrap();
    assert_eq!((kind(last), &last["thread"]["title"]), ("thread.updated", &json!("Apples and pears")));
    // The title is not sent again, and a title set by the user stays.
    let add = |said: &str| json!({"thread_id": thread, "input": text(said)});
    let events = talk.stream("threads.add_user_message", add("More")).await;
    assert!(!kinds(&events).contains(&"thread.updated"));
    talk.get("threads.update", json!({"thread_id": thread, "title": "Fruit"})).await;
    talk.get("threads.list", json!({})).await;
    talk.get("threads.update", json!({"thread_id": thread, "title": ""})).await;
    talk.check("titled");
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn failures_and_restarts_match_transcripts(db: PgPool) {
    let folder = tempfile::tempdir().unwrap();
    for (name, fault) in [("failed", "500"), ("failed_midway", "cut")] {
        let variables = [("SCRIPTED_FAULT", fault), ("REPLY_MAX_ATTEMPTS", "1")];
        let app = app_with_bank_and_tools(&db, folder.path(), &variables).await;
        let person = app.person().await;
        let mut talk = Transcript::of(Kit::new(&app, &person));
        let events = talk.stream("threads.create", create(text("Good morning"))).await;
        assert_eq!(kind(events.last().unwrap()), "error");
        talk.get("items.list", json!({"thread_id": thread_of(&events), "order": "asc"})).await;
        talk.check(name);
        app.end().await;
    }
    // The first attempt is cut off, slowly enough that the stream is open before; the second one completes.
    let (deltas, pause) = (["Good ", "mor"].map(str::to_owned).to_vec(), Duration::from_secs(1));
    let cut = Act::Reply { deltas, pause, ending: Ending::Nothing };
    let server = OpenAiServer::start([cut, Act::reply(&["Good ", "morning."])]).await;
    let url = server.base_url();
    let variables = [("OPENAI_API_KEY", KEY), ("OPENAI_BASE_URL", url.as_str())];
    let app = app_with_bank_and_tools(&db, folder.path(), &variables).await;
    let person = app.person().await;
    let mut talk = Transcript::of(Kit::new(&app, &person));
    let events = talk.stream("threads.create", create(text("Good morning"))).await;
    assert_eq!(answer_of(&events), "Good morning.");
    talk.get("items.list", json!({"thread_id": thread_of(&events), "order": "asc"})).await;
    talk.check("restart");
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn stream_begins_in_order_while_projections_lag(db: PgPool) {
    let folder = tempfile::tempdir().unwrap();
    let app = app_with_bank_and_tools(&db, folder.path(), &[]).await;
    let person = app.person().await;
    let kit = Kit::new(&app, &person);
    app.wait_for_projections().await;
    // No projection can advance.
    let mut held = db.begin().await.unwrap();
    sqlx::query("SELECT 1 FROM checkpoints FOR UPDATE").execute(&mut *held).await.unwrap();
    let mut input = text("Hello");
    input["quoted_text"] = json!("as said");
    let mut stream = kit.open("threads.create", create(input)).await;
    stream.read_until(|event| kind(event) == "stream_options").await;
    assert_eq!(kinds(&stream.events), ["thread.created", "thread.item.done", "stream_options"]);
    held.rollback().await.unwrap();
    let events = stream.rest().await;
    assert!(answer_of(&events).contains("Hello"));
    // The streamed item equals the one shown later, except for its time, which was not known yet.
    let mut streamed = done(&events, "user_message")[0].clone();
    let shown = kit.items(&thread_of(&events)).await[0].clone();
    streamed["created_at"] = shown["created_at"].clone();
    assert_eq!(streamed, shown);
    app.end().await;
}
