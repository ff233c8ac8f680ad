use super::*;

fn open(key: &LiveKey, context: &str, message: &[u8]) -> Option<TextDelta> {
    key.open(context, message)
}

#[test]
fn message_opens_only_unchanged_with_its_key_and_context() {
    let key = LiveKey::new(&[7; 32]).unwrap();
    let delta = TextDelta { attempt: 2, offset: 5, text: "wörd".to_owned() };
    let sealed = key.seal("one", &delta).unwrap();
    assert_eq!(open(&key, "one", &sealed), Some(delta.clone()));
    assert_eq!(open(&LiveKey::new(&[7; 32]).unwrap(), "one", &sealed), Some(delta));
    assert_eq!(open(&key, "two", &sealed), None, "another reply's");
    assert_eq!(open(&LiveKey::new(&[8; 32]).unwrap(), "one", &sealed), None, "another key's");
    for at in [0, sealed.len() / 2, sealed.len() - 1] {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        assert_eq!(open(&key, "one", &changed), None, "changed at {at}");
    }
    for rubbish in [&b""[..], b"short", &[0; 100]] {
        assert_eq!(open(&key, "one", rubbish), None);
    }
    assert!(!sealed.windows(3).any(|window| window == b"rd\""), "the plaintext is visible");
}
