//! Events of the Responses API, parsed leniently: only the fields that matter.

use serde_json::Value;

use crate::ai::service::ErrorClassifier;
use crate::ai::transport::errors::in_stream;
use crate::ai::transport::{Out, Reader};
use crate::ai::{Completion, Finish, ProviderError, StreamEvent, TokenUsage, ToolCall};

/// Reads the events of one reply.
pub(super) struct Events {
    /// Requested model, in case the response does not name the one that answered.
    pub(super) requested: String,
    /// The service's error classifier.
    pub(super) classifier: ErrorClassifier,
}

impl Reader for Events {
    fn read(&mut self, event: Value, out: &mut Out) {
        out.push_back(read(event, &self.requested, self.classifier));
    }
}

/// Converts one event. Unknown events and keep-alives become empty text.
fn read(event: Value, requested: &str, classifier: ErrorClassifier) -> Result<StreamEvent, ProviderError> {
    let Value::Object(mut event) = event else { return Err(ProviderError::BadResponse) };
    let kind = match event.remove("type") {
        Some(Value::String(kind)) => kind,
        Some(_) => return Err(ProviderError::BadResponse),
        None => String::new(),
    };
    let mut field = |name: &str| event.remove(name).unwrap_or_default();
    match kind.as_str() {
        // A refusal is text of the model, so it is part of the reply.
        "response.output_text.delta" | "response.refusal.delta" => match field("delta") {
            Value::String(text) => Ok(StreamEvent::Text(text)),
            _ => Err(ProviderError::BadResponse),
        },
        "response.output_item.done" => Ok(call(field("item"))),
        "response.completed" => end(&field("response"), Finish::Stop, requested),
        "response.incomplete" => {
            let response = field("response");
            // An unknown reason still means that the reply was cut.
            let filtered = response["incomplete_details"]["reason"] == "content_filter";
            end(&response, if filtered { Finish::ContentFilter } else { Finish::Length }, requested)
        }
        "response.failed" => Err(in_stream(classifier, &field("response")["error"])),
        _ => match field("error") {
            error if error.is_object() => Err(in_stream(classifier, &error)),
            // The documented form has the code beside the type; servers also send the nested form.
            _ if kind == "error" => Err(in_stream(classifier, &Value::Object(event))),
            _ => Ok(StreamEvent::Text(String::new())),
        },
    }
}

/// Returns the end, from the response that the last event repeats.
fn end(response: &Value, finish: Finish, requested: &str) -> Result<StreamEvent, ProviderError> {
    if !response.is_object() {
        return Err(ProviderError::BadResponse);
    }
    // Some servers report negative counts, or none.
    let count = |name: &str| response["usage"][name].as_u64().and_then(|count| u32::try_from(count).ok());
    let usage = count("input_tokens").zip(count("output_tokens"));
    Ok(StreamEvent::End(Completion {
        finish,
        usage: usage
            .map(|(prompt_tokens, completion_tokens)| TokenUsage { prompt_tokens, completion_tokens }),
        model: response["model"].as_str().unwrap_or(requested).to_owned(),
        provider_reply_id: response["id"].as_str().map(str::to_owned),
    }))
}

/// Returns a finished item if it is a tool call; all other items have arrived as deltas.
fn call(item: Value) -> StreamEvent {
    let (Some("function_call"), Some(name)) = (item["type"].as_str(), item["name"].as_str()) else {
        return StreamEvent::Text(String::new());
    };
    // Skip a call whose arguments are not JSON.
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
mod tests;
