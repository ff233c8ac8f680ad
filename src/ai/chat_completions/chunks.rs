//! The chunks of Chat Completions, read leniently: only the fields that matter, from whatever else there is.
//!
//! A reply is whole once its choice has a finish reason. Tokens are told in a chunk of their own after it, as a rule, and
//! then comes `[DONE]`; neither has to come, and neither is waited for long. But some servers give a finish reason with every
//! chunk: one that comes with text ends a reply only where the stream ends as it should.

use std::time::Duration;

use serde_json::Value;

use super::calls::Calls;
use crate::ai::service::ErrorClassifier;
use crate::ai::transport::errors::in_stream;
use crate::ai::transport::{Out, Reader};
use crate::ai::{Completion, Finish, ProviderError, StreamEvent, TokenUsage};

/// How long the tokens of a whole reply are waited for.
const GRACE: Duration = Duration::from_secs(2);

/// Reads the chunks of one reply.
pub(super) struct Chunks {
    words: ErrorClassifier,
    model: String,
    id: Option<String>,
    usage: Option<TokenUsage>,
    finish: Option<Finish>,
    /// The last that the choice had to say was a finish reason and nothing else: no more text comes.
    settled: bool,
    calls: Calls,
    ended: bool,
}

impl Chunks {
    /// A reader. `asked` is the model that was asked for, in case the answer does not name the one that answered.
    pub(super) fn new(asked: String, words: ErrorClassifier) -> Self {
        let calls = Calls::default();
        Self { words, model: asked, id: None, usage: None, finish: None, settled: false, calls, ended: false }
    }

    fn chunk(&mut self, chunk: &Value, out: &mut Out) -> Result<(), ProviderError> {
        if !chunk.is_object() {
            return Err(ProviderError::BadResponse);
        }
        match &chunk["error"] {
            Value::Null => {}
            error => return Err(in_stream(self.words, error)),
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
        // One choice was asked for.
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
        // A refusal is what the model has to say, so it is the reply's text.
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
        self.calls.take(&delta["tool_calls"])?;
        if says {
            self.settled = false;
        }
        match &choice["finish_reason"] {
            Value::Null => {}
            Value::String(reason) => {
                // Of several the last one counts: some servers give one with every chunk.
                self.finish = Some(match reason.to_ascii_lowercase().as_str() {
                    "" => return Ok(()),
                    "length" | "max_tokens" => Finish::Length,
                    "content_filter" | "safety" | "recitation" | "prohibited_content" | "blocklist"
                    | "spii" => {
                        // All but the first are Gemini's own words, as its other interface has them.
                        Finish::ContentFilter
                    }
                    "error" => return Err(ProviderError::unavailable(None)),
                    // `stop`, `tool_calls`, and whatever else a reply may end with.
                    _ => Finish::Stop,
                });
                self.settled = !says;
            }
            _ => return Err(ProviderError::BadResponse),
        }
        Ok(())
    }

    /// The end, if the reply is whole.
    fn end(&mut self, out: &mut Out) {
        let Some(finish) = self.finish.filter(|_| !self.ended) else { return };
        self.ended = true;
        out.extend(self.calls.whole().map(|call| Ok(StreamEvent::Call(call))));
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

    fn over(&mut self, broken: bool, out: &mut Out) {
        if self.settled || !broken {
            self.end(out);
        }
    }

    fn patience(&self) -> Option<Duration> {
        self.settled.then_some(GRACE)
    }
}

/// Servers exist that count below zero or not at all.
fn usage(usage: &Value) -> Option<TokenUsage> {
    let count = |name: &str| usage[name].as_u64().and_then(|count| u32::try_from(count).ok());
    let (prompt_tokens, completion_tokens) = count("prompt_tokens").zip(count("completion_tokens"))?;
    Some(TokenUsage { prompt_tokens, completion_tokens })
}

#[cfg(test)]
mod tests;
