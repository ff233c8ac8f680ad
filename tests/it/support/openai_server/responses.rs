//! Events of the Responses API.

use std::time::Duration;

use serde_json::{Value, json};

use super::MODEL;
use super::acts::{ERROR_TEXT, Ending, Step, paced};

fn event(event: &Value) -> Step {
    Step::event(event["type"].as_str(), &event.to_string())
}

/// A text delta.
pub(super) fn delta(number: usize, text: &str) -> Step {
    event(&json!({
        "type": "response.output_text.delta", "sequence_number": number, "item_id": "msg_test_1",
        "output_index": 0, "content_index": 0, "delta": text, "logprobs": [], "obfuscation": "x7Gh2",
    }))
}

/// A reply: the deltas, the events that OpenAI sends around them, and the ending.
pub(super) fn reply(request: &Value, deltas: &[String], pause: Duration, ending: &Ending) -> Vec<Step> {
    let mut steps: Vec<Step> = opening(request).iter().map(event).collect();
    steps.extend(paced((4..).zip(deltas).map(|(number, text)| delta(number, text)), pause));
    let last = deltas.len() + 4;
    let whole = |tokens| closing(request, deltas, tokens).iter().map(event).collect::<Vec<_>>();
    let counted = Some((11, i64::try_from(deltas.len()).expect("the count fits")));
    match ending {
        Ending::Completed | Ending::Unmarked => steps.extend(whole(counted)),
        Ending::HeldOpen => {
            steps.extend(whole(counted));
            steps.push(Step::Hold);
        }
        Ending::Tokens(tokens) => steps.extend(whole(*tokens)),
        Ending::Twice => {
            steps.extend(whole(counted));
            steps.extend(whole(counted));
        }
        Ending::Incomplete(reason) => {
            let mut response = response(request, "incomplete", deltas, counted);
            response["incomplete_details"] = json!({"reason": reason});
            steps.push(event(&json!({
                "type": "response.incomplete", "sequence_number": last, "response": response,
            })));
        }
        Ending::Failed(code) => {
            let mut response = response(request, "failed", deltas, counted);
            response["error"] = json!({"code": code, "message": ERROR_TEXT});
            steps.push(event(&json!({
                "type": "response.failed", "sequence_number": last, "response": response,
            })));
        }
        Ending::Error(code) => steps.push(event(&json!({
            "type": "error", "sequence_number": last, "code": code, "message": ERROR_TEXT, "param": null,
        }))),
        Ending::Nothing => {}
        Ending::Reset => {
            steps.push(Step::Send(b"event: response.completed\ndata: {\"type\": \"response.comp".to_vec()));
            steps.push(Step::Break);
        }
        Ending::Silence => steps.push(Step::Hold),
    }
    steps
}

/// A tool call.
pub(super) fn call(request: &Value, name: &str, arguments: &str) -> Vec<Step> {
    let item = |status: &str, arguments: &str| {
        json!({"type": "function_call", "id": "fc_test_1", "status": status, "call_id": "call_test_1",
               "name": name, "arguments": arguments})
    };
    let mut response = response(request, "completed", &[], Some((11, 7)));
    response["output"] = json!([item("completed", arguments)]);
    [
        json!({"type": "response.output_item.added", "sequence_number": 2, "output_index": 0,
               "item": item("in_progress", "")}),
        json!({"type": "response.function_call_arguments.delta", "sequence_number": 3, "item_id": "fc_test_1",
               "output_index": 0, "delta": arguments}),
        json!({"type": "response.output_item.done", "sequence_number": 4, "output_index": 0,
               "item": item("completed", arguments)}),
        json!({"type": "response.completed", "sequence_number": 5, "response": response}),
    ]
    .iter()
    .map(event)
    .collect()
}

/// The response object as OpenAI repeats it in several events.
fn response(request: &Value, status: &str, deltas: &[String], tokens: Option<(i64, i64)>) -> Value {
    let done = status != "in_progress";
    let output = if done { json!([message(status, deltas)]) } else { json!([]) };
    let usage = tokens.filter(|_| done).map(|(read, written)| {
        json!({
            "input_tokens": read, "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": written, "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": read + written,
        })
    });
    json!({
        "id": "resp_test_1", "object": "response", "created_at": 1_893_456_000, "status": status,
        "error": null, "incomplete_details": null, "instructions": request["instructions"],
        "max_output_tokens": request["max_output_tokens"], "model": MODEL, "output": output,
        "parallel_tool_calls": true, "previous_response_id": null, "store": request["store"],
        "temperature": 1.0, "text": {"format": {"type": "text"}}, "tool_choice": "auto", "tools": [],
        "top_p": 1.0, "truncation": "disabled", "usage": usage, "metadata": {},
    })
}

fn part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": []})
}

fn message(status: &str, deltas: &[String]) -> Value {
    let status = if status == "failed" { "incomplete" } else { status };
    let content = if deltas.is_empty() { json!([]) } else { json!([part(&deltas.concat())]) };
    json!({"type": "message", "id": "msg_test_1", "status": status, "role": "assistant", "content": content})
}

fn opening(request: &Value) -> [Value; 4] {
    let response = response(request, "in_progress", &[], None);
    [
        json!({"type": "response.created", "sequence_number": 0, "response": response}),
        json!({"type": "response.in_progress", "sequence_number": 1, "response": response}),
        json!({
            "type": "response.output_item.added", "sequence_number": 2, "output_index": 0,
            "item": message("in_progress", &[]),
        }),
        json!({
            "type": "response.content_part.added", "sequence_number": 3, "item_id": "msg_test_1",
            "output_index": 0, "content_index": 0, "part": part(""),
        }),
    ]
}

fn closing(request: &Value, deltas: &[String], tokens: Option<(i64, i64)>) -> [Value; 4] {
    let text = deltas.concat();
    let number = deltas.len() + 4;
    [
        json!({
            "type": "response.output_text.done", "sequence_number": number, "item_id": "msg_test_1",
            "output_index": 0, "content_index": 0, "text": text, "logprobs": [],
        }),
        json!({
            "type": "response.content_part.done", "sequence_number": number + 1, "item_id": "msg_test_1",
            "output_index": 0, "content_index": 0, "part": part(&text),
        }),
        json!({
            "type": "response.output_item.done", "sequence_number": number + 2, "output_index": 0,
            "item": message("completed", deltas),
        }),
        json!({
            "type": "response.completed", "sequence_number": number + 3,
            "response": response(request, "completed", deltas, tokens),
        }),
    ]
}

/// async-openai's types, generated from OpenAI's published specification, parse every event that this server sends. So
/// the adapter is tested against the real API, not against our idea of it.
#[test]
fn server_events_parse_as_responses_api() {
    use async_openai::types::responses::ResponseStreamEvent;

    let request = json!({"instructions": "Be brief.", "max_output_tokens": 5, "store": false});
    let deltas = ["one ".to_owned(), "two".to_owned()];
    let endings = [
        Ending::Completed,
        Ending::Tokens(None),
        Ending::Incomplete("max_output_tokens"),
        Ending::Failed("server_error"),
        Ending::Error("rate_limit_exceeded"),
    ];
    let replies = endings.iter().map(|ending| reply(&request, &deltas, Duration::ZERO, ending));
    for step in replies.flatten().chain(call(&request, "look", "{}")) {
        let Step::Send(bytes) = step else { panic!("unexpected step") };
        let text = String::from_utf8(bytes).expect("text");
        let data = text.lines().find_map(|line| line.strip_prefix("data: ")).expect("an event has data");
        let read = serde_json::from_str::<ResponseStreamEvent>(data);
        assert!(read.is_ok(), "{:?} of {data}", read.err());
    }
}
