//! Encrypted and authenticated messages of the live feed between processes: access to NATS alone allows neither reading
//! nor forging them.

use aws_lc_rs::hkdf;
use event_store::DataKey;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

const SALT: &[u8] = b"verbatim/v1";
const LABEL: &[u8] = b"live feed";

/// The cryptographic library failed to derive the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("failed to derive the key of the live feed")]
pub struct LiveKeyError;

/// Key shared by all processes with the same master key.
#[derive(Debug)]
pub struct LiveKey(DataKey);

/// A part of an attempt's text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextDelta {
    /// Attempt number, from 1.
    pub attempt: u32,
    /// Bytes of the attempt's text before this delta.
    pub offset: usize,
    /// Text of the delta; empty to announce an attempt without text.
    pub text: String,
}

/// The user started or stopped typing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Typing {
    /// The user's id.
    pub user: Uuid,
    /// Id of the conversation, which the user owns.
    pub conversation: Uuid,
    /// Whether the user is typing now.
    pub typing: bool,
    /// Socket that sent the indicator and does not receive it.
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
    /// If the library fails to derive it.
    pub fn new(master: &[u8; 32]) -> Result<Self, LiveKeyError> {
        let mut key = [0_u8; 32];
        hkdf::Salt::new(hkdf::HKDF_SHA256, SALT)
            .extract(master)
            .expand(&[LABEL], KeyLength)
            .and_then(|okm| okm.fill(&mut key))
            .map_err(|_| LiveKeyError)?;
        DataKey::from_bytes(&key).map(Self).map_err(|_| LiveKeyError)
    }

    /// Encrypts `value` for a subject of `context`. Returns `None` if serialization or encryption fails.
    pub fn seal(&self, context: &str, value: &impl Serialize) -> Option<Vec<u8>> {
        let plain = serde_json::to_vec(value).ok()?;
        self.0.encrypt(&plain, context).ok()
    }

    /// Decrypts a message for a subject of `context`. Returns `None` if it is malformed or was encrypted for another context or
    /// with another key.
    pub fn open<T: DeserializeOwned>(&self, context: &str, message: &[u8]) -> Option<T> {
        let plain = self.0.decrypt(message, context).ok()?;
        serde_json::from_slice(&plain).ok()
    }
}

#[cfg(test)]
mod tests;
