use serde_json::json;

use super::*;

#[test]
fn flagged_message_differs_from_a_rejected_key() {
    let flagged = json!({"code": 403, "metadata": {"reasons": ["violence"], "flagged_input": "…"}});
    assert_eq!(classify(Some(403), &flagged), Some(ProviderError::ContentFilter));
    assert_eq!(classify(Some(403), &json!({"code": 403, "message": "Forbidden"})), None);
    assert_eq!(classify(Some(402), &flagged), None);
}
