//! Providers' errors by name: from the words in their error objects, else from the status.
//!
//! An error's message is never kept or shown; it is looked at for one thing that some say nowhere else: that the
//! conversation is too long for the model.

use std::time::Duration;

use serde_json::Value;

use crate::ai::ProviderError;
use crate::ai::service::ErrorClassifier;

/// What all known servers of the two protocols say, in a message, of a conversation that is too long.
const TOO_LONG: [&str; 3] =
    ["maximum context length", "exceeds the maximum number of tokens", "context window"];

/// The error of an answer with this status. `error` is the object in its body; null as far as there is none.
pub(super) fn of_answer(
    words: ErrorClassifier,
    status: u16,
    retry_after: Option<Duration>,
    error: &Value,
) -> ProviderError {
    match words(Some(status), error).or_else(|| named(error)) {
        Some(ProviderError::RateLimited { retry_after: told }) => {
            ProviderError::RateLimited { retry_after: retry_after.or(told) }
        }
        Some(ProviderError::Unavailable { retry_after: told, .. }) => {
            ProviderError::Unavailable { status: Some(status), retry_after: retry_after.or(told) }
        }
        Some(error) => error,
        None if matches!(status, 400 | 413 | 422) && is_too_long(error) => ProviderError::ContextTooLong,
        None => by_status(status, retry_after),
    }
}

/// The error of a stream that had begun well; without a known name it is the provider's own trouble.
pub(in crate::ai) fn in_stream(words: ErrorClassifier, error: &Value) -> ProviderError {
    let status = error["code"].as_u64().and_then(|code| u16::try_from(code).ok());
    let by_number = || match status? {
        // In the middle of a stream, a number is a status of somebody behind the provider.
        status @ 400..=599 => Some(by_status(status, None)),
        _ => None,
    };
    words(status, error)
        .or_else(|| named(error))
        .or_else(|| is_too_long(error).then_some(ProviderError::ContextTooLong))
        .or_else(by_number)
        .unwrap_or(ProviderError::unavailable(None))
}

/// What an error object means, by its code first, then by its type; `None` for words unknown and for numbers, which say
/// nothing that the status does not.
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

/// The error that a status means when the body does not say it better.
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
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ai::service::no_classifier;

    #[test]
    fn a_status_without_a_readable_body_is_still_told_apart() {
        let expected = [
            (302, ProviderError::BadResponse),
            (400, ProviderError::BadRequest),
            (401, ProviderError::KeyInvalid),
            (402, ProviderError::QuotaExceeded),
            (403, ProviderError::KeyInvalid),
            (404, ProviderError::ModelUnknown),
            (408, ProviderError::unavailable(Some(408))),
            (422, ProviderError::BadRequest),
            (429, ProviderError::RateLimited { retry_after: None }),
            (500, ProviderError::unavailable(Some(500))),
            (503, ProviderError::unavailable(Some(503))),
        ];
        for (status, error) in expected {
            assert_eq!(of_answer(no_classifier, status, None, &Value::Null), error, "{status}");
        }
    }

    #[test]
    fn the_type_counts_where_the_code_says_nothing() {
        let error = json!({"code": null, "type": "insufficient_quota"});
        assert_eq!(named(&error), Some(ProviderError::QuotaExceeded));
        let error = json!({"code": "model_not_found", "type": "requests"});
        assert_eq!(named(&error), Some(ProviderError::ModelUnknown));
        assert_eq!(named(&json!({})), None);
        assert_eq!(named(&json!(null)), None);
    }

    #[test]
    fn words_win_over_the_status_and_the_header_over_the_body() {
        let wait = Some(Duration::from_secs(2));
        let limited = json!({"code": "rate_limit_exceeded"});
        let expected = ProviderError::RateLimited { retry_after: wait };
        assert_eq!(of_answer(no_classifier, 400, wait, &limited), expected);
        let words: ErrorClassifier =
            |_, _| Some(ProviderError::RateLimited { retry_after: Some(Duration::from_secs(37)) });
        assert_eq!(of_answer(words, 429, wait, &Value::Null), expected);
        let told = ProviderError::RateLimited { retry_after: Some(Duration::from_secs(37)) };
        assert_eq!(of_answer(words, 429, None, &Value::Null), told);
    }

    #[test]
    fn a_provider_that_is_away_may_say_for_how_long() {
        let retry_after = Some(Duration::from_secs(2));
        let away = ProviderError::Unavailable { status: Some(503), retry_after };
        assert_eq!(of_answer(no_classifier, 503, retry_after, &Value::Null), away);
        assert_eq!(of_answer(no_classifier, 503, retry_after, &json!({"code": "overloaded"})), away);
    }

    #[test]
    fn a_conversation_that_is_too_long_is_told_by_code_or_message() {
        for error in [
            json!({"code": "context_length_exceeded"}),
            json!({"code": 400, "message": "This model's maximum context length is 8192 tokens."}),
            json!({"code": 400, "message": "The input token count (9) exceeds the maximum number of tokens allowed (8)."}),
        ] {
            assert_eq!(of_answer(no_classifier, 400, None, &error), ProviderError::ContextTooLong, "{error}");
            assert_eq!(in_stream(no_classifier, &error), ProviderError::ContextTooLong, "{error}");
        }
        let elsewhere = json!({"message": "maximum context length"});
        assert_eq!(of_answer(no_classifier, 401, None, &elsewhere), ProviderError::KeyInvalid);
    }

    #[test]
    fn a_number_in_a_stream_is_a_status() {
        let expected = [
            (402, ProviderError::QuotaExceeded),
            (429, ProviderError::RateLimited { retry_after: None }),
            (502, ProviderError::unavailable(Some(502))),
            (7, ProviderError::unavailable(None)),
        ];
        for (code, error) in expected {
            assert_eq!(in_stream(no_classifier, &json!({"code": code})), error, "{code}");
        }
    }
}
