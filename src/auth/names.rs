//! Keyed hashes of things that can be guessed: addresses and user names, which name claim streams in the log for ever,
//! and bodies of requests, which may hold a password. A plain hash of either could be tried out by whoever sees it.
//!
//! Called by the use cases that register people (claims) and by the command executor (fingerprints).

use aws_lc_rs::{hkdf, hmac};

/// What the master key is extracted with; together with the labels below it is part of every stored name.
/// Never change them: claims already in the log would no longer be found.
const SALT: &[u8] = b"verbatim/v1";
const CLAIMS: &[u8] = b"claim names";
const FINGERPRINTS: &[u8] = b"request fingerprints";

/// The cryptographic library refused to derive the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the keys for names and fingerprints could not be derived")]
pub struct NameKeysError;

/// The keys that claim streams are named with and bodies are fingerprinted with.
///
/// Both come from the master key. It cannot be exchanged without renaming every claim stream.
#[derive(Debug, Clone)]
pub struct NameKeys {
    claims: hmac::Key,
    fingerprints: hmac::Key,
}

impl NameKeys {
    /// Derives the keys from the configured master key.
    ///
    /// # Errors
    /// When the library cannot derive them.
    pub fn new(master: &[u8; 32]) -> Result<Self, NameKeysError> {
        let key = hkdf::Salt::new(hkdf::HKDF_SHA256, SALT).extract(master);
        let derive = |label: &[u8]| {
            key.expand(&[label], hmac::HMAC_SHA256).map(hmac::Key::from).map_err(|_| NameKeysError)
        };
        Ok(Self { claims: derive(CLAIMS)?, fingerprints: derive(FINGERPRINTS)? })
    }

    /// The claim stream of an e-mail address, `email:<64 hexadecimal digits>`. The address must be normalised.
    #[must_use]
    pub fn email_claim(&self, normalised: &str) -> String {
        self.claim("email", normalised)
    }

    /// The claim stream of a user name, `username:<64 hexadecimal digits>`. The name must be normalised.
    #[must_use]
    pub fn username_claim(&self, normalised: &str) -> String {
        self.claim("username", normalised)
    }

    /// A fingerprint of a request, by which a repeated one is recognised.
    #[must_use]
    pub fn fingerprint(&self, bytes: &[u8]) -> [u8; 32] {
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(hmac::sign(&self.fingerprints, bytes).as_ref());
        fingerprint
    }

    /// The kind is hashed too: an address and a name of the same spelling must not be seen to be the same.
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
    fn names_of_claims_never_change() {
        let keys = NameKeys::new(MASTER).unwrap();
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
    fn kind_value_and_secret_all_matter() {
        let keys = NameKeys::new(MASTER).unwrap();
        let other = NameKeys::new(OTHER).unwrap();
        let digits = |id: String| id.split_once(':').unwrap().1.to_owned();
        assert_eq!(keys.email_claim("ada"), keys.email_claim("ada"));
        assert_eq!(digits(keys.email_claim("ada")).len(), 64);
        assert_ne!(digits(keys.email_claim("ada")), digits(keys.username_claim("ada")));
        assert_ne!(keys.email_claim("ada"), keys.email_claim("adb"));
        assert_ne!(keys.email_claim("ada"), other.email_claim("ada"));
    }

    #[test]
    fn a_fingerprint_is_keyed_and_apart_from_claims() {
        let keys = NameKeys::new(MASTER).unwrap();
        let other = NameKeys::new(OTHER).unwrap();
        let body = br#"{"password":"correct horse 1"}"#;
        assert_eq!(keys.fingerprint(body), keys.fingerprint(body));
        assert_ne!(keys.fingerprint(body), keys.fingerprint(b""));
        assert_ne!(keys.fingerprint(body), other.fingerprint(body));
        let hex: String = keys.fingerprint(b"email\0ada").iter().map(|byte| format!("{byte:02x}")).collect();
        assert_ne!(keys.email_claim("ada"), format!("email:{hex}"));
    }
}
