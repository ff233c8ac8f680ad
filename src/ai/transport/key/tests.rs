use super::*;

#[test]
fn key_is_well_formed_or_rejected_without_being_shown() {
    assert_eq!(ApiKey::new("sk-1").checked("X"), Ok("sk-1".to_owned()));
    assert_eq!(ApiKey::new(" ").checked("X"), Err(SettingsError::KeyMissing { variable: "X" }));
    for key in ["\"sk-1\"", "sk 1", "sk-1\n", "'sk-1'", "sk-é"] {
        let refused = ApiKey::new(key).checked("X");
        assert_eq!(refused, Err(SettingsError::KeyMalformed { variable: "X" }), "{key:?}");
    }
    assert_eq!(format!("{:?}", ApiKey::new("sk-canary")), "ApiKey(redacted)");
}
