//! OpenRouter: models of many vendors with one key. Speaks Chat Completions; its error codes are numbers.

use serde_json::Value;

use super::ProviderError;
use super::service::{Api, LengthField, Service, Variables};

/// OpenRouter. Its two keys are used in turn; each is the fallback of the other.
pub static SERVICE: Service = Service {
    name: "openrouter",
    title: "OpenRouter",
    variables: Variables {
        keys: &["AI_SERVICES__OPEN_ROUTER_API_KEY_1", "AI_SERVICES__OPEN_ROUTER_API_KEY_2"],
        base_url: "AI_SERVICES__OPEN_ROUTER_BASE_URL",
        model: "AI_SERVICES__OPEN_ROUTER_MODEL",
        api: None,
    },
    base_url: "https://openrouter.ai/api/v1",
    model: "openai/gpt-4o-mini",
    api: Api::ChatCompletions,
    length: LengthField::MaxTokens,
    length_elsewhere: LengthField::MaxTokens,
    documents: true,
    transcriber: None,
    classifier: classify,
};

/// Classifies OpenRouter's errors. A 403 with moderation details is about the message, not the key.
fn classify(status: Option<u16>, error: &Value) -> Option<ProviderError> {
    let metadata = &error["metadata"];
    let flagged = ["reasons", "flagged_input", "patterns"].iter().any(|field| !metadata[*field].is_null());
    (status == Some(403) && flagged).then_some(ProviderError::ContentFilter)
}

#[cfg(test)]
mod tests;
