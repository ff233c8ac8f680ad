//! Chunks of the Chat Completions API.

use std::time::Duration;

use serde_json::{Value, json};

use super::MODEL;
use super::acts::{ERROR_TEXT, Ending, Step, paced};

fn chunk(choices: &Value) -> Value {
    json!({
        "id": "chatcmpl-test-1", "object": "chat.completion.chunk", "created": 1_893_456_000, "model": MODEL,
        "choices": choices, "usage": null,
    })
}

fn event(event: &Value) -> Step {
    Step::event(None, &event.to_string())
}

fn choice(delta: &Value, finish: Option<&str>) -> Step {
    event(&chunk(&json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}])))
}

/// A text delta.
pub(super) fn delta(text: &str) -> Step {
    choice(&json!({"content": text}), None)
}

fn finish(reason: &str) -> Step {
    choice(&json!({}), Some(reason))
}

fn tokens(read: i64, written: i64) -> Step {
    let mut chunk = chunk(&json!([]));
    chunk["usage"] =
        json!({"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written});
    event(&chunk)
}

fn done() -> Step {
    Step::event(None, "[DONE]")
}

fn error(code: &str) -> Step {
    event(&json!({"error": {"message": ERROR_TEXT, "type": "some_error", "code": code}}))
}

/// A reply: the deltas, the chunks that OpenAI sends around them, and the ending.
pub(super) fn reply(deltas: &[String], pause: Duration, ending: &Ending) -> Vec<Step> {
    let mut steps = vec![choice(&json!({"role": "assistant", "content": "", "refusal": null}), None)];
    steps.extend(paced(deltas.iter().map(|text| delta(text)), pause));
    let counted = tokens(11, i64::try_from(deltas.len()).expect("the count fits"));
    match ending {
        Ending::Completed => steps.extend([finish("stop"), counted, done()]),
        Ending::Unmarked => steps.extend([finish("stop"), counted]),
        Ending::HeldOpen => steps.extend([finish("stop"), Step::Hold]),
        Ending::Tokens(Some((read, written))) => {
            steps.extend([finish("stop"), tokens(*read, *written), done()]);
        }
        Ending::Tokens(None) => steps.extend([finish("stop"), done()]),
        Ending::Twice => steps.extend([finish("stop"), finish("length"), counted.clone(), counted, done()]),
        Ending::Incomplete(reason) => {
            let reason = if *reason == "max_output_tokens" { "length" } else { reason };
            steps.extend([finish(reason), counted, done()]);
        }
        Ending::Failed(code) | Ending::Error(code) => steps.push(error(code)),
        Ending::Nothing => {}
        Ending::Reset => steps.extend([Step::Send(b"data: {\"choices\": [{\"ind".to_vec()), Step::Break]),
        Ending::Silence => steps.push(Step::Hold),
    }
    steps
}

/// A tool call with its arguments in fragments of a few characters.
pub(super) fn call(name: &str, arguments: &str) -> Vec<Step> {
    let fragment = |fragment: &Value| choice(&json!({"tool_calls": [fragment]}), None);
    let mut steps = vec![fragment(&json!({
        "index": 0, "id": "call_test_1", "type": "function", "function": {"name": name, "arguments": ""},
    }))];
    let characters: Vec<char> = arguments.chars().collect();
    for part in characters.chunks(3) {
        let part: String = part.iter().collect();
        steps.push(fragment(&json!({"index": 0, "function": {"arguments": part}})));
    }
    steps.extend([finish("tool_calls"), tokens(11, 7), done()]);
    steps
}

/// Like for the Responses API: async-openai's types parse every chunk that the server sends.
#[test]
fn server_chunks_parse_as_chat_completions() {
    use async_openai::types::chat::CreateChatCompletionStreamResponse;

    let deltas = ["one ".to_owned(), "two".to_owned()];
    let endings = [
        Ending::Completed,
        Ending::Tokens(None),
        Ending::Incomplete("max_output_tokens"),
        Ending::Incomplete("content_filter"),
    ];
    let replies = endings.iter().map(|ending| reply(&deltas, Duration::ZERO, ending));
    for step in replies.flatten().chain(call("look", "{\"at\": 1}")) {
        let Step::Send(bytes) = step else { panic!("unexpected step") };
        let text = String::from_utf8(bytes).expect("text");
        let data = text.strip_prefix("data: ").expect("a chunk has only data").trim_end();
        if data == "[DONE]" {
            continue;
        }
        let read = serde_json::from_str::<CreateChatCompletionStreamResponse>(data);
        assert!(read.is_ok(), "{:?} of {data}", read.err());
    }
}
