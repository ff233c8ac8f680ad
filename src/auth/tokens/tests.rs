//! Attacks on access tokens, as a table.

use std::time::{Duration, Instant};

use aggregates::ids::{LoginId, UserId};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::auth::opaque_token::RefreshToken;

const SECRET: &[u8] = b"kY7pQ2xV9mZ4tR8wL3nB6cH1dF5gJ0sA";
const OTHER: &[u8] = b"9f86d081884c7d659a2feaa0c55ad015";
const NOW: i64 = 1_795_000_000;
const USER: UserId = UserId::new(Uuid::from_u128(1));
const LOGIN: LoginId = LoginId::new(Uuid::from_u128(2));

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap()
}

fn keys() -> TokenKeys {
    TokenKeys::new("k1", SECRET, []).unwrap()
}

fn issued(keys: &TokenKeys) -> String {
    keys.issue(USER, LOGIN, Uuid::from_u128(3), at(NOW), Duration::from_secs(1500)).unwrap()
}

fn header() -> Value {
    json!({"typ": "JWT", "alg": "HS256", "kid": "k1"})
}

fn claims() -> Value {
    json!({
        "sub": USER, "sid": LOGIN, "iat": NOW, "exp": NOW + 1500, "iss": "verbatim", "aud": "verbatim-api",
        "typ": "access", "jti": Uuid::from_u128(3),
    })
}

/// Applies `changes` to `base`; null removes a field.
fn with(mut base: Value, changes: Value) -> Value {
    let fields = base.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            fields.remove(name);
        } else {
            fields.insert(name.clone(), value.clone());
        }
    }
    base
}

/// Signs by hand, independently of the code under test.
fn signed_with(algorithm: hmac::Algorithm, secret: &[u8], header: &str, claims: &str) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let tag = hmac::sign(&hmac::Key::new(algorithm, secret), message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))
}

fn signed(header: &Value, claims: &Value) -> String {
    signed_with(hmac::HMAC_SHA256, SECRET, &header.to_string(), &claims.to_string())
}

fn rejection(token: &str) -> Option<TokenRejection> {
    match keys().verify(token, at(NOW)) {
        Err(TokenError::Invalid(reason)) => Some(reason),
        Err(TokenError::Signing) | Ok(_) => None,
    }
}

#[test]
fn verified_token_returns_its_claims() {
    let access = keys().verify(&issued(&keys()), at(NOW)).unwrap();
    assert_eq!((access.user, access.login, access.token_id), (USER, LOGIN, Uuid::from_u128(3)));
    assert_eq!((access.issued_at, access.expires_at), (NOW, NOW + 1500));
    // The hand-made one is as good, or the attacks below would prove nothing.
    assert_eq!(keys().verify(&signed(&header(), &claims()), at(NOW)), Ok(access));
}

#[test]
fn issued_token_has_the_documented_form() {
    let token = issued(&keys());
    let part = |n: usize| -> Value {
        let bytes = URL_SAFE_NO_PAD.decode(token.split('.').nth(n).unwrap()).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    };
    assert_eq!((part(0), part(1)), (header(), claims()));
}

#[test]
fn forged_headers_are_rejected() {
    for (changes, reason) in [
        (json!({"alg": "none"}), TokenRejection::Malformed),
        (json!({"alg": "None"}), TokenRejection::Malformed),
        (json!({"alg": "NONE"}), TokenRejection::Malformed),
        (json!({"alg": "nOnE"}), TokenRejection::Malformed),
        (json!({"alg": "hs256"}), TokenRejection::Malformed),
        (json!({"alg": null}), TokenRejection::Malformed),
        (json!({"alg": "HS384"}), TokenRejection::Algorithm),
        (json!({"alg": "HS512"}), TokenRejection::Algorithm),
        (json!({"alg": "RS256"}), TokenRejection::Algorithm),
        (json!({"alg": "ES256"}), TokenRejection::Algorithm),
        (json!({"alg": "EdDSA"}), TokenRejection::Algorithm),
        (json!({"kid": null}), TokenRejection::UnknownKey),
        (json!({"kid": ""}), TokenRejection::UnknownKey),
        (json!({"kid": "k2"}), TokenRejection::UnknownKey),
        (json!({"kid": "../../etc/passwd"}), TokenRejection::UnknownKey),
        (json!({"kid": "k1' OR '1'='1"}), TokenRejection::UnknownKey),
        (json!({"kid": "k".repeat(2000)}), TokenRejection::UnknownKey),
        (json!({"kid": "k".repeat(10 * 1024)}), TokenRejection::TooLong),
        (json!({"kid": ["k1"]}), TokenRejection::Malformed),
        (json!({"kid": 1}), TokenRejection::Malformed),
        (json!({"crit": ["exp"]}), TokenRejection::Critical),
        (json!({"crit": ["b64"], "b64": false}), TokenRejection::Critical),
        (json!({"crit": []}), TokenRejection::Critical),
        (json!({"crit": "exp"}), TokenRejection::Malformed),
        (json!({"enc": "A256GCM"}), TokenRejection::Malformed),
        (json!({"zip": "DEF"}), TokenRejection::Malformed),
    ] {
        let token = signed(&with(header(), changes.clone()), &claims());
        assert_eq!(rejection(&token), Some(reason), "{changes}");
    }
    // The signature that the named algorithm would have.
    for (name, algorithm) in [("HS384", hmac::HMAC_SHA384), ("HS512", hmac::HMAC_SHA512)] {
        let header = with(header(), json!({"alg": name})).to_string();
        let token = signed_with(algorithm, SECRET, &header, &claims().to_string());
        assert_eq!(rejection(&token), Some(TokenRejection::Algorithm), "{name}");
    }
}

#[test]
fn embedded_keys_are_ignored() {
    let own = json!({"kty": "oct", "k": URL_SAFE_NO_PAD.encode(OTHER)});
    for changes in [
        json!({"jwk": own}),
        json!({"jku": "https://evil.example/k"}),
        json!({"x5u": "https://evil.example/k"}),
    ] {
        let header = with(header(), changes.clone());
        let forged = signed_with(hmac::HMAC_SHA256, OTHER, &header.to_string(), &claims().to_string());
        let reason = rejection(&forged);
        assert!(
            matches!(reason, Some(TokenRejection::Signature | TokenRejection::Malformed)),
            "{changes}: {reason:?}"
        );
    }
}

#[test]
fn forged_claims_are_rejected() {
    for (changes, reason) in [
        (json!({"exp": NOW - 6}), TokenRejection::Expired),
        (json!({"exp": -1}), TokenRejection::Claims),
        (json!({"exp": 0}), TokenRejection::Expired),
        (json!({"exp": null}), TokenRejection::Claims),
        (json!({"exp": (NOW + 1500).to_string()}), TokenRejection::Claims),
        (json!({"exp": 1e300}), TokenRejection::Claims),
        (json!({"exp": 1_795_001_500.5}), TokenRejection::Claims),
        (json!({"exp": 1_795_001_500.0}), TokenRejection::Claims),
        (json!({"exp": u64::MAX}), TokenRejection::Claims),
        (json!({"exp": true}), TokenRejection::Claims),
        (json!({"exp": [NOW + 1500]}), TokenRejection::Claims),
        (json!({"nbf": NOW + 6}), TokenRejection::NotYet),
        (json!({"nbf": "soon"}), TokenRejection::Claims),
        (json!({"iat": NOW + 6}), TokenRejection::NotYet),
        (json!({"iat": null}), TokenRejection::Claims),
        (json!({"iss": "someone"}), TokenRejection::Issuer),
        (json!({"iss": null}), TokenRejection::Claims),
        (json!({"iss": ["verbatim"]}), TokenRejection::Claims),
        (json!({"aud": "verbatim-mail"}), TokenRejection::Audience),
        (json!({"aud": null}), TokenRejection::Claims),
        (json!({"aud": ["verbatim-api"]}), TokenRejection::Claims),
        (json!({"sub": null}), TokenRejection::Claims),
        (json!({"sub": ""}), TokenRejection::Claims),
        (json!({"sub": "admin"}), TokenRejection::Claims),
        (json!({"sid": null}), TokenRejection::Claims),
        (json!({"jti": null}), TokenRejection::Claims),
        (json!({"typ": null}), TokenRejection::Claims),
        (json!({"typ": "refresh"}), TokenRejection::Kind),
        (json!({"typ": "reset"}), TokenRejection::Kind),
        (json!({"typ": "ticket"}), TokenRejection::Kind),
        (json!({"typ": "Access"}), TokenRejection::Kind),
    ] {
        assert_eq!(
            rejection(&signed(&header(), &with(claims(), changes.clone()))),
            Some(reason),
            "{changes}"
        );
    }
    let twice = claims().to_string().replacen('{', &format!("{{\"exp\":{},", NOW + 9000), 1);
    let token = signed_with(hmac::HMAC_SHA256, SECRET, &header().to_string(), &twice);
    assert_eq!(rejection(&token), Some(TokenRejection::Claims));
}

#[test]
fn leeway_is_five_seconds() {
    for changes in [json!({"exp": NOW - 5}), json!({"nbf": NOW + 5}), json!({"iat": NOW + 5})] {
        assert_eq!(rejection(&signed(&header(), &with(claims(), changes.clone()))), None, "{changes}");
    }
    let token = issued(&keys());
    assert!(keys().verify(&token, at(NOW + 1505)).is_ok());
    assert_eq!(keys().verify(&token, at(NOW + 1506)), Err(TokenError::Invalid(TokenRejection::Expired)));
    assert!(keys().verify(&token, at(NOW - 5)).is_ok());
    assert_eq!(keys().verify(&token, at(NOW - 6)), Err(TokenError::Invalid(TokenRejection::NotYet)));
}

#[test]
fn malformed_tokens_are_rejected() {
    let good = issued(&keys());
    let parts: Vec<&str> = good.split('.').collect();
    let refresh = RefreshToken::from_random([7; 32]).expose();
    for token in [
        "",
        ".",
        "..",
        "...",
        parts[0],
        &format!("{}.{}", parts[0], parts[1]),
        &format!("{}.{}.", parts[0], parts[1]),
        &format!(".{}.{}", parts[1], parts[2]),
        &format!("{}..{}", parts[0], parts[2]),
        &format!("{good}."),
        &format!("{good}.{}", parts[2]),
        &format!("{good}.{}.{}", parts[1], parts[2]),
        &format!(" {good}"),
        &format!("{good} "),
        &format!("{good}\n"),
        &format!("{good}="),
        &good.replace('.', " "),
        &format!("{}.{}.{}", parts[1], parts[0], parts[2]),
        &refresh,
        "🦀.🦀.🦀",
    ] {
        assert!(rejection(token).is_some(), "{token:?}");
    }
    assert_eq!(rejection(&"a".repeat(8 * 1024)), Some(TokenRejection::TooLong));
    let padded = |length: usize| format!("{good}{}", "A".repeat(length - good.len()));
    assert!(matches!(
        rejection(&padded(MAX_BYTES)),
        Some(TokenRejection::Signature | TokenRejection::Malformed)
    ));
    assert_eq!(rejection(&padded(MAX_BYTES + 1)), Some(TokenRejection::TooLong));
    // And an access token is no refresh token.
    assert_eq!(RefreshToken::parse(&good), None);
}

/// A JWE in compact form (RFC 7516): our claims, or our own token, encrypted under the secret itself or a key in the second
/// part.
fn encrypted(header: &Value, wrapped: &[u8], content: &str) -> String {
    let header = URL_SAFE_NO_PAD.encode(header.to_string());
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, SECRET).unwrap());
    let (iv, mut sealed) = ([7; 12], content.as_bytes().to_vec());
    let aad = Aad::from(header.as_bytes());
    let nonce = Nonce::assume_unique_for_key(iv);
    let tag = key.seal_in_place_separate_tag(nonce, aad, &mut sealed).unwrap();
    [header, URL_SAFE_NO_PAD.encode(wrapped), URL_SAFE_NO_PAD.encode(iv), URL_SAFE_NO_PAD.encode(sealed)]
        .into_iter()
        .chain([URL_SAFE_NO_PAD.encode(tag)])
        .collect::<Vec<_>>()
        .join(".")
}

fn encryptions() -> Vec<String> {
    let header = |changes| with(json!({"typ": "JWT", "kid": "k1", "enc": "A256GCM"}), changes);
    let (claims, nested) = (claims().to_string(), issued(&keys()));
    vec![
        encrypted(&header(json!({"alg": "dir"})), &[], &claims),
        encrypted(&header(json!({"alg": "dir", "cty": "JWT"})), &[], &nested),
        encrypted(&header(json!({"alg": "A256KW"})), &[9; 40], &claims),
        encrypted(&header(json!({"alg": "RSA-OAEP-256"})), &[9; 256], &claims),
        encrypted(&header(json!({"alg": "dir", "zip": "DEF"})), &[], &claims),
        // What calls itself a signed token.
        encrypted(&header(json!({"alg": "HS256"})), &[], &claims),
        encrypted(&header(json!({"alg": "HS256", "enc": null})), claims.as_bytes(), &claims),
    ]
}

#[test]
fn encrypted_tokens_are_rejected() {
    for token in encryptions() {
        assert_eq!(token.split('.').count(), 5);
        assert_eq!(rejection(&token), Some(TokenRejection::Malformed), "{token}");
    }
}

/// S2: a forged token costs almost no work. Takes the median, because the machine does other things too.
#[test]
fn forgery_is_rejected_within_a_millisecond() {
    let keys = keys();
    let good = issued(&keys);
    let mut bent = good.clone().into_bytes();
    bent[good.len() / 2] ^= 1;
    let mut forgeries = encryptions();
    forgeries.extend([
        signed(&with(header(), json!({"alg": "none"})), &claims()),
        signed(&with(header(), json!({"alg": "RS256"})), &claims()),
        signed_with(
            hmac::HMAC_SHA384,
            SECRET,
            &with(header(), json!({"alg": "HS384"})).to_string(),
            &claims().to_string(),
        ),
        signed(&with(header(), json!({"kid": "k2"})), &claims()),
        signed(&with(header(), json!({"kid": "k".repeat(2000)})), &claims()),
        signed(&with(header(), json!({"crit": ["exp"]})), &claims()),
        signed_with(hmac::HMAC_SHA256, OTHER, &header().to_string(), &claims().to_string()),
        signed(&header(), &with(claims(), json!({"exp": NOW - 6}))),
        signed(&header(), &with(claims(), json!({"aud": "verbatim-mail"}))),
        signed_with(hmac::HMAC_SHA256, SECRET, &header().to_string(), &"[".repeat(2000)),
        String::from_utf8(bent).unwrap(),
        good.rsplit_once('.').unwrap().0.to_owned(),
        format!("{good}.{good}"),
        format!("{good}{}", "A".repeat(MAX_BYTES - good.len())),
        ".".repeat(MAX_BYTES),
        "a".repeat(8 * 1024),
    ]);
    for token in forgeries {
        let mut took: Vec<Duration> = (0..301)
            .map(|_| {
                let asked = Instant::now();
                assert!(keys.verify(&token, at(NOW)).is_err(), "{token}");
                asked.elapsed()
            })
            .collect();
        took.sort_unstable();
        assert!(took[150] < Duration::from_millis(1), "{:?}: {token}", took[150]);
    }
}

#[test]
fn any_changed_bit_invalidates_the_token() {
    let good = issued(&keys());
    for byte in 0..good.len() {
        for bit in 0..7 {
            let mut bytes = good.clone().into_bytes();
            bytes[byte] ^= 1 << bit;
            let forged = String::from_utf8(bytes).unwrap();
            assert!(rejection(&forged).is_some(), "byte {byte}, bit {bit}");
        }
    }
}

#[test]
fn token_of_another_key_is_rejected() {
    let stranger = TokenKeys::new("k1", OTHER, []).unwrap();
    assert_eq!(rejection(&issued(&stranger)), Some(TokenRejection::Signature));
}

#[test]
fn previous_key_verifies_until_withdrawn() {
    let old = issued(&TokenKeys::new("k1", SECRET, []).unwrap());
    let both = TokenKeys::new("k2", OTHER, [("k1", SECRET)]).unwrap();
    assert!(both.verify(&old, at(NOW)).is_ok());
    let new = issued(&both);
    assert!(both.verify(&new, at(NOW)).is_ok());
    let withdrawn = TokenKeys::new("k2", OTHER, []).unwrap();
    assert!(withdrawn.verify(&new, at(NOW)).is_ok());
    assert_eq!(withdrawn.verify(&old, at(NOW)), Err(TokenError::Invalid(TokenRejection::UnknownKey)));
    // The new key under the old id.
    let crossed = TokenKeys::new("k1", OTHER, []).unwrap();
    assert_eq!(both.verify(&issued(&crossed), at(NOW)), Err(TokenError::Invalid(TokenRejection::Signature)));
}

#[test]
fn unusable_keys_are_rejected() {
    let (long, short) = ("k".repeat(65), &SECRET[..31]);
    for (kid, secret, previous, error) in [
        ("", SECRET, ("k0", OTHER), TokenKeysError::KeyId),
        (long.as_str(), SECRET, ("k0", OTHER), TokenKeysError::KeyId),
        ("k1", SECRET, ("", OTHER), TokenKeysError::KeyId),
        ("k1", SECRET, ("k1", OTHER), TokenKeysError::SameKeyId),
        ("k1", short, ("k0", OTHER), TokenKeysError::Secret),
        ("k1", SECRET, ("k0", short), TokenKeysError::Secret),
    ] {
        assert_eq!(TokenKeys::new(kid, secret, [previous]).unwrap_err(), error);
    }
}

#[test]
fn errors_and_debug_reveal_nothing() {
    let texts: std::collections::HashSet<String> =
        [TokenRejection::Expired, TokenRejection::Signature, TokenRejection::UnknownKey]
            .map(|reason| TokenError::Invalid(reason).to_string())
            .into();
    assert_eq!(texts.len(), 1);
    assert!(!format!("{:?}", keys()).contains(std::str::from_utf8(SECRET).unwrap()));
}
