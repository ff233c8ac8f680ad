//! What the live feed carries between processes: sealed, because whoever may listen on NATS must not read along, and whoever
//! may publish there must not write along.

use aws_lc_rs::hkdf;
use event_store::DataKey;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

const SALT: &[u8] = b"verbatim/v1";
const LABEL: &[u8] = b"live feed";

/// The cryptographic library refused to derive the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the key of the live feed could not be derived")]
pub struct LiveKeyError;

/// The key that every process with the same master key has.
#[derive(Debug)]
pub struct LiveKey(DataKey);

/// A piece of an attempt's text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// The attempt, from 1.
    pub attempt: u32,
    /// Bytes of the attempt's text before this piece.
    pub offset: usize,
    /// The piece; may be empty, when only the attempt is told.
    pub text: String,
}

/// Somebody types, or has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Typing {
    /// Who.
    pub user: Uuid,
    /// In which conversation of theirs.
    pub conversation: Uuid,
    /// Whether they type now.
    pub typing: bool,
    /// The socket that told it, which need not be told.
    pub socket: Uuid,
}

/// Length of the derived key.
struct KeyLength;

impl hkdf::KeyType for KeyLength {
    fn len(&self) -> usize {
        32
    }
}

impl LiveKey {
    /// Derives the key from the configured master key.
    ///
    /// # Errors
    /// When the library cannot derive it.
    pub fn new(master: &[u8; 32]) -> Result<Self, LiveKeyError> {
        let mut key = [0_u8; 32];
        hkdf::Salt::new(hkdf::HKDF_SHA256, SALT)
            .extract(master)
            .expand(&[LABEL], KeyLength)
            .and_then(|okm| okm.fill(&mut key))
            .map_err(|_| LiveKeyError)?;
        DataKey::from_bytes(&key).map(Self).map_err(|_| LiveKeyError)
    }

    /// Seals `value` for a subject of `context`. None: the library refuses, or the value cannot be written.
    pub fn seal(&self, context: &str, value: &impl Serialize) -> Option<Vec<u8>> {
        let plain = serde_json::to_vec(value).ok()?;
        self.0.encrypt(&plain, context).ok()
    }

    /// Opens what was sealed for a subject of `context`. None: it is something else, or not from a process with the same
    /// key.
    pub fn open<T: DeserializeOwned>(&self, context: &str, message: &[u8]) -> Option<T> {
        let plain = self.0.decrypt(message, context).ok()?;
        serde_json::from_slice(&plain).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(key: &LiveKey, context: &str, message: &[u8]) -> Option<Piece> {
        key.open(context, message)
    }

    #[test]
    fn a_piece_opens_under_its_key_for_its_reply_and_unchanged() {
        let key = LiveKey::new(&[7; 32]).unwrap();
        let piece = Piece { attempt: 2, offset: 5, text: "wörd".to_owned() };
        let sealed = key.seal("one", &piece).unwrap();
        assert_eq!(open(&key, "one", &sealed), Some(piece.clone()));
        assert_eq!(open(&LiveKey::new(&[7; 32]).unwrap(), "one", &sealed), Some(piece));
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
        assert!(!sealed.windows(3).any(|window| window == b"rd\""), "it can be read");
    }
}
