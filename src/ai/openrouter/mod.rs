//! OpenRouter: many makers' models behind one key. Speaks Chat Completions; its errors are numbers.

use serde_json::Value;

use super::ProviderError;
use super::service::{Api, LengthField, Service, Variables};

/// OpenRouter. Two keys, asked in turns; one stands in for the other.
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
    words,
};

/// A 403 that names what was flagged is about the question, not about the key.
fn words(status: Option<u16>, error: &Value) -> Option<ProviderError> {
    let metadata = &error["metadata"];
    let flagged = ["reasons", "flagged_input", "patterns"].iter().any(|field| !metadata[*field].is_null());
    (status == Some(403) && flagged).then_some(ProviderError::ContentFilter)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_flagged_question_is_told_from_a_refused_key() {
        let flagged = json!({"code": 403, "metadata": {"reasons": ["violence"], "flagged_input": "…"}});
        assert_eq!(words(Some(403), &flagged), Some(ProviderError::ContentFilter));
        assert_eq!(words(Some(403), &json!({"code": 403, "message": "Forbidden"})), None);
        assert_eq!(words(Some(402), &flagged), None);
    }
}
