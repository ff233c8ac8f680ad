//! The Responses API's events, read leniently: only the fields that matter, from whatever else there is.

use serde_json::Value;

use crate::ai::service::ErrorClassifier;
use crate::ai::transport::errors::in_stream;
use crate::ai::transport::{Out, Reader};
use crate::ai::{Completion, Finish, ProviderError, StreamEvent, TokenUsage, ToolCall};

/// Reads the events of one reply.
pub(super) struct Events {
    /// The model that was asked for, in case the answer does not name the one that answered.
    pub(super) asked: String,
    /// The service's own words for errors.
    pub(super) words: ErrorClassifier,
}

impl Reader for Events {
    fn read(&mut self, event: Value, out: &mut Out) {
        out.push_back(read(event, &self.asked, self.words));
    }
}

/// One event as a piece. Empty text for everything that only shows that the provider is alive, also for
/// events that nobody knows yet.
fn read(event: Value, asked: &str, words: ErrorClassifier) -> Result<StreamEvent, ProviderError> {
    let Value::Object(mut event) = event else { return Err(ProviderError::BadResponse) };
    let kind = match event.remove("type") {
        Some(Value::String(kind)) => kind,
        Some(_) => return Err(ProviderError::BadResponse),
        None => String::new(),
    };
    let mut field = |name: &str| event.remove(name).unwrap_or_default();
    match kind.as_str() {
        // A refusal is what the model has to say, so it is the reply's text.
        "response.output_text.delta" | "response.refusal.delta" => match field("delta") {
            Value::String(text) => Ok(StreamEvent::Text(text)),
            _ => Err(ProviderError::BadResponse),
        },
        "response.output_item.done" => Ok(call(field("item"))),
        "response.completed" => end(&field("response"), Finish::Stop, asked),
        "response.incomplete" => {
            let response = field("response");
            // A reason that is not known still means that the reply was cut short.
            let filtered = response["incomplete_details"]["reason"] == "content_filter";
            end(&response, if filtered { Finish::ContentFilter } else { Finish::Length }, asked)
        }
        "response.failed" => Err(in_stream(words, &field("response")["error"])),
        _ => match field("error") {
            error if error.is_object() => Err(in_stream(words, &error)),
            // The documented form has the code beside the type; the nested one is what is also sent.
            _ if kind == "error" => Err(in_stream(words, &Value::Object(event))),
            _ => Ok(StreamEvent::Text(String::new())),
        },
    }
}

/// The end, as the response that the last event repeats tells it.
fn end(response: &Value, finish: Finish, asked: &str) -> Result<StreamEvent, ProviderError> {
    if !response.is_object() {
        return Err(ProviderError::BadResponse);
    }
    // Servers exist that count below zero or not at all.
    let count = |name: &str| response["usage"][name].as_u64().and_then(|count| u32::try_from(count).ok());
    let usage = count("input_tokens").zip(count("output_tokens"));
    Ok(StreamEvent::End(Completion {
        finish,
        usage: usage
            .map(|(prompt_tokens, completion_tokens)| TokenUsage { prompt_tokens, completion_tokens }),
        model: response["model"].as_str().unwrap_or(asked).to_owned(),
        provider_reply_id: response["id"].as_str().map(str::to_owned),
    }))
}

/// A finished item, if it is a call of a tool; every other kind of item has come piece by piece before.
fn call(item: Value) -> StreamEvent {
    let (Some("function_call"), Some(name)) = (item["type"].as_str(), item["name"].as_str()) else {
        return StreamEvent::Text(String::new());
    };
    // A call with arguments that are no JSON is no call.
    let Some(arguments) = item["arguments"].as_str().and_then(|text| serde_json::from_str(text).ok()) else {
        return StreamEvent::Text(String::new());
    };
    StreamEvent::Call(ToolCall {
        call_id: item["call_id"].as_str().unwrap_or_default().to_owned(),
        name: name.to_owned(),
        arguments,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ai::service::no_classifier;

    fn read(event: Value, asked: &str) -> Result<StreamEvent, ProviderError> {
        super::read(event, asked, no_classifier)
    }

    fn text(text: &str) -> Result<StreamEvent, ProviderError> {
        Ok(StreamEvent::Text(text.to_owned()))
    }

    fn ended(event: Value) -> Completion {
        match read(event.clone(), "asked") {
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
    fn a_finished_call_is_a_piece_and_other_finished_items_are_not() {
        let event = |item: Value| json!({"type": "response.output_item.done", "item": item});
        let call = |arguments: Value| {
            Ok(StreamEvent::Call(ToolCall { call_id: "c1".to_owned(), name: "look".to_owned(), arguments }))
        };
        let item =
            json!({"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{\"at\":1}"});
        assert_eq!(read(event(item.clone()), "m"), call(json!({"at": 1})));
        let mut broken = item;
        broken["arguments"] = json!("{\"at\":");
        assert_eq!(read(event(broken), "m"), text(""));
        assert_eq!(read(event(json!({"type": "message", "content": []})), "m"), text(""));
    }

    #[test]
    fn other_events_known_or_not_are_signs_of_life() {
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
    fn a_completed_response_ends_with_usage_model_and_id() {
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
    fn what_an_end_leaves_out_is_left_out() {
        let end = ended(json!({"type": "response.completed", "response": {}}));
        assert_eq!((end.usage, end.model.as_str(), end.provider_reply_id), (None, "asked", None));
        let negative = json!({"usage": {"input_tokens": -1, "output_tokens": 4}});
        assert_eq!(ended(json!({"type": "response.completed", "response": negative})).usage, None);
    }

    #[test]
    fn an_incomplete_response_says_why() {
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
    fn errors_inside_a_stream_are_told_apart_in_every_form() {
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
    fn right_json_in_the_wrong_shape_is_a_bad_response() {
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
}
