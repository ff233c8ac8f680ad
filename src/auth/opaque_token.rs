//! Opaque tokens: 256 random bits that the client keeps. The database has only their SHA-256, so a copy of it cannot be
//! used to sign in. [`super::logins`] stores refresh tokens, [`super::tickets`] the tickets that open one socket, and
//! [`super::password_resets`] the tokens that replace a password.

use std::fmt;
use std::marker::PhantomData;

use aws_lc_rs::{digest, rand};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// A kind of opaque token.
pub trait Kind {
    /// Prefix of every token of the kind, by which secret scanners recognise it.
    const PREFIX: &'static str;
    /// Name of the kind, for logs.
    const NAME: &'static str;
}

/// Refresh tokens.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RefreshKind;

impl Kind for RefreshKind {
    const PREFIX: &'static str = "vrt_";
    const NAME: &'static str = "RefreshToken";
}

/// Tickets for one socket.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TicketKind;

impl Kind for TicketKind {
    const PREFIX: &'static str = "vst_";
    const NAME: &'static str = "Ticket";
}

/// Tokens that replace a forgotten password.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ResetKind;

impl Kind for ResetKind {
    const PREFIX: &'static str = "vpr_";
    const NAME: &'static str = "ResetToken";
}

/// A token that is exchanged for new tokens.
pub type RefreshToken = OpaqueToken<RefreshKind>;
/// A token that opens one socket.
pub type Ticket = OpaqueToken<TicketKind>;
/// A token that replaces a password.
pub type ResetToken = OpaqueToken<ResetKind>;

/// Characters after the prefix: 32 bytes in base64url without padding.
const ENCODED_CHARS: usize = 43;

/// The operating system returned no random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system's random source failed")]
pub struct RandomError;

/// A token in clear text: exists only in requests and responses.
#[derive(Clone, PartialEq, Eq)]
pub struct OpaqueToken<K>([u8; 32], PhantomData<K>);

impl<K: Kind> OpaqueToken<K> {
    /// Makes a token from 32 random bytes.
    #[must_use]
    pub const fn from_random(bytes: [u8; 32]) -> Self {
        Self(bytes, PhantomData)
    }

    /// Generates a token from the system's random source.
    ///
    /// # Errors
    /// The source fails.
    pub fn generate() -> Result<Self, RandomError> {
        let mut bytes = [0; 32];
        rand::fill(&mut bytes).map_err(|_| RandomError)?;
        Ok(Self::from_random(bytes))
    }

    /// Parses a client's text; `None` if it cannot be one of our tokens. Accepts only the spelling that
    /// [`expose`](Self::expose) returns.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let encoded = text.strip_prefix(K::PREFIX)?;
        if encoded.len() != ENCODED_CHARS {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(encoded).ok()?;
        Some(Self::from_random(bytes.try_into().ok()?))
    }

    /// Returns the text for the client, in clear: it must not reach a log or a table.
    #[must_use]
    pub fn expose(&self) -> String {
        format!("{}{}", K::PREFIX, URL_SAFE_NO_PAD.encode(self.0))
    }

    /// Returns the stored form: SHA-256 of the 32 bytes. 256 random bits cannot be guessed, so no salt is needed.
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
    /// Returns the 32 bytes, for a column.
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
    fn parse_accepts_only_the_exposed_spelling() {
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
    fn token_kinds_are_not_interchangeable() {
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
    fn stored_hash_is_sha_256_of_the_random_bits() {
        let hash = RefreshToken::from_random([0; 32]).hash();
        let expected = "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925";
        let hex: String = hash.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected);
    }

    #[test]
    fn tokens_differ_and_debug_hides_them() {
        let (one, two) = (RefreshToken::generate().unwrap(), RefreshToken::generate().unwrap());
        assert_ne!(one, two);
        assert_ne!(one.hash(), two.hash());
        assert_eq!(format!("{one:?} {:?}", one.hash()), "RefreshToken(..) TokenHash(..)");
    }
}
