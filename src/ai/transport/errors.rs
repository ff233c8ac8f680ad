//! Classifies providers' errors: by the codes in their error objects, otherwise by the status.
//!
//! An error's message is never stored or shown. It is searched for one fact that some servers report nowhere else: that
//! the conversation is too long for the model.

use std::time::Duration;

use serde_json::Value;

use crate::ai::ProviderError;
use crate::ai::service::ErrorClassifier;

/// Phrases of all known servers of the two protocols for a conversation that is too long.
const TOO_LONG: [&str; 3] =
    ["maximum context length", "exceeds the maximum number of tokens", "context window"];

/// Returns the error of a response with this status. `error` is the object in its body, or null.
pub(super) fn of_answer(
    classifier: ErrorClassifier,
    status: u16,
    retry_after: Option<Duration>,
    error: &Value,
) -> ProviderError {
    match classifier(Some(status), error).or_else(|| named(error)) {
        Some(ProviderError::RateLimited { retry_after: from_body }) => {
            ProviderError::RateLimited { retry_after: retry_after.or(from_body) }
        }
        Some(ProviderError::Unavailable { retry_after: from_body, .. }) => {
            ProviderError::Unavailable { status: Some(status), retry_after: retry_after.or(from_body) }
        }
        Some(error) => error,
        None if matches!(status, 400 | 413 | 422) && is_too_long(error) => ProviderError::ContextTooLong,
        None => by_status(status, retry_after),
    }
}

/// Returns the error in the middle of a stream; without a known code it is the provider's own failure.
pub(in crate::ai) fn in_stream(classifier: ErrorClassifier, error: &Value) -> ProviderError {
    let status = error["code"].as_u64().and_then(|code| u16::try_from(code).ok());
    let by_number = || match status? {
        // Within a stream, a number is the status of a server behind the provider.
        status @ 400..=599 => Some(by_status(status, None)),
        _ => None,
    };
    classifier(status, error)
        .or_else(|| named(error))
        .or_else(|| is_too_long(error).then_some(ProviderError::ContextTooLong))
        .or_else(by_number)
        .unwrap_or(ProviderError::unavailable(None))
}

/// Returns the meaning of an error object, by code first, then by type; `None` for unknown codes and for numbers, which add
/// nothing to the status.
pub(super) fn named(error: &Value) -> Option<ProviderError> {
    let by_word = |word: &Value| match word.as_str()? {
        "insufficient_quota"
        | "billing_hard_limit_reached"
        | "billing_not_active"
        | "insufficient_credits"
        | "payment_required" => Some(ProviderError::QuotaExceeded),
        "rate_limit_exceeded" | "rate_limit_error" | "too_many_requests" | "requests" | "tokens" => {
            Some(ProviderError::RateLimited { retry_after: None })
        }
        "missing_api_key" => Some(ProviderError::KeyMissing),
        "invalid_api_key" | "authentication_error" | "permission_error" | "account_deactivated" => {
            Some(ProviderError::KeyInvalid)
        }
        "model_not_found" | "model_decommissioned" => Some(ProviderError::ModelUnknown),
        "server_error" | "internal_error" | "overloaded_error" | "overloaded" | "service_unavailable" => {
            Some(ProviderError::unavailable(None))
        }
        "content_filter" | "content_policy_violation" | "moderation_blocked" => {
            Some(ProviderError::ContentFilter)
        }
        "context_length_exceeded" | "exceed_context_size_error" => Some(ProviderError::ContextTooLong),
        "invalid_prompt" => Some(ProviderError::BadRequest),
        _ => None,
    };
    by_word(&error["code"]).or_else(|| by_word(&error["type"]))
}

fn is_too_long(error: &Value) -> bool {
    let message = error["message"].as_str().unwrap_or_default();
    TOO_LONG.iter().any(|words| message.contains(words))
}

/// Returns the error that a status means when the body says nothing more specific.
pub(super) fn by_status(status: u16, retry_after: Option<Duration>) -> ProviderError {
    match status {
        401 | 403 => ProviderError::KeyInvalid,
        402 => ProviderError::QuotaExceeded,
        404 => ProviderError::ModelUnknown,
        408 | 500..=599 => ProviderError::Unavailable { status: Some(status), retry_after },
        429 => ProviderError::RateLimited { retry_after },
        400..=499 => ProviderError::BadRequest,
        _ => ProviderError::BadResponse,
    }
}

#[cfg(test)]
mod tests;
