//! What chunks come to.

use std::sync::Arc;

use async_openai::error::OpenAIError;
use futures::{StreamExt as _, stream};
use serde_json::json;

use super::*;
use crate::ai::ToolCall;
use crate::ai::service::no_classifier;
use crate::ai::transport::{CallControl, stream_events};

/// Everything that these chunks, and the end of the stream after them, come to.
fn read(chunks: &[Value]) -> Vec<Result<StreamEvent, ProviderError>> {
    let mut reader = Chunks::new("requested".to_owned(), no_classifier);
    let mut out = Out::new();
    for chunk in chunks {
        reader.read(chunk.clone(), &mut out);
    }
    reader.finish(false, &mut out);
    out.into()
}

/// The same of a stream whose connection breaks after these chunks.
async fn broken(chunks: &[Value]) -> Vec<Result<StreamEvent, ProviderError>> {
    let link = Arc::new(CallControl::default());
    link.fail(ProviderError::Cut);
    let events = chunks.iter().cloned().map(Ok::<_, OpenAIError>).collect::<Vec<_>>();
    stream_events(stream::iter(events).boxed(), link, Chunks::new("requested".to_owned(), no_classifier))
        .collect()
        .await
}

fn text(text: &str) -> Result<StreamEvent, ProviderError> {
    Ok(StreamEvent::Text(text.to_owned()))
}

fn says(text: &str) -> Value {
    json!({"id": "chat-1", "model": "m-1", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": null}]})
}

fn finish(reason: &str) -> Value {
    json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
}

fn tokens(prompt: i64, completion: i64) -> Value {
    json!({"choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": completion}})
}

fn ended(chunks: &[Value]) -> Completion {
    match read(chunks).pop() {
        Some(Ok(StreamEvent::End(end))) => end,
        other => panic!("no end but {other:?}"),
    }
}

#[test]
fn text_finish_and_tokens_make_a_reply() {
    let expected = Completion {
        finish: Finish::Stop,
        usage: Some(TokenUsage { prompt_tokens: 3, completion_tokens: 4 }),
        model: "m-1".to_owned(),
        provider_reply_id: Some("chat-1".to_owned()),
    };
    let got = read(&[says("Hel"), says("lo"), finish("stop"), tokens(3, 4)]);
    assert_eq!(got, [text("Hel"), text("lo"), Ok(StreamEvent::End(expected))]);
}

#[test]
fn no_finish_reason_means_no_end() {
    assert_eq!(read(&[says("half")]), [text("half")]);
    assert_eq!(read(&[says("half"), tokens(3, 4), finish("")]), [text("half")]);
}

#[test]
fn finish_reason_alone_is_an_end() {
    let end = ended(&[finish("stop")]);
    assert_eq!((end.usage, end.model.as_str(), end.provider_reply_id), (None, "requested", None));
}

/// The last text of a reply, with its finish reason, as some servers give one with every chunk.
fn says_and_finishes(text: &str) -> Value {
    json!({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": "stop"}]})
}

#[tokio::test]
async fn finish_reason_with_text_ends_only_with_the_stream() {
    let got = broken(&[says_and_finishes("Hel")]).await;
    assert_eq!(got, [text("Hel"), Err(ProviderError::Cut)]);
    let got = broken(&[says_and_finishes("Hel"), says("lo")]).await;
    assert_eq!(got, [text("Hel"), text("lo"), Err(ProviderError::Cut)]);
    let got = broken(&[finish("stop"), says("more")]).await;
    assert_eq!(got.last(), Some(&Err(ProviderError::Cut)));
    // By itself it is one, and so is an end of the stream as it should be.
    let got = broken(&[says_and_finishes("Hel"), finish("stop")]).await;
    assert!(matches!(got.last(), Some(Ok(StreamEvent::End(_)))), "{got:?}");
    assert_eq!(ended(&[says_and_finishes("Hel"), says_and_finishes("lo")]).finish, Finish::Stop);
}

#[test]
fn only_a_separate_finish_reason_limits_the_wait() {
    let waits = |chunks: &[Value]| {
        let (mut reader, mut out) = (Chunks::new("requested".to_owned(), no_classifier), Out::new());
        chunks.iter().for_each(|chunk| reader.read(chunk.clone(), &mut out));
        reader.end_timeout()
    };
    assert_eq!(waits(&[says("Hel")]), None);
    assert_eq!(waits(&[says_and_finishes("Hel")]), None, "more may come, however long it takes");
    assert_eq!(waits(&[finish("stop"), says("more")]), None);
    assert_eq!(waits(&[says("Hel"), finish("stop")]), Some(USAGE_TIMEOUT));
    assert_eq!(waits(&[says_and_finishes("Hel"), says_and_finishes("")]), Some(USAGE_TIMEOUT));
}

#[test]
fn end_has_the_finish_reason() {
    for (reason, finished) in [
        ("stop", Finish::Stop),
        ("tool_calls", Finish::Stop),
        ("of the future", Finish::Stop),
        ("length", Finish::Length),
        ("content_filter", Finish::ContentFilter),
        ("SAFETY", Finish::ContentFilter),
        ("PROHIBITED_CONTENT", Finish::ContentFilter),
        ("MAX_TOKENS", Finish::Length),
    ] {
        assert_eq!(ended(&[says("x"), finish(reason)]).finish, finished, "{reason}");
    }
    let error = read(&[says("x"), finish("error")]);
    assert_eq!(error, [text("x"), Err(ProviderError::unavailable(None))]);
}

#[test]
fn last_of_two_finish_reasons_counts() {
    let got = read(&[says("a"), finish("stop"), says("b"), finish("length"), tokens(1, 1), tokens(2, 2)]);
    assert_eq!(got.iter().filter(|item| matches!(item, Ok(StreamEvent::End(_)))).count(), 1);
    assert_eq!(got[..2], [text("a"), text("b")]);
    let Some(Ok(StreamEvent::End(end))) = got.last() else { panic!("{got:?}") };
    assert_eq!((end.finish, end.usage.map(|usage| usage.prompt_tokens)), (Finish::Length, Some(1)));
}

#[test]
fn usage_may_come_with_any_chunk_and_malformed_is_ignored() {
    let mut last = finish("stop");
    last["usage"] = json!({"prompt_tokens": 3, "completion_tokens": 4});
    assert_eq!(ended(&[last]).usage, Some(TokenUsage { prompt_tokens: 3, completion_tokens: 4 }));
    assert_eq!(ended(&[finish("stop"), tokens(-1, 4)]).usage, None);
    assert_eq!(ended(&[finish("stop"), json!({"choices": [], "usage": {}})]).usage, None);
}

#[test]
fn complete_calls_precede_the_end() {
    let fragment = |fragment: Value| json!({"choices": [{"index": 0, "delta": {"tool_calls": [fragment]}}]});
    let got = read(&[
        fragment(
            json!({"index": 0, "id": "c1", "type": "function", "function": {"name": "look", "arguments": "{\"a"}}),
        ),
        fragment(json!({"index": 0, "function": {"arguments": "t\":1}"}})),
        finish("tool_calls"),
    ]);
    let call = ToolCall { call_id: "c1".to_owned(), name: "look".to_owned(), arguments: json!({"at": 1}) };
    assert_eq!(got[0], Ok(StreamEvent::Call(call)));
    assert!(matches!(&got[1..], [Ok(StreamEvent::End(_))]), "{got:?}");
    // What was begun and never finished is not called.
    let cut = fragment(json!({"index": 0, "id": "c1", "function": {"name": "look", "arguments": "{}"}}));
    assert_eq!(read(&[cut]), []);
}

#[test]
fn refusal_is_text_and_unknown_fields_are_ignored() {
    let refusal =
        json!({"choices": [{"index": 0, "delta": {"role": "assistant", "content": null, "refusal": "no"}}]});
    assert_eq!(read(&[refusal]), [text("no")]);
    for chunk in [
        json!({}),
        json!({"choices": []}),
        json!({"choices": [{"index": 1, "delta": {"content": "the other one"}, "finish_reason": "stop"}]}),
        json!({"choices": [{"index": 0, "delta": {"reasoning_content": "hm", "of_the_future": [1]}}]}),
    ] {
        assert_eq!(read(std::slice::from_ref(&chunk)), [], "{chunk}");
    }
}

#[test]
fn error_in_the_stream_is_classified() {
    for (error, expected) in [
        (json!({"code": "rate_limit_exceeded"}), ProviderError::RateLimited { retry_after: None }),
        (json!({"code": 402, "message": "canary"}), ProviderError::QuotaExceeded),
        (json!({"code": 502}), ProviderError::unavailable(Some(502))),
        (json!("overloaded"), ProviderError::unavailable(None)),
    ] {
        assert_eq!(read(&[json!({"error": error})]), [Err(expected)], "{error}");
    }
}

#[test]
fn json_of_the_wrong_shape_is_a_bad_response() {
    for chunk in [
        json!([]),
        json!("text"),
        json!({"choices": {}}),
        json!({"choices": [{"delta": {"content": 5}}]}),
        json!({"choices": [{"delta": {"tool_calls": "look"}}]}),
        json!({"choices": [{"delta": {}, "finish_reason": 1}]}),
    ] {
        let got = read(std::slice::from_ref(&chunk));
        assert_eq!(got, [Err(ProviderError::BadResponse)], "{chunk}");
    }
}
