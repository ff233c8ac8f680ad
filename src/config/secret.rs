//! Values that are never shown: no `Debug`, `Display` or serialisation of them can leak what they hold.

use std::fmt;

use serde::{Serialize, Serializer};
use zeroize::Zeroizing;

/// What stands in the place of a secret wherever it would be shown.
pub const REDACTED: &str = "[redacted]";

/// A secret text: redacted wherever it is shown, wiped from memory when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes `text` as a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// A secret key of 32 bytes: redacted wherever it is shown, wiped from memory when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretKey(Zeroizing<[u8; 32]>);

impl SecretKey {
    /// Takes `bytes` as a secret.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes themselves, for the one place that needs them.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Where a secret comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept<T> {
    /// The configuration gave it.
    Given(T),
    /// It is made once and kept in the data folder: only with the embedded default.
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
mod tests {
    use super::*;

    #[test]
    fn no_way_to_show_a_secret_shows_it() {
        let secret = Secret::new("hunter2-hunter2");
        let key = SecretKey::new([7; 32]);
        for shown in [
            format!("{secret} {secret:?} {:?}", Some(&secret)),
            format!("{key} {key:?} {:#?}", Kept::Given(&key)),
            serde_json::to_string(&(&secret, &key)).unwrap(),
        ] {
            assert!(
                shown.contains(REDACTED) && !shown.contains("hunter2") && !shown.contains('7'),
                "{shown}"
            );
        }
        assert_eq!(secret.expose(), "hunter2-hunter2");
    }
}
