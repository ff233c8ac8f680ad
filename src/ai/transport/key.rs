//! A provider's key: checked once, shown never.

use std::fmt;

use crate::ai::SettingsError;

/// A provider's key. Its `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl ApiKey {
    /// Takes a key as it was configured.
    pub fn new(key: impl Into<String>) -> Self {
        Self(key.into())
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.0.trim().is_empty()
    }

    /// The key itself, if it can be one; `variable` is where it was configured.
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
mod tests {
    use super::*;

    #[test]
    fn a_key_is_bare_or_refused_without_being_shown() {
        assert_eq!(ApiKey::new("sk-1").checked("X"), Ok("sk-1".to_owned()));
        assert_eq!(ApiKey::new(" ").checked("X"), Err(SettingsError::KeyMissing { variable: "X" }));
        for key in ["\"sk-1\"", "sk 1", "sk-1\n", "'sk-1'", "sk-é"] {
            let refused = ApiKey::new(key).checked("X");
            assert_eq!(refused, Err(SettingsError::KeyMalformed { variable: "X" }), "{key:?}");
        }
        assert_eq!(format!("{:?}", ApiKey::new("sk-canary")), "ApiKey(redacted)");
    }
}
