use super::*;

#[test]
fn no_way_to_show_a_secret_shows_it() {
    let secret = Secret::new("hunter2-hunter2");
    let key = SecretKey::new([7; 32]);
    for shown in [
        format!("{secret} {secret:?} {:?}", Some(&secret)),
        format!("{key} {key:?} {:#?}", SecretSource::Given(&key)),
        serde_json::to_string(&(&secret, &key)).unwrap(),
    ] {
        assert!(shown.contains(REDACTED) && !shown.contains("hunter2") && !shown.contains('7'), "{shown}");
    }
    assert_eq!(secret.expose(), "hunter2-hunter2");
}
