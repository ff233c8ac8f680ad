//! Opaque tokens: 256 random bits that a client keeps. We keep their SHA-256 only, so that a copy of the database signs
//! nobody in. Refresh tokens are made by the use cases that sign in and refresh, and stored by [`super::logins`]; tickets
//! open one socket, and are stored by [`super::tickets`]; reset tokens replace a password, and are stored by [`super::resets`].

use std::fmt;
use std::marker::PhantomData;

use aws_lc_rs::{digest, rand};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// What tells one kind of opaque token from another.
pub trait Kind {
    /// How every token of the kind begins, so that scanners of leaked texts can recognise one.
    const PREFIX: &'static str;
    /// Its name, for logs.
    const NAME: &'static str;
}

/// Refresh tokens.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Refreshing;

impl Kind for Refreshing {
    const PREFIX: &'static str = "vrt_";
    const NAME: &'static str = "RefreshToken";
}

/// Tickets for one socket.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Opening;

impl Kind for Opening {
    const PREFIX: &'static str = "vst_";
    const NAME: &'static str = "Ticket";
}

/// Tokens with which a forgotten password is replaced.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Resetting;

impl Kind for Resetting {
    const PREFIX: &'static str = "vpr_";
    const NAME: &'static str = "ResetToken";
}

/// A token that is exchanged for new tokens.
pub type RefreshToken = OpaqueToken<Refreshing>;
/// A token that opens one socket.
pub type Ticket = OpaqueToken<Opening>;
/// A token that replaces a password.
pub type ResetToken = OpaqueToken<Resetting>;

/// Characters after the prefix: 32 bytes in base64url without padding.
const ENCODED_CHARS: usize = 43;

/// The operating system gave no random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system's random source failed")]
pub struct RandomError;

/// A token in clear: only ever in an answer or a request.
#[derive(Clone, PartialEq, Eq)]
pub struct OpaqueToken<K>([u8; 32], PhantomData<K>);

impl<K: Kind> OpaqueToken<K> {
    /// Makes the token of 32 random bytes.
    #[must_use]
    pub const fn from_random(bytes: [u8; 32]) -> Self {
        Self(bytes, PhantomData)
    }

    /// Makes a fresh token out of the system's random source.
    ///
    /// # Errors
    /// When the source fails.
    pub fn generate() -> Result<Self, RandomError> {
        let mut bytes = [0; 32];
        rand::fill(&mut bytes).map_err(|_| RandomError)?;
        Ok(Self::from_random(bytes))
    }

    /// Reads what a client sent. `None`: it cannot be a token of ours. Only the one spelling that
    /// [`expose`](Self::expose) gives is taken.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let encoded = text.strip_prefix(K::PREFIX)?;
        if encoded.len() != ENCODED_CHARS {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(encoded).ok()?;
        Some(Self::from_random(bytes.try_into().ok()?))
    }

    /// The text for the client. The one way to the clear token; it must not reach a log or a table.
    #[must_use]
    pub fn expose(&self) -> String {
        format!("{}{}", K::PREFIX, URL_SAFE_NO_PAD.encode(self.0))
    }

    /// What is stored: SHA-256 of the 32 bytes. No salt is needed, since nobody can guess 256 random bits.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, &self.0).as_ref());
        TokenHash(hash)
    }
}

impl<K: Kind> fmt::Debug for OpaqueToken<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(..)", K::NAME)
    }
}

/// SHA-256 of a token.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The 32 bytes, for a column.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_back_and_nothing_else_is() {
        let token = RefreshToken::from_random([7; 32]);
        let text = token.expose();
        assert_eq!(text, "vrt_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc");
        assert_eq!(RefreshToken::parse(&text), Some(token));
        // The last character carries two spare bits: another spelling of the same bytes must not be a second token.
        let twin = format!("{}d", &text[..text.len() - 1]);
        for wrong in [
            "",
            "vrt_",
            &text[4..],
            &text[..46],
            &format!("{text}A"),
            &format!("{text}="),
            &format!(" {text}"),
            &text.to_uppercase(),
            &twin,
            &text.replace('B', "+"),
        ] {
            assert_eq!(RefreshToken::parse(wrong), None, "{wrong:?}");
        }
    }

    /// S5.
    #[test]
    fn no_kind_of_token_is_taken_for_another() {
        let refresh = RefreshToken::from_random([7; 32]).expose();
        let ticket = Ticket::from_random([7; 32]).expose();
        let reset = ResetToken::from_random([7; 32]).expose();
        for (text, kinds) in [
            (&refresh, [true, false, false]),
            (&ticket, [false, true, false]),
            (&reset, [false, false, true]),
        ] {
            let taken = [
                RefreshToken::parse(text).is_some(),
                Ticket::parse(text).is_some(),
                ResetToken::parse(text).is_some(),
            ];
            assert_eq!(taken, kinds, "{text}");
        }
    }

    #[test]
    fn what_is_stored_is_sha_256_of_the_random_bits() {
        let hash = RefreshToken::from_random([0; 32]).hash();
        let expected = "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925";
        let hex: String = hash.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected);
    }

    #[test]
    fn two_tokens_differ_and_neither_shows_itself() {
        let (one, two) = (RefreshToken::generate().unwrap(), RefreshToken::generate().unwrap());
        assert_ne!(one, two);
        assert_ne!(one.hash(), two.hash());
        assert_eq!(format!("{one:?} {:?}", one.hash()), "RefreshToken(..) TokenHash(..)");
    }
}
