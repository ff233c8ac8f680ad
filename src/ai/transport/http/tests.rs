use serde_json::json;

use super::*;

#[test]
fn error_object_is_found_in_every_form() {
    let error = json!({"code": 400});
    for body in [json!({"error": error}), json!([{"error": error}])] {
        assert_eq!(error_in(body), error);
    }
    for body in [json!(null), json!([]), json!("error"), json!({"detail": 1}), json!([1])] {
        assert_eq!(error_in(body.clone()), Value::Null, "{body}");
    }
}
