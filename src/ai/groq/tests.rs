use serde_json::json;

use super::*;

#[test]
fn request_too_large_for_the_account_goes_to_the_next_provider() {
    let error = json!({"code": "rate_limit_exceeded", "type": "tokens"});
    assert_eq!(classify(Some(413), &error), Some(ProviderError::RequestTooLarge));
    assert_eq!(classify(Some(429), &error), None);
}
