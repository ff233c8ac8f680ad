//! Text of running replies on its way between processes: sealed, because whoever may listen on NATS must not read along,
//! and whoever may publish there must not write along.

use aggregates::ids::ReplyId;
use aws_lc_rs::hkdf;
use projections::log::DataKey;
use serde::{Deserialize, Serialize};

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

    /// Seals a piece of `reply`'s text. None: the library refuses, or the piece cannot be written.
    pub fn seal(&self, reply: ReplyId, piece: &Piece) -> Option<Vec<u8>> {
        let plain = serde_json::to_vec(piece).ok()?;
        self.0.seal(&plain, &reply.to_string()).ok()
    }

    /// Opens a piece of `reply`'s text. None: it is not one, or not from a process with the same key.
    pub fn open(&self, reply: ReplyId, message: &[u8]) -> Option<Piece> {
        let plain = self.0.open(message, &reply.to_string()).ok()?;
        serde_json::from_slice(&plain).ok()
    }
}

#[cfg(test)]
mod tests {
    use aggregates::ids::MessageId;
    use uuid::Uuid;

    use super::*;

    fn reply(number: u128) -> ReplyId {
        ReplyId::of(MessageId::new(Uuid::from_u128(number)))
    }

    #[test]
    fn a_piece_opens_under_its_key_for_its_reply_and_unchanged() {
        let key = LiveKey::new(&[7; 32]).unwrap();
        let piece = Piece { attempt: 2, offset: 5, text: "wörd".to_owned() };
        let sealed = key.seal(reply(1), &piece).unwrap();
        assert_eq!(key.open(reply(1), &sealed), Some(piece.clone()));
        assert_eq!(LiveKey::new(&[7; 32]).unwrap().open(reply(1), &sealed), Some(piece));
        assert_eq!(key.open(reply(2), &sealed), None, "another reply's");
        assert_eq!(LiveKey::new(&[8; 32]).unwrap().open(reply(1), &sealed), None, "another key's");
        for at in [0, sealed.len() / 2, sealed.len() - 1] {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(key.open(reply(1), &changed), None, "changed at {at}");
        }
        for rubbish in [&b""[..], b"short", &[0; 100]] {
            assert_eq!(key.open(reply(1), rubbish), None);
        }
        assert!(!sealed.windows(3).any(|window| window == b"rd\""), "it can be read");
    }
}
