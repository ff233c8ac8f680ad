//! Tests transcription and tools over the OpenAI protocol.

use serde_json::{Value, json};
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use super::support::{Kit, answer_of, done, thread_of};
use crate::support::app::TestApp;
use crate::support::openai_server::{Act, KEY, OpenAiServer};

fn document(value: &Value) -> Act {
    Act::Raw { kind: "application/json", parts: vec![value.to_string().into_bytes()] }
}

/// Returns a streamed response of these events.
fn events(events: &[Value]) -> Act {
    let parts = events.iter().map(|event| format!("data: {event}\n\n").into_bytes()).collect();
    Act::Raw { kind: "text/event-stream", parts }
}

async fn app_at(db: &PgPool, server: &OpenAiServer, more: &[(&str, &str)]) -> TestApp {
    let url = server.base_url();
    let mut variables =
        vec![("OPENAI_API_KEY", KEY), ("OPENAI_BASE_URL", url.as_str()), ("CHAT_TITLES", "false")];
    variables.extend(more);
    TestApp::with(db, &variables).await
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn provider_transcribes_speech(db: PgPool) {
    let refused = |status: u16, code: &str| Act::Error { status, code: json!(code), headers: Vec::new() };
    let acts = [
        document(&json!({"text": "Good morning"})),
        refused(400, "invalid_file"),
        refused(429, "rate_limit_exceeded"),
        document(&json!({"words": []})),
    ];
    let server = OpenAiServer::start(acts).await;
    let app = app_at(&db, &server, &[]).await;
    let person = app.person().await;
    let kit = Kit::new(&app, &person);
    // "audio" in base64, without the padding that some clients omit.
    let spoken = json!({"audio_base64": "YXVkaW8", "mime_type": "audio/webm;codecs=opus"});
    assert_eq!(kit.get("input.transcribe", spoken.clone()).await, json!({"text": "Good morning"}));
    let sent = server.requests()[0].body.as_str().unwrap().to_owned();
    for part in
        ["filename=\"audio.webm\"", "Content-Type: audio/webm\r\n", "audio\r\n", "gpt-4o-mini-transcribe"]
    {
        assert!(sent.contains(part), "{part} in {sent}");
    }
    kit.ask("input.transcribe", spoken.clone()).await.assert_error(400, "unreadable_recording");
    for _ in 0..2 {
        kit.ask("input.transcribe", spoken.clone()).await.assert_error(503, "unavailable");
    }
    let text = json!({"audio_base64": "YXVkaW8", "mime_type": "text/plain"});
    kit.ask("input.transcribe", text).await.assert_error(400, "invalid_recording");
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn model_calls_client_tool_and_gets_result(db: PgPool) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let tools =
        json!([{"name": "open_map", "description": "Opens the map", "parameters": {"type": "object"}}]);
    std::fs::write(file.path(), tools.to_string()).unwrap();
    let call = json!({"type": "function_call", "call_id": "call_7", "name": "open_map", "arguments": "{\"at\":\"Paris\"}"});
    let acts = [
        events(&[
            json!({"type": "response.output_item.done", "item": call}),
            json!({"type": "response.completed", "response": {"id": "resp_1", "model": "m"}}),
        ]),
        Act::reply(&["It is ", "open."]),
    ];
    let server = OpenAiServer::start(acts).await;
    let app = app_at(&db, &server, &[("CLIENT_TOOLS_FILE", file.path().to_str().unwrap())]).await;
    let person = app.person().await;
    let kit = Kit::new(&app, &person);
    let (thread, first) = kit.create("Show me Paris").await;
    assert_eq!(thread, thread_of(&first));
    let called = done(&first, "client_tool_call")[0].clone();
    assert_eq!((&called["call_id"], &called["arguments"]), (&json!("call_7"), &json!({"at": "Paris"})));
    let params = json!({"thread_id": thread, "result": {"shown": true}});
    let second = kit.stream("threads.add_client_tool_output", params).await;
    assert_eq!(answer_of(&second), "It is open.");

    let asked = server.requests();
    let offered: Vec<&str> = asked[0].body["tools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| tool["name"].as_str().unwrap())
        .collect();
    assert_eq!(offered, ["ask_user", "show_widget", "start_quiz", "open_map"]);
    let input = asked[1].body["input"].as_array().unwrap();
    let of = |kind: &str| input.iter().find(|item| item["type"] == kind).unwrap();
    assert_eq!(of("function_call")["call_id"], "call_7");
    assert_eq!(of("function_call_output")["output"], "{\"shown\":true}");
    // A client without client tools is offered none.
    app.say(&person, None, "Hello").await;
    assert_eq!(server.requests()[2].body["tools"], Value::Null);
    app.end().await;
}
