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
    words,
};

/// One request that is over the account's limit of tokens per minute by itself comes with 413 and the code of a rate limit:
/// waiting does not help it, and the model might well have read it. So it is neither a rate limit nor a conversation that is
/// too long: somebody else may take it.
fn words(status: Option<u16>, _error: &Value) -> Option<ProviderError> {
    (status == Some(413)).then_some(ProviderError::RequestTooLarge)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_request_too_large_for_the_limit_is_for_somebody_else_whatever_its_code() {
        let error = json!({"code": "rate_limit_exceeded", "type": "tokens"});
        assert_eq!(words(Some(413), &error), Some(ProviderError::RequestTooLarge));
        assert_eq!(words(Some(429), &error), None);
    }
}
