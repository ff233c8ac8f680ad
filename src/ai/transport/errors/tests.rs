use serde_json::json;

use super::*;
use crate::ai::service::no_classifier;

#[test]
fn status_without_readable_body_is_classified() {
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
fn type_counts_when_the_code_is_unknown() {
    let error = json!({"code": null, "type": "insufficient_quota"});
    assert_eq!(named(&error), Some(ProviderError::QuotaExceeded));
    let error = json!({"code": "model_not_found", "type": "requests"});
    assert_eq!(named(&error), Some(ProviderError::ModelUnknown));
    assert_eq!(named(&json!({})), None);
    assert_eq!(named(&json!(null)), None);
}

#[test]
fn code_wins_over_status_and_header_over_body() {
    let wait = Some(Duration::from_secs(2));
    let limited = json!({"code": "rate_limit_exceeded"});
    let expected = ProviderError::RateLimited { retry_after: wait };
    assert_eq!(of_answer(no_classifier, 400, wait, &limited), expected);
    let classifier: ErrorClassifier =
        |_, _| Some(ProviderError::RateLimited { retry_after: Some(Duration::from_secs(37)) });
    assert_eq!(of_answer(classifier, 429, wait, &Value::Null), expected);
    let from_body = ProviderError::RateLimited { retry_after: Some(Duration::from_secs(37)) };
    assert_eq!(of_answer(classifier, 429, None, &Value::Null), from_body);
}

#[test]
fn unavailable_provider_may_send_a_retry_hint() {
    let retry_after = Some(Duration::from_secs(2));
    let away = ProviderError::Unavailable { status: Some(503), retry_after };
    assert_eq!(of_answer(no_classifier, 503, retry_after, &Value::Null), away);
    assert_eq!(of_answer(no_classifier, 503, retry_after, &json!({"code": "overloaded"})), away);
}

#[test]
fn too_long_conversation_is_recognized_by_code_or_message() {
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
fn number_in_a_stream_is_a_status() {
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
