//! Gemini through its Chat Completions endpoint; its errors are those of Google's APIs.

use std::time::Duration;

use serde_json::Value;

use super::ProviderError;
use super::service::{Api, LengthField, Service, Variables};

/// Gemini.
pub static SERVICE: Service = Service {
    name: "gemini",
    title: "Gemini",
    variables: Variables {
        keys: &["AI_SERVICES__GEMINI_API_KEY"],
        base_url: "AI_SERVICES__GEMINI_BASE_URL",
        model: "AI_SERVICES__GEMINI_MODEL",
        api: None,
    },
    base_url: "https://generativelanguage.googleapis.com/v1beta/openai",
    // The larger models think by default, and thinking counts against the length of the reply.
    model: "gemini-2.5-flash-lite",
    api: Api::ChatCompletions,
    length: LengthField::MaxTokens,
    length_elsewhere: LengthField::MaxTokens,
    documents: false,
    transcriber: None,
    classifier: classify,
};

/// Classifies Google's errors. A wrong key is a 400 with a reason in the details; a rate limit has its wait there, and whether
/// it is a daily one.
fn classify(_status: Option<u16>, error: &Value) -> Option<ProviderError> {
    let details = error["details"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is = |detail: &Value, kind: &str| detail["@type"].as_str().is_some_and(|name| name.ends_with(kind));
    if details.iter().any(|detail| detail["reason"] == "API_KEY_INVALID") {
        return Some(ProviderError::KeyInvalid);
    }
    match error["status"].as_str()? {
        // The last one: location or billing of the account, which need operator action.
        "UNAUTHENTICATED" | "PERMISSION_DENIED" | "FAILED_PRECONDITION" => Some(ProviderError::KeyInvalid),
        "NOT_FOUND" => Some(ProviderError::ModelUnknown),
        "UNAVAILABLE" | "INTERNAL" | "DEADLINE_EXCEEDED" => Some(ProviderError::unavailable(None)),
        "RESOURCE_EXHAUSTED" => {
            let daily = |violation: &Value| {
                violation["quotaId"].as_str().is_some_and(|quota| quota.contains("PerDay"))
            };
            let failures = details.iter().filter(|detail| is(detail, "QuotaFailure"));
            let mut violations = failures.filter_map(|failure| failure["violations"].as_array()).flatten();
            if violations.any(daily) {
                return Some(ProviderError::QuotaExceeded);
            }
            let asked = details.iter().find(|detail| is(detail, "RetryInfo"));
            let retry_after = asked.and_then(|asked| seconds(asked["retryDelay"].as_str()?));
            Some(ProviderError::RateLimited { retry_after })
        }
        _ => None,
    }
}

/// Parses `37s` or `0.5s`.
fn seconds(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.strip_suffix('s')?.parse().ok()?).ok()
}

#[cfg(test)]
mod tests;
