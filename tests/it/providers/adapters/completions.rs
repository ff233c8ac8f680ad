//! Successful replies, usual and unusual.

use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use serde_json::{Value, json};
use verbatim::ai::{Api, Completion, Finish, Limits, Parameters, Prompt, StreamEvent, TokenUsage, ToolCall};

use super::{APIS, call, call_within, ends, outcome, prompt, provider_at, raw, says};
use crate::support::openai_server::{Act, Ending, KEY, MODEL, OpenAiServer};

/// Idle timeout: far longer than one pause even on a busy machine, and much shorter than the whole reply.
const IDLE_TIMEOUT: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(125);
const DELTAS: usize = 20;

#[tokio::test]
async fn reply_streams_and_ends_with_usage() {
    for (api, id) in APIS.into_iter().zip(["resp_test_1", "chatcmpl-test-1"]) {
        let (text, end) = call(api, Act::reply(&["Hel", "lo, ", "wörld"])).await;
        assert_eq!(text, "Hello, wörld");
        let expected = Completion {
            finish: Finish::Stop,
            usage: Some(TokenUsage { prompt_tokens: 11, completion_tokens: 3 }),
            model: MODEL.to_owned(),
            provider_reply_id: Some(id.to_owned()),
        };
        assert_eq!(end, Ok(expected));
    }
}

/// Returns the request bodies for the usual prompt and for a minimal one.
async fn request_bodies(api: Api) -> [Value; 2] {
    let server = OpenAiServer::start([Act::reply(&["ok"])]).await;
    let provider = provider_at(api, &server.base_url(), KEY, Limits::default());
    outcome(&provider).await.1.expect("a reply");
    let pieces: Vec<_> = provider
        .stream(Prompt {
            model: Some("gpt-other".to_owned()),
            system: String::new(),
            turns: Vec::new(),
            parameters: Parameters { max_output_tokens: 1, temperature: None },
            ..prompt()
        })
        .collect()
        .await;
    assert!(matches!(pieces.last(), Some(Ok(StreamEvent::End(_)))), "{pieces:?}");
    let requests = server.requests();
    for request in &requests {
        assert_eq!(request.headers["authorization"], format!("Bearer {KEY}"));
        assert_eq!(request.headers["content-type"], "application/json");
        assert!(!request.headers.contains_key("openai-organization"));
    }
    [requests[0].body.clone(), requests[1].body.clone()]
}

#[tokio::test]
async fn request_contains_only_the_prompt() {
    let message = |role: &str, text: &str| json!({"type": "message", "role": role, "content": text});
    let usual = json!({
        "model": "gpt-4o-mini",
        "instructions": "Be brief.",
        "input": [
            message("user", "First question"),
            message("assistant", "First answer"),
            message("user", "Second question"),
        ],
        "max_output_tokens": 321,
        "temperature": 0.5,
        "store": false,
        "stream": true,
    });
    let least =
        json!({"model": "gpt-other", "input": [], "max_output_tokens": 1, "store": false, "stream": true});
    assert_eq!(request_bodies(Api::Responses).await, [usual, least]);
    let usual = json!({
        "model": "gpt-4o-mini",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "First question"},
            {"role": "assistant", "content": "First answer"},
            {"role": "user", "content": "Second question"},
        ],
        "max_tokens": 321,
        "temperature": 0.5,
        "stream": true,
        "stream_options": {"include_usage": true},
    });
    let least = json!({
        "model": "gpt-other", "messages": [], "max_tokens": 1, "stream": true,
        "stream_options": {"include_usage": true},
    });
    assert_eq!(request_bodies(Api::ChatCompletions).await, [usual, least]);
}

#[tokio::test]
async fn tool_call_arrives_complete() {
    for api in APIS {
        let act = Act::Call { name: "look", arguments: "{\"at\": {\"x\": [1, 2]}, \"why\": \"so\"}" };
        let server = OpenAiServer::start([act]).await;
        let provider = provider_at(api, &server.base_url(), KEY, Limits::default());
        let pieces: Vec<_> = provider.stream(prompt()).map(|piece| piece.expect("a piece")).collect().await;
        let [StreamEvent::Call(call), StreamEvent::End(end)] = &pieces[..] else {
            panic!("{api:?}: {pieces:?}")
        };
        let arguments = json!({"at": {"x": [1, 2]}, "why": "so"});
        let expected = ToolCall { call_id: "call_test_1".to_owned(), name: "look".to_owned(), arguments };
        assert_eq!((call, end.finish), (&expected, Finish::Stop));
    }
}

#[tokio::test]
async fn each_delta_arrives_immediately() {
    // The server sends one delta and then nothing, so the delta only arrives if the adapter does not buffer.
    for api in APIS {
        let server = OpenAiServer::start([Act::ending(&["first"], Ending::Silence)]).await;
        let mut pieces = provider_at(api, &server.base_url(), KEY, Limits::default()).stream(prompt());
        assert_eq!(pieces.next().await, Some(Ok(StreamEvent::Text("first".to_owned()))));
    }
}

#[tokio::test]
async fn slow_steady_reply_outlives_idle_timeout() {
    let deltas: Vec<String> = (0..DELTAS).map(|number| format!("{number} ")).collect();
    let limits = Limits { idle: IDLE_TIMEOUT, ..Limits::default() };
    let slow = Act::Reply { deltas: deltas.clone(), pause: PAUSE, ending: Ending::Completed };
    for (text, end) in join_all(APIS.map(|api| call_within(api, slow.clone(), limits))).await {
        assert_eq!(text, deltas.concat());
        assert!(end.is_ok(), "{end:?}");
    }
}

#[tokio::test]
async fn keep_alive_comments_reset_idle_timeout() {
    let limits = Limits { first_byte: IDLE_TIMEOUT, idle: IDLE_TIMEOUT, ..Limits::default() };
    let act = Act::Comments { count: DELTAS, pause: PAUSE };
    for (text, end) in join_all(APIS.map(|api| call_within(api, act.clone(), limits))).await {
        assert_eq!((text.as_str(), end.is_ok()), ("late", true), "{end:?}");
    }
}

#[tokio::test]
async fn complete_reply_needs_no_marker_close_or_usage() {
    for api in APIS {
        let (_, end) = call(api, Act::ending(&["all"], Ending::Unmarked)).await;
        assert!(end.expect("an end").usage.is_some());
        let (text, end) = call(api, Act::ending(&["all"], Ending::HeldOpen)).await;
        assert_eq!((text.as_str(), end.expect("an end").finish), ("all", Finish::Stop));
        for tokens in [None, Some((-3, 4)), Some((3, -4))] {
            let (_, end) = call(api, Act::ending(&["all"], Ending::Tokens(tokens))).await;
            assert_eq!(end.expect("an end").usage, None, "{api:?} {tokens:?}");
        }
        // The first end is final; of two finish reasons in a row the last one counts.
        let (_, end) = call(api, Act::ending(&["all"], Ending::Twice)).await;
        let expected = if api == Api::Responses { Finish::Stop } else { Finish::Length };
        assert_eq!(end.expect("an end").finish, expected);
    }
}

#[tokio::test]
async fn incomplete_reply_keeps_text_and_reason() {
    let reasons = [("max_output_tokens", Finish::Length), ("content_filter", Finish::ContentFilter)];
    for ((reason, finish), api) in reasons.into_iter().flat_map(|reason| APIS.map(|api| (reason, api))) {
        let (text, end) = call(api, Act::ending(&["half"], Ending::Incomplete(reason))).await;
        assert_eq!((text.as_str(), end.map(|end| end.finish)), ("half", Ok(finish)), "{reason}");
    }
}

#[tokio::test]
async fn empty_reply_ends_without_text() {
    for api in APIS {
        let (text, end) = call(api, Act::reply(&[])).await;
        assert_eq!((text.as_str(), end.map(|end| end.finish)), ("", Ok(Finish::Stop)));
    }
}

#[tokio::test]
async fn unusual_but_valid_streams_are_parsed() {
    for api in APIS {
        // An event of two lines, with a control character and a line break in its text.
        let delta = says(api, "a\u{0}b\n").replacen(",", ",\r\ndata: ", 1).replace("\n\n", "\r\n\r\n");
        let future = ": a comment\n\nevent: x.of_the_future\nid: 7\ndata: {\"type\": \"x.of_the_future\", \"new\": [{}]}\n\n";
        let all = [&delta, future, &delta, ends(api), "data: [DONE]\n\n", &delta, ends(api)].concat();
        let parts: Vec<&[u8]> = all.as_bytes().chunks(7).collect();
        let (text, end) = call(api, raw("text/event-stream", &parts)).await;
        assert_eq!(text, "ab\nab\n");
        let end = end.expect("an end");
        assert_eq!((end.finish, end.usage, end.model.as_str()), (Finish::Stop, None, "gpt-4o-mini"));
    }
}
