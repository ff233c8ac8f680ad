//! Values that are validated once, on entry, and trusted afterwards.
//!
//! The use cases call `parse` on input from clients and providers; all other code uses the parsed types.
//! Decoding a stored value validates nothing: a stricter rule must not make old events unreadable.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use unicode_normalization::UnicodeNormalization;

/// Reason why a value is invalid. The messages state the rule and never repeat the value, so an API may return them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ValueError {
    /// Not of the form `name@domain`.
    #[error("the e-mail address is not well-formed")]
    EmailMalformed,
    /// Longer than mail systems accept.
    #[error("the e-mail address is longer than {limit} bytes")]
    EmailTooLong {
        /// Maximum number of bytes.
        limit: usize,
    },
    /// Too short or too long.
    #[error("the user name must have {min} to {max} characters")]
    UsernameLength {
        /// Minimum number of characters.
        min: usize,
        /// Maximum number of characters.
        max: usize,
    },
    /// A character that user names must not contain.
    #[error("the user name may have letters, digits, `.`, `_` and `-` only")]
    UsernameCharacters,
    /// Empty, or white space only.
    #[error("the message is empty")]
    MessageEmpty,
    /// Longer than a message may be.
    #[error("the message is longer than {limit} characters")]
    MessageTooLong {
        /// Maximum number of characters.
        limit: usize,
    },
    /// Contains U+0000.
    #[error("the message contains the character U+0000")]
    MessageNul,
    /// Empty.
    #[error("the title is empty")]
    TitleEmpty,
    /// Longer than a title may be.
    #[error("the title is longer than {limit} characters")]
    TitleTooLong {
        /// Maximum number of characters.
        limit: usize,
    },
    /// Contains a line break or another control character.
    #[error("the title contains a control character")]
    TitleControl,
    /// Longer than a reply may be.
    #[error("the reply is longer than {limit} bytes")]
    ReplyTooLong {
        /// Maximum number of bytes.
        limit: usize,
    },
    /// Empty.
    #[error("the file name is empty")]
    FileNameEmpty,
    /// Longer than a file name may be.
    #[error("the file name is longer than {limit} characters")]
    FileNameTooLong {
        /// Maximum number of characters.
        limit: usize,
    },
    /// Contains U+0000.
    #[error("the reply contains the character U+0000")]
    ReplyNul,
}

macro_rules! text {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Returns the text as entered.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Returns the text as entered, without copying.
            #[must_use]
            pub fn into_string(self) -> String {
                self.0
            }
        }

        /// Shows the type only: personal text must not reach the logs.
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    };
}

text! {
    /// An e-mail address, stored exactly as typed.
    EmailAddress
}
text! {
    /// A user name, stored exactly as typed. It has no `@`, so it is never mistaken for an address.
    Username
}
text! {
    /// Text of a user's message.
    MessageText
}
text! {
    /// Title of a conversation.
    Title
}
text! {
    /// Name of a file, safe to show and to save under: see [`FileName::of`].
    FileName
}
text! {
    /// Text of a model's answer, complete or partial. May be empty.
    ReplyText
}

impl EmailAddress {
    /// Maximum number of bytes of an address, as typed and normalised.
    pub const MAX_BYTES: usize = 254;

    /// Validates an address without changing it.
    ///
    /// # Errors
    /// Fails if it is longer than [`Self::MAX_BYTES`] or not of the form `name@domain.tld`, as typed or after
    /// normalisation (a full-width `＠` must not become a second at-sign later).
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        let too_long = ValueError::EmailTooLong { limit: Self::MAX_BYTES };
        if text.len() > Self::MAX_BYTES {
            return Err(too_long);
        }
        let normalised = normalised(text);
        if normalised.len() > Self::MAX_BYTES {
            return Err(too_long);
        }
        if is_address(text) && is_address(&normalised) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ValueError::EmailMalformed)
        }
    }

    /// Returns the form used to compare addresses: compatibility characters unified (NFKC), lower case.
    #[must_use]
    pub fn normalised(&self) -> String {
        normalised(&self.0)
    }
}

impl Username {
    /// Minimum number of characters.
    pub const MIN_CHARS: usize = 3;
    /// Maximum number of characters.
    pub const MAX_CHARS: usize = 32;

    /// Validates a user name without changing it.
    ///
    /// # Errors
    /// Fails if its length is not allowed, or if its normalised form has anything but letters and digits (of any
    /// script), `.`, `_` and `-`.
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        let allowed = Self::MIN_CHARS..=Self::MAX_CHARS;
        let length = ValueError::UsernameLength { min: Self::MIN_CHARS, max: Self::MAX_CHARS };
        if !allowed.contains(&text.chars().count()) {
            return Err(length);
        }
        let normalised = normalised(text);
        if !normalised.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '-')) {
            return Err(ValueError::UsernameCharacters);
        }
        if !allowed.contains(&normalised.chars().count()) {
            return Err(length);
        }
        Ok(Self(text.to_owned()))
    }

    /// Returns the form used to compare names: compatibility characters unified (NFKC), lower case.
    #[must_use]
    pub fn normalised(&self) -> String {
        normalised(&self.0)
    }
}

impl MessageText {
    /// Maximum number of characters (Unicode scalar values).
    pub const MAX_CHARS: usize = 32_000;

    /// Returns the empty text of a message that consists of attachments only.
    #[must_use]
    pub const fn none() -> Self {
        Self(String::new())
    }

    /// Validates the text of a message.
    ///
    /// # Errors
    /// Fails if it is empty or only white space, too long, or contains U+0000 (which the database cannot store).
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        if longer_than(text, Self::MAX_CHARS) {
            return Err(ValueError::MessageTooLong { limit: Self::MAX_CHARS });
        }
        if text.trim().is_empty() {
            return Err(ValueError::MessageEmpty);
        }
        if text.contains('\0') {
            return Err(ValueError::MessageNul);
        }
        Ok(Self(text.to_owned()))
    }
}

impl Title {
    /// Maximum number of characters (Unicode scalar values).
    pub const MAX_CHARS: usize = 200;

    /// Returns the empty title, which removes a title.
    #[must_use]
    pub const fn none() -> Self {
        Self(String::new())
    }

    /// Validates a title.
    ///
    /// # Errors
    /// Fails if it is empty, too long, or has control characters.
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        if text.is_empty() {
            return Err(ValueError::TitleEmpty);
        }
        if longer_than(text, Self::MAX_CHARS) {
            return Err(ValueError::TitleTooLong { limit: Self::MAX_CHARS });
        }
        if text.chars().any(char::is_control) {
            return Err(ValueError::TitleControl);
        }
        Ok(Self(text.to_owned()))
    }
}

impl FileName {
    /// Maximum number of characters (Unicode scalar values).
    pub const MAX_CHARS: usize = 255;

    /// Cleans the name of an uploaded file: removes folders, control characters and marks that change the
    /// direction of writing, so that the name is safe to show and to save under.
    ///
    /// # Errors
    /// Fails if it is longer than [`Self::MAX_CHARS`], or nothing is left.
    pub fn of(sent: &str) -> Result<Self, ValueError> {
        if longer_than(sent, Self::MAX_CHARS) {
            return Err(ValueError::FileNameTooLong { limit: Self::MAX_CHARS });
        }
        let last = sent.rsplit(['/', '\\']).next().unwrap_or_default();
        let kept: String = last.chars().filter(|&c| !c.is_control() && !is_invisible(c)).collect();
        let name = kept.trim_end().trim_start_matches(|c: char| c == '.' || c.is_whitespace());
        if name.is_empty() {
            return Err(ValueError::FileNameEmpty);
        }
        Ok(Self(name.to_owned()))
    }
}

impl ReplyText {
    /// Maximum number of bytes of UTF-8.
    pub const MAX_BYTES: usize = 65_536;

    /// Validates the text of a reply.
    ///
    /// # Errors
    /// Fails if it is too long or contains U+0000 (which the database cannot store).
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        if text.len() > Self::MAX_BYTES {
            return Err(ValueError::ReplyTooLong { limit: Self::MAX_BYTES });
        }
        if text.contains('\0') {
            return Err(ValueError::ReplyNul);
        }
        Ok(Self(text.to_owned()))
    }
}

/// Applies NFKC and lower case until nothing changes. Lower-casing is per letter, without the rule for a final
/// sigma, so that the result does not depend on a letter's position in the word.
fn normalised(text: &str) -> String {
    text.nfkc().flat_map(char::to_lowercase).nfkc().collect()
}

fn longer_than(text: &str, chars: usize) -> bool {
    text.chars().nth(chars).is_some()
}

/// Whether `text` is `local@domain`, in the everyday grammar: no quoted parts, no comments, no bare addresses of
/// machines. Letters of any script are allowed on both sides.
fn is_address(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let local_char =
        |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || is_foreign(c);
    let local_ok =
        local.len() <= 64 && local.split('.').all(|part| !part.is_empty() && part.chars().all(local_char));

    let label_char = |c: char| c.is_ascii_alphanumeric() || c == '-' || is_foreign(c);
    let label_ok = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(label_char)
    };
    let Some((_, top)) = domain.rsplit_once('.') else { return false };
    local_ok && domain.split('.').all(label_ok) && !top.bytes().all(|b| b.is_ascii_digit())
}

/// A visible character outside ASCII. The invisible ones (joiners, direction marks) would let two addresses look
/// the same.
fn is_foreign(c: char) -> bool {
    !c.is_ascii() && !c.is_whitespace() && !c.is_control() && !is_invisible(c)
}

/// A joiner, a direction mark, or another invisible character.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests;
