//! Keyed hashes of guessable values: addresses and user names, which name claim streams in the log for ever, and request
//! bodies, which may hold a password. A plain hash of either could be found by guessing.
//!
//! Used by registration (claims) and for idempotency keys (fingerprints).

use aws_lc_rs::{hkdf, hmac};

/// Salt and labels of the key derivation. Never change them: existing claims in the log would no longer be found.
const SALT: &[u8] = b"verbatim/v1";
const CLAIMS: &[u8] = b"claim names";
const FINGERPRINTS: &[u8] = b"request fingerprints";

/// The cryptographic library could not derive the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the keys for claims and fingerprints could not be derived")]
pub struct KeyedHasherError;

/// Hashes names of claim streams and request bodies with keys derived from the master key.
///
/// The master key cannot be replaced without renaming every claim stream.
#[derive(Debug, Clone)]
pub struct KeyedHasher {
    claims: hmac::Key,
    fingerprints: hmac::Key,
}

impl KeyedHasher {
    /// Derives the keys from the configured master key.
    ///
    /// # Errors
    /// The library cannot derive them.
    pub fn new(master: &[u8; 32]) -> Result<Self, KeyedHasherError> {
        let key = hkdf::Salt::new(hkdf::HKDF_SHA256, SALT).extract(master);
        let derive = |label: &[u8]| {
            key.expand(&[label], hmac::HMAC_SHA256).map(hmac::Key::from).map_err(|_| KeyedHasherError)
        };
        Ok(Self { claims: derive(CLAIMS)?, fingerprints: derive(FINGERPRINTS)? })
    }

    /// Returns the claim stream of a normalised e-mail address, `email:<64 hexadecimal digits>`.
    #[must_use]
    pub fn email_claim(&self, normalised: &str) -> String {
        self.claim("email", normalised)
    }

    /// Returns the claim stream of a normalised user name, `username:<64 hexadecimal digits>`.
    #[must_use]
    pub fn username_claim(&self, normalised: &str) -> String {
        self.claim("username", normalised)
    }

    /// Returns the fingerprint of a request, which identifies a repetition.
    #[must_use]
    pub fn fingerprint(&self, bytes: &[u8]) -> [u8; 32] {
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(hmac::sign(&self.fingerprints, bytes).as_ref());
        fingerprint
    }

    /// Hashes the kind too, so that an address and a name of the same spelling cannot be linked.
    fn claim(&self, kind: &str, normalised: &str) -> String {
        let mut context = hmac::Context::with_key(&self.claims);
        context.update(kind.as_bytes());
        context.update(b"\0");
        context.update(normalised.as_bytes());
        let mut id = format!("{kind}:");
        for byte in context.sign().as_ref() {
            id.push(char::from(b"0123456789abcdef"[usize::from(byte >> 4)]));
            id.push(char::from(b"0123456789abcdef"[usize::from(byte & 15)]));
        }
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASTER: &[u8; 32] = b"kY7pQ2xV9mZ4tR8wL3nB6cH1dF5gJ0sA";
    const OTHER: &[u8; 32] = b"9f86d081884c7d659a2feaa0c55ad015";

    #[test]
    fn claim_names_never_change() {
        let keys = KeyedHasher::new(MASTER).unwrap();
        assert_eq!(
            keys.email_claim("ada@example.org"),
            "email:7b3e78218ed8b0a80d6f76e9ef351fdab452136aac18103f4b103961b7a0497f"
        );
        assert_eq!(
            keys.username_claim("ada"),
            "username:d75885df2f2ca4992919dd91632de148344f73e80eaf82677ee29fffdb267c11"
        );
    }

    #[test]
    fn claim_depends_on_kind_value_and_secret() {
        let keys = KeyedHasher::new(MASTER).unwrap();
        let other = KeyedHasher::new(OTHER).unwrap();
        let digits = |id: String| id.split_once(':').unwrap().1.to_owned();
        assert_eq!(keys.email_claim("ada"), keys.email_claim("ada"));
        assert_eq!(digits(keys.email_claim("ada")).len(), 64);
        assert_ne!(digits(keys.email_claim("ada")), digits(keys.username_claim("ada")));
        assert_ne!(keys.email_claim("ada"), keys.email_claim("adb"));
        assert_ne!(keys.email_claim("ada"), other.email_claim("ada"));
    }

    #[test]
    fn fingerprint_is_keyed_and_separate_from_claims() {
        let keys = KeyedHasher::new(MASTER).unwrap();
        let other = KeyedHasher::new(OTHER).unwrap();
        let body = br#"{"password":"correct horse 1"}"#;
        assert_eq!(keys.fingerprint(body), keys.fingerprint(body));
        assert_ne!(keys.fingerprint(body), keys.fingerprint(b""));
        assert_ne!(keys.fingerprint(body), other.fingerprint(body));
        let hex: String = keys.fingerprint(b"email\0ada").iter().map(|byte| format!("{byte:02x}")).collect();
        assert_ne!(keys.email_claim("ada"), format!("email:{hex}"));
    }
}
