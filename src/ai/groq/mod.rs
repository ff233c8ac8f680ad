//! Groq: open models, fast. Speaks Chat Completions.

use serde_json::Value;

use super::ProviderError;
use super::service::{Api, LengthField, Service, Variables};

/// Groq.
pub static SERVICE: Service = Service {
    name: "groq",
    title: "Groq",
    variables: Variables {
        keys: &["AI_SERVICES__GROQ_API_KEY"],
        base_url: "AI_SERVICES__GROQ_BASE_URL",
        model: "AI_SERVICES__GROQ_MODEL",
        api: None,
    },
    base_url: "https://api.groq.com/openai/v1",
    model: "llama-3.3-70b-versatile",
    api: Api::ChatCompletions,
    length: LengthField::MaxCompletionTokens,
    length_elsewhere: LengthField::MaxCompletionTokens,
    documents: false,
    transcriber: Some("whisper-large-v3-turbo"),
    classifier: classify,
};

/// Classifies Groq's errors. A request that alone exceeds the account's tokens per minute is a 413 with the code of a rate
/// limit. Waiting does not help, and the model itself might accept it: so it is neither a rate limit nor a too long
/// conversation, and the next provider may take it.
fn classify(status: Option<u16>, _error: &Value) -> Option<ProviderError> {
    (status == Some(413)).then_some(ProviderError::RequestTooLarge)
}

#[cfg(test)]
mod tests;
