use super::*;

const GOOD: &str = "$argon2id$v=19$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$\
                    AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn rejected(line: &str, without_password: bool) -> Option<String> {
    read_line(line.as_bytes(), without_password).err()
}

#[test]
fn valid_lines_are_imported() {
    let line = format!(r#"{{"email": "a@b.example", "username": "ada", "password_hash": "{GOOD}"}}"#);
    let account = read_line(line.as_bytes(), false).unwrap();
    assert_eq!((account.email.as_str(), account.hash.as_deref()), ("a@b.example", Some(GOOD)));
    assert_eq!(account.username.unwrap().as_str(), "ada");
    let bare = read_line(br#"{"email": "a@b.example", "username": null}"#, true).unwrap();
    assert!(bare.username.is_none() && bare.hash.is_none());
}

#[test]
fn invalid_lines_are_rejected_without_being_quoted() {
    for (line, reason) in [
        ("", "not a JSON object"),
        ("[]", "not a string"),
        (r#"{"email": "secret@b.example""#, "not a JSON object"),
        (r#"{"email": 7}"#, "not a string"),
        (r#"{"username": "secret"}"#, "no email"),
        (r#"{"email": "a@b.example", "secret": 1}"#, "field other than"),
        (r#"{"email": "secret"}"#, "not well-formed"),
        (r#"{"email": "a@b.example", "username": "s e c r e t"}"#, "user name may have"),
    ] {
        let outcome = rejected(line, true).unwrap();
        assert!(outcome.contains(reason) && !outcome.contains("secret"), "{line}: {outcome}");
    }
    assert!(rejected(&" ".repeat(MAX_LINE_BYTES + 1), true).unwrap().contains("longer"));
}

#[test]
fn unsupported_hashes_are_rejected_or_left_out() {
    for (hash, reason) in [
        ("$2b$12$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW", "bcrypt"),
        ("pbkdf2_sha256$870000$salt$hash", "PBKDF2"),
        ("$pbkdf2-sha256$29000$N2YMIWQsBWBMae09x1jrPQ$1t8iyB2A.WF/Z5JZv.lfCIhXXN33N23OSgQYThBYRfk", "PBKDF2"),
        ("5f4dcc3b5aa765d61d8327deb882cf99", "argon2id"),
    ] {
        let line = format!(r#"{{"email": "a@b.example", "password_hash": "{hash}"}}"#);
        let outcome = rejected(&line, false).unwrap();
        assert!(outcome.contains(reason) && outcome.contains("--without-password"), "{outcome}");
        assert!(!outcome.contains(hash), "{outcome}");
        assert_eq!(read_line(line.as_bytes(), true).unwrap().hash, None);
    }
    assert!(rejected(r#"{"email": "a@b.example"}"#, false).unwrap().contains("no password_hash"));
}
