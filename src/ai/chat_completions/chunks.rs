//! Chunks of Chat Completions, parsed leniently: only the fields that matter.
//!
//! A reply is complete once its choice has a finish reason. Usually a chunk with the usage follows, then `[DONE]`; both are
//! optional, and neither is waited for long. Some servers send a finish reason with every chunk: one that comes with text
//! ends a reply only if the stream then ends normally.

use std::time::Duration;

use serde_json::Value;

use super::calls::Calls;
use crate::ai::service::ErrorClassifier;
use crate::ai::transport::errors::in_stream;
use crate::ai::transport::{Out, Reader};
use crate::ai::{Completion, Finish, ProviderError, StreamEvent, TokenUsage};

/// How long to wait for the usage of a complete reply.
const USAGE_TIMEOUT: Duration = Duration::from_secs(2);

/// Reads the chunks of one reply.
pub(super) struct Chunks {
    classifier: ErrorClassifier,
    model: String,
    id: Option<String>,
    usage: Option<TokenUsage>,
    finish: Option<Finish>,
    /// Whether the choice last sent a finish reason and nothing else: no more text follows.
    settled: bool,
    calls: Calls,
    ended: bool,
}

impl Chunks {
    /// Creates a reader. `requested` is the requested model, in case the response does not name the one that answered.
    pub(super) fn new(requested: String, classifier: ErrorClassifier) -> Self {
        let calls = Calls::default();
        Self {
            classifier,
            model: requested,
            id: None,
            usage: None,
            finish: None,
            settled: false,
            calls,
            ended: false,
        }
    }

    fn chunk(&mut self, chunk: &Value, out: &mut Out) -> Result<(), ProviderError> {
        if !chunk.is_object() {
            return Err(ProviderError::BadResponse);
        }
        match &chunk["error"] {
            Value::Null => {}
            error => return Err(in_stream(self.classifier, error)),
        }
        if let Some(model) = chunk["model"].as_str().filter(|model| !model.is_empty()) {
            model.clone_into(&mut self.model);
        }
        if self.id.is_none() {
            self.id = chunk["id"].as_str().filter(|id| !id.is_empty()).map(str::to_owned);
        }
        let choices = match &chunk["choices"] {
            Value::Null => &[],
            Value::Array(choices) => choices.as_slice(),
            _ => return Err(ProviderError::BadResponse),
        };
        // Only one choice was requested.
        for choice in choices.iter().filter(|choice| choice["index"].as_u64().unwrap_or(0) == 0) {
            self.choice(choice, out)?;
        }
        let told = chunk["usage"].is_object();
        if told {
            self.usage = usage(&chunk["usage"]);
        }
        if told && choices.is_empty() {
            self.end(out);
        }
        Ok(())
    }

    fn choice(&mut self, choice: &Value, out: &mut Out) -> Result<(), ProviderError> {
        let delta = &choice["delta"];
        let mut says = delta["tool_calls"].as_array().is_some_and(|calls| !calls.is_empty());
        // A refusal is text of the model, so it is part of the reply.
        for field in ["content", "refusal"] {
            match &delta[field] {
                Value::Null => {}
                Value::String(text) => {
                    says |= !text.is_empty();
                    out.push_back(Ok(StreamEvent::Text(text.clone())));
                }
                _ => return Err(ProviderError::BadResponse),
            }
        }
        self.calls.add(&delta["tool_calls"])?;
        if says {
            self.settled = false;
        }
        match &choice["finish_reason"] {
            Value::Null => {}
            Value::String(reason) => {
                // The last finish reason counts: some servers send one with every chunk.
                self.finish = Some(match reason.to_ascii_lowercase().as_str() {
                    "" => return Ok(()),
                    "length" | "max_tokens" => Finish::Length,
                    "content_filter" | "safety" | "recitation" | "prohibited_content" | "blocklist"
                    | "spii" => {
                        // All but the first are values of Gemini's native API.
                        Finish::ContentFilter
                    }
                    "error" => return Err(ProviderError::unavailable(None)),
                    // `stop`, `tool_calls` and any other normal end.
                    _ => Finish::Stop,
                });
                self.settled = !says;
            }
            _ => return Err(ProviderError::BadResponse),
        }
        Ok(())
    }

    /// Appends the end, if the reply is complete.
    fn end(&mut self, out: &mut Out) {
        let Some(finish) = self.finish.filter(|_| !self.ended) else { return };
        self.ended = true;
        out.extend(self.calls.complete().map(|call| Ok(StreamEvent::Call(call))));
        out.push_back(Ok(StreamEvent::End(Completion {
            finish,
            usage: self.usage,
            model: self.model.clone(),
            provider_reply_id: self.id.clone(),
        })));
    }
}

impl Reader for Chunks {
    fn read(&mut self, event: Value, out: &mut Out) {
        if let Err(error) = self.chunk(&event, out) {
            out.push_back(Err(error));
        }
    }

    fn finish(&mut self, broken: bool, out: &mut Out) {
        if self.settled || !broken {
            self.end(out);
        }
    }

    fn end_timeout(&self) -> Option<Duration> {
        self.settled.then_some(USAGE_TIMEOUT)
    }
}

/// Parses the usage. Some servers report negative counts, or none.
fn usage(usage: &Value) -> Option<TokenUsage> {
    let count = |name: &str| usage[name].as_u64().and_then(|count| u32::try_from(count).ok());
    let (prompt_tokens, completion_tokens) = count("prompt_tokens").zip(count("completion_tokens"))?;
    Some(TokenUsage { prompt_tokens, completion_tokens })
}

#[cfg(test)]
mod tests;
