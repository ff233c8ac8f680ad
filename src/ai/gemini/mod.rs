//! Gemini through its endpoint that speaks Chat Completions; its errors are those of Google's APIs.

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
    // The larger ones think by default, and what they think counts against the length of the reply.
    model: "gemini-2.5-flash-lite",
    api: Api::ChatCompletions,
    length: LengthField::MaxTokens,
    length_elsewhere: LengthField::MaxTokens,
    documents: false,
    transcriber: None,
    words,
};

/// A wrong key comes with 400 and a reason among the details; a limit says there how long to wait, and, when it is one of
/// the day, that it is one.
fn words(_status: Option<u16>, error: &Value) -> Option<ProviderError> {
    let details = error["details"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is = |detail: &Value, kind: &str| detail["@type"].as_str().is_some_and(|name| name.ends_with(kind));
    if details.iter().any(|detail| detail["reason"] == "API_KEY_INVALID") {
        return Some(ProviderError::KeyInvalid);
    }
    match error["status"].as_str()? {
        // The last one: of the account's place or billing, which somebody has to see to.
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

/// `37s`, `0.5s`.
fn seconds(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.strip_suffix('s')?.parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_words_of_google_are_told_apart() {
        let limited = |retry_after| Some(ProviderError::RateLimited { retry_after });
        let kind = |name: &str| format!("type.googleapis.com/google.rpc.{name}");
        for (error, expected) in [
            (
                json!({"status": "INVALID_ARGUMENT", "details": [{"reason": "API_KEY_INVALID"}]}),
                Some(ProviderError::KeyInvalid),
            ),
            (json!({"status": "INVALID_ARGUMENT"}), None),
            (json!({"status": "PERMISSION_DENIED"}), Some(ProviderError::KeyInvalid)),
            (json!({"status": "FAILED_PRECONDITION"}), Some(ProviderError::KeyInvalid)),
            (json!({"status": "NOT_FOUND"}), Some(ProviderError::ModelUnknown)),
            (json!({"status": "UNAVAILABLE"}), Some(ProviderError::unavailable(None))),
            (json!({"status": "RESOURCE_EXHAUSTED"}), limited(None)),
            (
                json!({"status": "RESOURCE_EXHAUSTED", "details": [
                    {"@type": kind("QuotaFailure"), "violations": [{"quotaId": "RequestsPerMinutePerProject"}]},
                    {"@type": kind("RetryInfo"), "retryDelay": "37s"},
                ]}),
                limited(Some(Duration::from_secs(37))),
            ),
            (
                json!({"status": "RESOURCE_EXHAUSTED", "details": [
                    {"@type": kind("QuotaFailure"), "violations": [{"quotaId": "RequestsPerDayPerProject"}]},
                    {"@type": kind("RetryInfo"), "retryDelay": "37s"},
                ]}),
                Some(ProviderError::QuotaExceeded),
            ),
            (
                json!({"status": "RESOURCE_EXHAUSTED", "details": [{"@type": kind("RetryInfo"), "retryDelay": "-1s"}]}),
                limited(None),
            ),
            (json!({}), None),
        ] {
            assert_eq!(words(Some(400), &error), expected, "{error}");
        }
    }
}
