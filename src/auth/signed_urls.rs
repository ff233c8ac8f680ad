//! Signed links: each allows one action on one file for a limited time, without a token. Used for announced uploads and
//! for image previews.
//!
//! The signature covers the purpose: a preview link cannot upload.

use aggregates::ids::FileId;
use aws_lc_rs::{hkdf, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};

const SALT: &[u8] = b"verbatim/v1";
const LABEL: &[u8] = b"file links";

/// The action that a link allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Upload the bytes of an announced file.
    Upload,
    /// Download the preview of an image.
    Preview,
}

impl Purpose {
    const fn name(self) -> &'static [u8] {
        match self {
            Self::Upload => b"upload",
            Self::Preview => b"preview",
        }
    }

    /// Returns the expiry of a link made now, in seconds since the epoch. Preview links expire at a full hour, 23 to 24
    /// hours from now: the link stays the same for an hour, so browsers can cache the image. Upload links last ten minutes.
    pub fn end(self, now: DateTime<Utc>) -> i64 {
        match self {
            Self::Upload => (now + TimeDelta::minutes(10)).timestamp(),
            Self::Preview => {
                let hour = TimeDelta::hours(1).num_seconds();
                (now + TimeDelta::hours(24)).timestamp() / hour * hour
            }
        }
    }
}

/// The part of a link that proves that we made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// Expiry, in seconds since the epoch.
    pub expires: i64,
    /// HMAC of file, purpose and expiry, in base64url.
    pub signature: String,
}

/// The cryptographic library could not derive the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the key of signed links could not be derived")]
pub struct UrlSigningKeyError;

/// The key that signs links, derived from the master key: the same in every process.
#[derive(Debug, Clone)]
pub struct UrlSigningKey(hmac::Key);

impl UrlSigningKey {
    /// Derives the key from the configured master key.
    ///
    /// # Errors
    /// The library cannot derive it.
    pub fn new(master: &[u8; 32]) -> Result<Self, UrlSigningKeyError> {
        let key = hkdf::Salt::new(hkdf::HKDF_SHA256, SALT).extract(master);
        let derived = key.expand(&[LABEL], hmac::HMAC_SHA256).map_err(|_| UrlSigningKeyError)?;
        Ok(Self(hmac::Key::from(derived)))
    }

    /// Signs a link made now.
    pub fn sign(&self, file: FileId, purpose: Purpose, now: DateTime<Utc>) -> Signature {
        let expires = purpose.end(now);
        let tag = hmac::sign(&self.0, &message(file, purpose, expires));
        Signature { expires, signature: URL_SAFE_NO_PAD.encode(tag.as_ref()) }
    }

    /// Returns whether a link is ours, for this purpose, and not expired. Compares signatures in constant time.
    pub fn is_valid(&self, file: FileId, purpose: Purpose, link: &Signature, now: DateTime<Utc>) -> bool {
        let tag = URL_SAFE_NO_PAD.decode(&link.signature).unwrap_or_default();
        let ours = hmac::verify(&self.0, &message(file, purpose, link.expires), &tag).is_ok();
        ours && now.timestamp() < link.expires
    }
}

/// The signed message. Every part but the last has a fixed length, so that no two messages are equal.
fn message(file: FileId, purpose: Purpose, expires: i64) -> Vec<u8> {
    let mut message = file.uuid().as_bytes().to_vec();
    message.extend(expires.to_be_bytes());
    message.extend(purpose.name());
    message
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const MASTER: &[u8; 32] = b"kY7pQ2xV9mZ4tR8wL3nB6cH1dF5gJ0sA";
    const OTHER: &[u8; 32] = b"9f86d081884c7d659a2feaa0c55ad015";

    fn file(n: u128) -> FileId {
        FileId::new(Uuid::from_u128(n))
    }

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_750_000_000 + second, 0).unwrap()
    }

    #[test]
    fn link_is_valid_for_its_file_purpose_and_time_only() {
        let key = UrlSigningKey::new(MASTER).unwrap();
        let link = key.sign(file(1), Purpose::Upload, at(0));
        assert!(key.is_valid(file(1), Purpose::Upload, &link, at(0)));
        assert!(key.is_valid(file(1), Purpose::Upload, &link, at(599)));
        assert!(!key.is_valid(file(1), Purpose::Upload, &link, at(600)));
        assert!(!key.is_valid(file(2), Purpose::Upload, &link, at(0)));
        assert!(!key.is_valid(file(1), Purpose::Preview, &link, at(0)));
        assert!(!UrlSigningKey::new(OTHER).unwrap().is_valid(file(1), Purpose::Upload, &link, at(0)));
        let preview = key.sign(file(1), Purpose::Preview, at(0));
        assert!(key.is_valid(file(1), Purpose::Preview, &preview, at(23 * 3600)));
        assert!(!key.is_valid(file(1), Purpose::Preview, &preview, at(24 * 3600)));
        assert!(!key.is_valid(file(1), Purpose::Upload, &preview, at(0)));
        assert_eq!(preview.expires % 3600, 0);
    }

    #[test]
    fn changed_link_is_invalid() {
        let key = UrlSigningKey::new(MASTER).unwrap();
        let link = key.sign(file(1), Purpose::Upload, at(0));
        let later = Signature { expires: link.expires + 1, ..link.clone() };
        assert!(!key.is_valid(file(1), Purpose::Upload, &later, at(0)));
        for signature in [
            String::new(),
            "AAAA".to_owned(),
            link.signature[1..].to_owned(),
            format!("{}=", link.signature),
            format!("A{}", &link.signature[1..]),
            "ä".to_owned(),
        ] {
            let forged = Signature { signature: signature.clone(), ..link.clone() };
            if forged != link {
                assert!(!key.is_valid(file(1), Purpose::Upload, &forged, at(0)), "{signature}");
            }
        }
    }
}
