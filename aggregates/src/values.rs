//! Values that are checked once, when they enter, and trusted afterwards.
//!
//! The use cases call `parse` on what a client or a provider sent; everything behind works with the parsed type.
//! Decoding a stored value checks nothing: a rule that becomes stricter must not make old events unreadable.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use unicode_normalization::UnicodeNormalization;

/// Why a value was refused. The messages say the rule and never repeat the value, so an API may answer them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ValueError {
    /// Not of the form `name@domain`.
    #[error("the e-mail address is not well-formed")]
    EmailMalformed,
    /// Longer than mail systems carry.
    #[error("the e-mail address is longer than {limit} bytes")]
    EmailTooLong {
        /// Bytes allowed.
        limit: usize,
    },
    /// Too short or too long.
    #[error("the user name must have {min} to {max} characters")]
    UsernameLength {
        /// Fewest characters allowed.
        min: usize,
        /// Most characters allowed.
        max: usize,
    },
    /// A character that user names may not have.
    #[error("the user name may have letters, digits, `.`, `_` and `-` only")]
    UsernameCharacters,
    /// Nothing, or nothing but white space.
    #[error("the message is empty")]
    MessageEmpty,
    /// More text than one message may have.
    #[error("the message is longer than {limit} characters")]
    MessageTooLong {
        /// Characters allowed.
        limit: usize,
    },
    /// U+0000 inside.
    #[error("the message contains the character U+0000")]
    MessageNul,
    /// Nothing.
    #[error("the title is empty")]
    TitleEmpty,
    /// More text than a title may have.
    #[error("the title is longer than {limit} characters")]
    TitleTooLong {
        /// Characters allowed.
        limit: usize,
    },
    /// A line break or another control character inside.
    #[error("the title contains a control character")]
    TitleControl,
    /// More text than a reply may have.
    #[error("the reply is longer than {limit} bytes")]
    ReplyTooLong {
        /// Bytes allowed.
        limit: usize,
    },
    /// Nothing.
    #[error("the file name is empty")]
    FileNameEmpty,
    /// Longer than a file name may be.
    #[error("the file name is longer than {limit} characters")]
    FileNameTooLong {
        /// Characters allowed.
        limit: usize,
    },
    /// U+0000 inside.
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
            /// The text as it was given.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The text as it was given, without a copy.
            #[must_use]
            pub fn into_string(self) -> String {
                self.0
            }
        }

        /// Shows the type only: a person's words do not belong in logs.
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    };
}

text! {
    /// An e-mail address, kept exactly as it was typed.
    EmailAddress
}
text! {
    /// A name to sign in with, kept exactly as it was typed. It has no `@`, so it is never taken for an address.
    Username
}
text! {
    /// What a person wrote in one message.
    MessageText
}
text! {
    /// The title of a conversation.
    Title
}
text! {
    /// The name of a file, made safe to show and to save under: see [`FileName::of`].
    FileName
}
text! {
    /// What a model answered, whole or as far as it came. May be empty.
    ReplyText
}

impl EmailAddress {
    /// Most bytes of an address, as typed and normalised.
    pub const MAX_BYTES: usize = 254;

    /// Checks an address. Nothing is trimmed or changed.
    ///
    /// # Errors
    /// When it is longer than [`Self::MAX_BYTES`] or not of the form `name@domain.tld`, as typed or after
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

    /// The form in which two addresses are compared: compatibility characters unified (NFKC), lower case.
    #[must_use]
    pub fn normalised(&self) -> String {
        normalised(&self.0)
    }
}

impl Username {
    /// Fewest characters.
    pub const MIN_CHARS: usize = 3;
    /// Most characters.
    pub const MAX_CHARS: usize = 32;

    /// Checks a user name. Nothing is trimmed or changed.
    ///
    /// # Errors
    /// When its length is not allowed, or when its normalised form has anything but letters and digits (of any
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

    /// The form in which two names are compared: compatibility characters unified (NFKC), lower case.
    #[must_use]
    pub fn normalised(&self) -> String {
        normalised(&self.0)
    }
}

impl MessageText {
    /// Most characters (Unicode scalar values).
    pub const MAX_CHARS: usize = 32_000;

    /// No text at all, of a message that says everything with its files.
    #[must_use]
    pub const fn none() -> Self {
        Self(String::new())
    }

    /// Checks the text of a message.
    ///
    /// # Errors
    /// When it is empty or only white space, too long, or has a U+0000 (which the database cannot store).
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
    /// Most characters (Unicode scalar values).
    pub const MAX_CHARS: usize = 200;

    /// A title that says nothing: somebody has taken it away.
    #[must_use]
    pub const fn none() -> Self {
        Self(String::new())
    }

    /// Checks a title.
    ///
    /// # Errors
    /// When it is empty, too long, or has control characters.
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
    /// Most characters (Unicode scalar values).
    pub const MAX_CHARS: usize = 255;

    /// The name of a file that somebody sent. What would be a folder, a control character or a mark that turns the
    /// direction of writing is taken away: what is left can be shown, and saved in one folder.
    ///
    /// # Errors
    /// When it is longer than [`Self::MAX_CHARS`], or nothing is left.
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
    /// Most bytes of UTF-8.
    pub const MAX_BYTES: usize = 65_536;

    /// Checks the text of a reply.
    ///
    /// # Errors
    /// When it is too long or has a U+0000 (which the database cannot store).
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

/// NFKC and lower case, until nothing changes. Lower-casing goes letter by letter, without the rule for a final
/// sigma, so that the result does not depend on where in the word a letter stands.
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

/// A joiner, a direction mark, or another character that nobody sees.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests;
