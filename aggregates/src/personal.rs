//! Personal text: readable while its owner's key exists, erased afterwards.
//!
//! Commands, events and aggregate states hold [`Personal<T>`] wherever they hold a user's text or names. The event store
//! encrypts the known form and returns [`Personal::Erased`] once the key has been destroyed; the
//! domain handles both.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Text about or by a user, or the fact that it was erased.
///
/// Serialized as `{"$personal": <T>}` or `{"$erased": true}`, the markers that the event store's codec looks for. `Debug`
/// never shows the content.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Personal<T> {
    /// The text is readable.
    Known(T),
    /// The text was erased and cannot be recovered.
    Erased,
}

impl<T> Personal<T> {
    /// Returns the content unless it was erased.
    #[must_use]
    pub fn known(self) -> Option<T> {
        match self {
            Self::Known(content) => Some(content),
            Self::Erased => None,
        }
    }

    /// Borrows the content.
    #[must_use]
    pub const fn as_ref(&self) -> Personal<&T> {
        match self {
            Self::Known(content) => Personal::Known(content),
            Self::Erased => Personal::Erased,
        }
    }

    /// Maps the content, if there is any.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Personal<U> {
        match self {
            Self::Known(content) => Personal::Known(change(content)),
            Self::Erased => Personal::Erased,
        }
    }

    /// Whether the content was erased.
    #[must_use]
    pub const fn is_erased(&self) -> bool {
        matches!(self, Self::Erased)
    }
}

impl<T> From<T> for Personal<T> {
    fn from(content: T) -> Self {
        Self::Known(content)
    }
}

impl<T> fmt::Debug for Personal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Known(_) => "Known(..)",
            Self::Erased => "Erased",
        })
    }
}

/// Serialized form.
#[derive(Serialize, Deserialize)]
enum Written<T> {
    #[serde(rename = "$personal")]
    Known(T),
    #[serde(rename = "$erased")]
    Erased(bool),
}

impl<T: Serialize> Serialize for Personal<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Known(content) => Written::Known(content),
            Self::Erased => Written::Erased(true),
        }
        .serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Personal<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Written::deserialize(deserializer)? {
            Written::Known(content) => Ok(Self::Known(content)),
            Written::Erased(true) => Ok(Self::Erased),
            Written::Erased(false) => Err(serde::de::Error::custom("`$erased` can only be true")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_forms_round_trip_as_the_codec_expects() {
        for (value, written) in [
            (Personal::Known("Ada".to_owned()), json!({ "$personal": "Ada" })),
            (Personal::Erased, json!({ "$erased": true })),
        ] {
            assert_eq!(serde_json::to_value(&value).unwrap(), written);
            assert_eq!(serde_json::from_value::<Personal<String>>(written).unwrap(), value);
        }
    }

    #[test]
    fn other_forms_are_rejected() {
        for written in [json!({ "$erased": false }), json!("Ada"), json!({}), json!({ "$sealed": "x" })] {
            assert!(serde_json::from_value::<Personal<String>>(written).is_err());
        }
    }

    #[test]
    fn debug_does_not_show_content() {
        assert_eq!(
            format!("{:?} {:#?}", Personal::Known("Ada"), Personal::Known("Ada")),
            "Known(..) Known(..)"
        );
        assert_eq!(format!("{:?}", Personal::<String>::Erased), "Erased");
    }

    #[test]
    fn helpers_preserve_known_and_erased() {
        let known = Personal::from("Ada".to_owned());
        assert_eq!(known.as_ref().map(String::len), Personal::Known(3));
        assert!(!known.is_erased());
        assert_eq!(known.known().as_deref(), Some("Ada"));
        assert!(Personal::<String>::Erased.is_erased());
        assert_eq!(Personal::<String>::Erased.map(|text| text.len()), Personal::Erased);
        assert_eq!(Personal::<String>::Erased.known(), None);
    }
}
