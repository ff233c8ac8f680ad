use super::*;

#[test]
fn key_is_accepted_in_every_common_encoding() {
    let bytes: [u8; 32] = std::array::from_fn(|index| u8::try_from((index * 7 + 250) & 255).unwrap());
    let hex: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    for text in [hex, STANDARD.encode(bytes), URL_SAFE.encode(bytes), URL_SAFE_NO_PAD.encode(bytes)] {
        assert_eq!(key_bytes(&text), Some(bytes), "{text}");
    }
    assert_eq!(key_bytes("abcd"), None);
    assert_eq!(key_bytes(&"é".repeat(32)), None);
}

#[test]
fn key_ids_are_stable_and_distinguish_secrets() {
    assert_eq!(key_id(b"a secret"), key_id(b"a secret"));
    assert_ne!(key_id(b"a secret"), key_id(b"another secret"));
    assert!(is_kid(&key_id(b"a secret")));
}

#[test]
fn samples_of_all_sample_files_are_placeholders() {
    for sample in [
        "your-secret-key-change-in-production",
        "your-secret-key-here-change-in-production",
        "your-secret-key-change-this-in-production",
        "Your_Super_Secret_JWT_Key_Of_Many_Characters",
        "changeme-changeme-changeme-changeme",
    ] {
        assert!(is_placeholder(sample), "{sample}");
    }
    assert!(!is_placeholder("f3a1c09b7e5d2846f3a1c09b7e5d2846"));
}

#[test]
fn typed_or_repeated_secrets_are_distinguished_from_random_ones() {
    for typed in [
        "password123password123password123",
        "my-secret-key-at-least-32-characters-long",
        "12345678901234567890abcdefghijklmno",
    ] {
        assert!(is_typed(typed), "{typed}");
    }
    for (text, repeated) in [
        ("f3a1c09b7e5d2846f3a1c09b7e5d2846", true),
        ("f3a1c09b7e5d2846f3a1c09b7e5d2846f3a1c09", true),
        ("f3a1c09b7e5d2846f3a1c09b7e5d2847", false),
        ("9e107d9d372bb6826bd81d3542a419d6", false),
    ] {
        assert_eq!(is_repeated(text), repeated, "{text}");
        assert!(!is_typed(text), "{text}");
    }
}
