//! Secret values: `Debug`, `Display` and serialization never reveal them.

use std::fmt;

use serde::{Serialize, Serializer};
use zeroize::Zeroizing;

/// Text shown in place of a secret.
pub const REDACTED: &str = "[redacted]";

/// A secret text: redacted when shown, wiped from memory when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Wraps `text` as a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// Returns the text, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// A secret key of 32 bytes: redacted when shown, wiped from memory when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretKey(Zeroizing<[u8; 32]>);

impl SecretKey {
    /// Wraps `bytes` as a secret.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Returns the bytes, for the one place that needs them.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Source of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource<T> {
    /// Set in the configuration.
    Given(T),
    /// Generated once and stored in the data folder; only with the embedded database.
    InDataFolder,
}

macro_rules! redact {
    ($($secret:ty),+) => {$(
        impl fmt::Debug for $secret {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(REDACTED)
            }
        }

        impl fmt::Display for $secret {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(REDACTED)
            }
        }

        impl Serialize for $secret {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(REDACTED)
            }
        }
    )+};
}

redact!(Secret, SecretKey);

#[cfg(test)]
mod tests;
