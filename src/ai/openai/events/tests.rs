use serde_json::json;

use super::*;
use crate::ai::service::no_classifier;

fn read(event: Value, requested: &str) -> Result<StreamEvent, ProviderError> {
    super::read(event, requested, no_classifier)
}

fn text(text: &str) -> Result<StreamEvent, ProviderError> {
    Ok(StreamEvent::Text(text.to_owned()))
}

fn ended(event: Value) -> Completion {
    match read(event.clone(), "requested") {
        Ok(StreamEvent::End(end)) => end,
        other => panic!("{event} is no end but {other:?}"),
    }
}

#[test]
fn deltas_and_refusals_are_text() {
    assert_eq!(read(json!({"type": "response.output_text.delta", "delta": "hé"}), "m"), text("hé"));
    assert_eq!(read(json!({"type": "response.refusal.delta", "delta": "no"}), "m"), text("no"));
}

#[test]
fn finished_call_is_an_event_and_other_finished_items_are_not() {
    let event = |item: Value| json!({"type": "response.output_item.done", "item": item});
    let call = |arguments: Value| {
        Ok(StreamEvent::Call(ToolCall { call_id: "c1".to_owned(), name: "look".to_owned(), arguments }))
    };
    let item = json!({"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{\"at\":1}"});
    assert_eq!(read(event(item.clone()), "m"), call(json!({"at": 1})));
    let mut broken = item;
    broken["arguments"] = json!("{\"at\":");
    assert_eq!(read(event(broken), "m"), text(""));
    assert_eq!(read(event(json!({"type": "message", "content": []})), "m"), text(""));
}

#[test]
fn other_events_are_keep_alives() {
    for event in [
        json!({"type": "response.created", "response": {"id": "resp_1"}}),
        json!({"type": "response.output_text.done", "text": "all of it"}),
        json!({"type": "response.reasoning.delta", "delta": {"odd": true}}),
        json!({"type": "response.of_the_future", "response": 7}),
        json!({}),
    ] {
        assert_eq!(read(event.clone(), "m"), text(""), "{event}");
    }
}

#[test]
fn completed_response_ends_with_usage_model_and_id() {
    let end = ended(json!({"type": "response.completed", "response": {
        "id": "resp_1", "model": "gpt-x-2030", "usage": {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7},
        "error": null, "incomplete_details": null,
    }}));
    assert_eq!(
        end,
        Completion {
            finish: Finish::Stop,
            usage: Some(TokenUsage { prompt_tokens: 3, completion_tokens: 4 }),
            model: "gpt-x-2030".to_owned(),
            provider_reply_id: Some("resp_1".to_owned()),
        }
    );
}

#[test]
fn end_without_optional_fields_is_accepted() {
    let end = ended(json!({"type": "response.completed", "response": {}}));
    assert_eq!((end.usage, end.model.as_str(), end.provider_reply_id), (None, "requested", None));
    let negative = json!({"usage": {"input_tokens": -1, "output_tokens": 4}});
    assert_eq!(ended(json!({"type": "response.completed", "response": negative})).usage, None);
}

#[test]
fn incomplete_response_has_a_reason() {
    for (reason, finish) in [
        (json!({"reason": "max_output_tokens"}), Finish::Length),
        (json!({"reason": "content_filter"}), Finish::ContentFilter),
        (json!({"reason": "of the future"}), Finish::Length),
        (json!(null), Finish::Length),
    ] {
        let response = json!({"incomplete_details": reason});
        assert_eq!(
            ended(json!({"type": "response.incomplete", "response": response})).finish,
            finish,
            "{reason}"
        );
    }
}

#[test]
fn errors_inside_a_stream_are_classified_in_every_form() {
    let expected = [
        (json!("rate_limit_exceeded"), ProviderError::RateLimited { retry_after: None }),
        (json!("insufficient_quota"), ProviderError::QuotaExceeded),
        (json!("invalid_api_key"), ProviderError::KeyInvalid),
        (json!("model_not_found"), ProviderError::ModelUnknown),
        (json!("server_error"), ProviderError::unavailable(None)),
        (json!("context_length_exceeded"), ProviderError::ContextTooLong),
        (json!("of_the_future"), ProviderError::unavailable(None)),
        (json!(502), ProviderError::unavailable(Some(502))),
        (json!(null), ProviderError::unavailable(None)),
    ];
    for (code, error) in expected {
        let said = json!({"code": code, "message": "canary"});
        for event in [
            json!({"type": "response.failed", "response": {"error": said}}),
            json!({"type": "error", "code": code, "message": "canary", "param": null}),
            json!({"type": "error", "error": said}),
            json!({"error": said}),
        ] {
            assert_eq!(read(event.clone(), "m"), Err(error.clone()), "{event}");
        }
    }
}

#[test]
fn json_of_the_wrong_shape_is_a_bad_response() {
    for event in [
        json!([]),
        json!("text"),
        json!({"type": 1}),
        json!({"type": "response.output_text.delta", "delta": 5}),
        json!({"type": "response.output_text.delta"}),
        json!({"type": "response.completed"}),
        json!({"type": "response.completed", "response": "done"}),
    ] {
        assert_eq!(read(event.clone(), "m"), Err(ProviderError::BadResponse), "{event}");
    }
}
