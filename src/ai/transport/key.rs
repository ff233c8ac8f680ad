//! A provider's API key: checked once, never shown.

use std::fmt;

use crate::ai::SettingsError;

/// A provider's API key; redacted in `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl ApiKey {
    /// Wraps a key from the configuration.
    pub fn new(key: impl Into<String>) -> Self {
        Self(key.into())
    }

    /// Returns whether the key is blank.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.0.trim().is_empty()
    }

    /// Returns the key if it is well-formed; `variable` is where it was configured.
    pub(super) fn checked(self, variable: &'static str) -> Result<String, SettingsError> {
        let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'');
        if self.is_blank() {
            Err(SettingsError::KeyMissing { variable })
        } else if self.0.bytes().all(plain) {
            Ok(self.0)
        } else {
            Err(SettingsError::KeyMalformed { variable })
        }
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(redacted)")
    }
}

#[cfg(test)]
mod tests;
