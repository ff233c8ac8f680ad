//! Signed links: whoever has one may do one thing with one file for a while, without a token. For uploads that were
//! announced, and for images that a page shows.
//!
//! The signature covers the purpose: a link to look at an image uploads nothing.

use aggregates::ids::FileId;
use aws_lc_rs::{hkdf, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};

const SALT: &[u8] = b"verbatim/v1";
const LABEL: &[u8] = b"file links";

/// What a link is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To bring the bytes of a file that was announced.
    Upload,
    /// To look at the preview of an image.
    Preview,
}

impl Purpose {
    const fn name(self) -> &'static [u8] {
        match self {
            Self::Upload => b"upload",
            Self::Preview => b"preview",
        }
    }

    /// When a link that is made now runs out. Those for previews end at a full hour, so that the link is the same for a
    /// while and a browser need not fetch the image each time: they last 23 to 24 hours. Those for uploads last ten
    /// minutes.
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

/// What of a link shows that we made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// Until when it is good, in seconds since the epoch.
    pub expires: i64,
    /// The signature, in base64url.
    pub signature: String,
}

/// The cryptographic library refused to derive the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the key of signed links could not be derived")]
pub struct LinkKeyError;

/// The key that links are signed with: every process with the same master key has it.
#[derive(Debug, Clone)]
pub struct LinkKey(hmac::Key);

impl LinkKey {
    /// Derives the key from the configured master key.
    ///
    /// # Errors
    /// When the library cannot derive it.
    pub fn new(master: &[u8; 32]) -> Result<Self, LinkKeyError> {
        let key = hkdf::Salt::new(hkdf::HKDF_SHA256, SALT).extract(master);
        let derived = key.expand(&[LABEL], hmac::HMAC_SHA256).map_err(|_| LinkKeyError)?;
        Ok(Self(hmac::Key::from(derived)))
    }

    /// Signs a link that is made now.
    pub fn sign(&self, file: FileId, purpose: Purpose, now: DateTime<Utc>) -> Signature {
        let expires = purpose.end(now);
        let tag = hmac::sign(&self.0, &message(file, purpose, expires));
        Signature { expires, signature: URL_SAFE_NO_PAD.encode(tag.as_ref()) }
    }

    /// Whether a link is ours, for this purpose, and still good. Takes the same time whatever the signature is.
    pub fn is_good(&self, file: FileId, purpose: Purpose, link: &Signature, now: DateTime<Utc>) -> bool {
        let tag = URL_SAFE_NO_PAD.decode(&link.signature).unwrap_or_default();
        let ours = hmac::verify(&self.0, &message(file, purpose, link.expires), &tag).is_ok();
        ours && now.timestamp() < link.expires
    }
}

/// What is signed: every part has its own length, so that no two messages look the same.
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
    fn a_link_is_good_for_its_file_its_purpose_and_its_time() {
        let key = LinkKey::new(MASTER).unwrap();
        let link = key.sign(file(1), Purpose::Upload, at(0));
        assert!(key.is_good(file(1), Purpose::Upload, &link, at(0)));
        assert!(key.is_good(file(1), Purpose::Upload, &link, at(599)));
        assert!(!key.is_good(file(1), Purpose::Upload, &link, at(600)));
        assert!(!key.is_good(file(2), Purpose::Upload, &link, at(0)));
        assert!(!key.is_good(file(1), Purpose::Preview, &link, at(0)));
        assert!(!LinkKey::new(OTHER).unwrap().is_good(file(1), Purpose::Upload, &link, at(0)));
        let preview = key.sign(file(1), Purpose::Preview, at(0));
        assert!(key.is_good(file(1), Purpose::Preview, &preview, at(23 * 3600)));
        assert!(!key.is_good(file(1), Purpose::Preview, &preview, at(24 * 3600)));
        assert!(!key.is_good(file(1), Purpose::Upload, &preview, at(0)));
        assert_eq!(preview.expires % 3600, 0);
    }

    #[test]
    fn a_link_that_was_changed_is_not_good() {
        let key = LinkKey::new(MASTER).unwrap();
        let link = key.sign(file(1), Purpose::Upload, at(0));
        let later = Signature { expires: link.expires + 1, ..link.clone() };
        assert!(!key.is_good(file(1), Purpose::Upload, &later, at(0)));
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
                assert!(!key.is_good(file(1), Purpose::Upload, &forged, at(0)), "{signature}");
            }
        }
    }
}
