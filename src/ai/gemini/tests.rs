use serde_json::json;

use super::*;

#[test]
fn google_errors_are_classified() {
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
        assert_eq!(classify(Some(400), &error), expected, "{error}");
    }
}
