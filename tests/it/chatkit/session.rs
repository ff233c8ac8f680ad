//! Tests one long session with every type of request against the official package, which must parse each request,
//! event and document.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sqlx::PgPool;
use verbatim::http::surfaces::chatkit::wire::request::ChatKitRequest;
use verbatim::schema::MIGRATOR;

use super::examples::golden_values;
use super::python::parse;
use super::sequences::{ASK, WIDGET, app_with_bank_and_tools, question_of};
use super::support::{Kit, acting, done, id_of, kind, text, thread_of, with_files};
use super::transcript::Transcript;

#[sqlx::test(migrator = "MIGRATOR")]
async fn official_package_parses_whole_session(db: PgPool) {
    let folder = tempfile::tempdir().unwrap();
    let variables = [("CHAT_TITLES", "on"), ("SCRIPTED_WORDS_PER_SECOND", "100")];
    let app = app_with_bank_and_tools(&db, folder.path(), &variables).await;
    let person = app.person().await;
    let mut talk = Transcript::of(Kit::new(&app, &person));

    // A message with everything, and its title.
    let create = |input: Value| json!({"input": input});
    let announced = json!({"name": "a.txt", "size": 5, "mime_type": "text/plain"});
    let file = talk.get("attachments.create", announced.clone()).await;
    let url = file["upload_descriptor"]["url"].as_str().unwrap();
    let link = url.split_once(&app.address().to_string()).unwrap().1;
    app.post(link).body("text/plain", b"plums".to_vec()).send().await.is(200);
    let mut input = with_files("See ", &[&id_of(&file)]);
    input["quoted_text"] = json!("as said");
    let tag = json!({"type": "input_tag", "id": "t", "text": "Ada", "data": {"kept": null}, "group": "People", "interactive": true});
    input["content"].as_array_mut().unwrap().push(tag);
    let events = talk.stream("threads.create", create(input)).await;
    let thread = thread_of(&events);
    let first = id_of(done(&events, "user_message")[0]);
    let of = |more: Value| {
        let mut params = json!({"thread_id": thread});
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        params
    };
    // Replies with items: a tool call, questions, a widget, a quiz.
    for said in ["call open_map {\"place\": \"harbour\", \"zoom\": null}", ASK, WIDGET, "quiz me on fruit"] {
        let events = talk.stream("threads.add_user_message", of(json!({"input": text(said)}))).await;
        let created = events.iter().rfind(|event| kind(event) == "thread.item.done").unwrap();
        let item = id_of(&created["item"]);
        match created["item"]["type"].as_str().unwrap() {
            "client_tool_call" => {
                let result = json!({"shown": true, "at": null});
                talk.stream("threads.add_client_tool_output", of(json!({"result": result}))).await;
            }
            "structured_input" => {
                let answers = json!({"size": {"values": ["S"]}, "wishes": {"skipped": true}});
                let submit =
                    of(json!({"item_id": item, "input": {"status": "answered", "answers": answers}}));
                talk.stream("threads.add_structured_input", submit.clone()).await;
                talk.refused("threads.add_structured_input", submit, 409, "not_pending").await;
            }
            "widget" => {
                talk.stream("threads.custom_action", acting(&thread, &item, "undo", json!({"id": 7}))).await;
            }
            other => panic!("{said} created {other}"),
        }
    }
    let items = talk.get("items.list", of(json!({"limit": 100}))).await;
    let items = items["data"].as_array().unwrap();
    let card = items.iter().find(|item| item["widget"]["children"][2]["type"] == "Form").unwrap();
    let (quiz, question) = (id_of(card), question_of(&card["widget"]));
    let act = |name: &str, answer: &str| {
        acting(
            &thread,
            &quiz,
            name,
            json!({"questionId": question, "answer": answer, "attempt": 1, "index": 1}),
        )
    };
    talk.get("threads.sync_custom_action", act("mcq.select", "a")).await;
    talk.get("threads.sync_custom_action", act("mcq.unheard_of", "a")).await;
    for (name, answer) in [("mcq.submit", "a"), ("mcq.submit", "c"), ("mcq.clear", ""), ("mcq.next", "")] {
        talk.stream("threads.custom_action", act(name, answer)).await;
    }
    talk.stream("threads.custom_action", acting(&thread, &first, "mcq.next", json!({}))).await;
    // All other requests.
    talk.get("threads.get_by_id", of(json!({}))).await;
    talk.get("items.list", of(json!({"limit": 2, "order": "asc", "after": first}))).await;
    talk.get("items.feedback", of(json!({"item_ids": [first], "kind": "negative"}))).await;
    talk.get("threads.update", of(json!({"title": "Harbours"}))).await;
    talk.stream("threads.create", create(text("Another thread"))).await;
    talk.get("threads.list", json!({"limit": 1})).await;
    talk.stream("threads.retry_after_item", of(json!({"item_id": first}))).await;
    let picture = json!({"name": "a.png", "size": 50, "mime_type": "image/png"});
    let unsent = talk.get("attachments.create", picture).await;
    talk.get("attachments.delete", json!({"attachment_id": unsent["id"]})).await;
    let recording = json!({"audio_base64": "AAAA", "mime_type": "audio/webm;codecs=opus"});
    talk.refused("input.transcribe", recording, 400, "transcription_unsupported").await;
    // A thread deleted while its reply is streamed.
    let add = of(json!({"input": text(&"one two three four five ".repeat(15))}));
    let mut stream = talk.kit.open("threads.add_user_message", add.clone()).await;
    stream.read_until(|event| event["update"]["delta"].is_string()).await;
    talk.get("threads.delete", of(json!({}))).await;
    talk.rest("threads.add_user_message", add, stream).await;
    let values = talk.values();
    app.end().await;

    let types = |kind: &str| -> BTreeSet<&str> {
        let of_kind = values.iter().filter(|(of, _, _)| *of == kind);
        of_kind.map(|(_, _, value)| value["type"].as_str().unwrap()).collect()
    };
    let every: BTreeSet<String> = golden_values()
        .into_iter()
        .filter(|(kind, _, _)| kind == "request")
        .map(|(_, _, value)| ChatKitRequest::parse(value.to_string().as_bytes()).unwrap().name().to_owned())
        .collect();
    assert_eq!(types("request"), every.iter().map(String::as_str).collect(), "every type of request");
    for event in [
        "error",
        "notice",
        "stream_options",
        "thread.created",
        "thread.item.added",
        "thread.item.done",
        "thread.item.removed",
        "thread.item.replaced",
        "thread.item.updated",
        "thread.updated",
    ] {
        assert!(types("event").contains(event), "no {event} in the session");
    }
    let given: Vec<(&str, &str, &Value)> =
        values.iter().map(|(kind, name, value)| (*kind, name.as_str(), value)).collect();
    let (taken, said) = parse(&given).await;
    assert!(taken, "{said}");
    assert_eq!(said.trim(), format!("{} values", given.len()));
    assert!(given.len() > 150, "{said}");
}
