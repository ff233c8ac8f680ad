//! Access tokens: short-lived, signed with HMAC-SHA256, checked without a database.
//!
//! Issued at sign-in and refresh, verified with every request. This module fixes algorithm, keys, issuer, audience and kind;
//! the token never chooses them. Time is an input, so this module checks it and the library's own checks are off.

use std::collections::HashMap;
use std::time::Duration;

use aggregates::ids::{LoginId, UserId};
use chrono::{DateTime, Utc};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Issuer of the tokens.
pub const ISSUER: &str = "verbatim";
/// Audience of the tokens.
pub const AUDIENCE: &str = "verbatim-api";
/// The `typ` claim: a token of another kind signed with the same key is rejected.
pub const KIND: &str = "access";
/// Tolerated difference between the clocks of nodes, in seconds.
pub const LEEWAY: i64 = 5;
/// Longest token that is parsed, in bytes. Ours have about 450.
pub const MAX_BYTES: usize = 4096;

/// Shortest secret, in bytes: the output length of HMAC-SHA256. The configuration checks whether it looks guessable.
const MIN_SECRET_BYTES: usize = 32;

/// Why the keys are unusable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenKeysError {
    /// A secret is shorter than the hash it is used with.
    #[error("a token secret must have at least {MIN_SECRET_BYTES} bytes")]
    Secret,
    /// A key id is empty or over 64 bytes.
    #[error("a key id must have 1 to 64 bytes")]
    KeyId,
    /// Two keys carry the same id.
    #[error("two token keys have the same id")]
    SameKeyId,
}

/// An access token was rejected, or could not be signed. The text does not reveal the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Rejected. The reason is for logs only; a client must not learn it.
    #[error("the access token is not valid")]
    Invalid(TokenRejection),
    /// The library could not sign.
    #[error("the access token could not be signed")]
    Signing,
}

/// Why a token was rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenRejection {
    /// Longer than [`MAX_BYTES`].
    TooLong,
    /// Not three parts of base64url with JSON in the first two, or the header is not one of a signed token.
    Malformed,
    /// An algorithm other than HS256.
    Algorithm,
    /// No key id, or an unknown one.
    UnknownKey,
    /// The header requires extensions, and none are supported.
    Critical,
    /// Signed with another key, or changed.
    Signature,
    /// A claim is missing or has the wrong type.
    Claims,
    /// Wrong issuer.
    Issuer,
    /// Wrong audience.
    Audience,
    /// Not an access token.
    Kind,
    /// Expired.
    Expired,
    /// Not valid yet, or issued in the future.
    NotYet,
}

impl TokenRejection {
    /// Returns the label for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::Malformed => "malformed",
            Self::Algorithm => "algorithm",
            Self::UnknownKey => "unknown_key",
            Self::Critical => "critical",
            Self::Signature => "signature",
            Self::Claims => "claims",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Kind => "kind",
            Self::Expired => "expired",
            Self::NotYet => "not_yet",
        }
    }
}

/// Claims of a verified token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// The user.
    pub user: UserId,
    /// The login it belongs to; [`super::logins::Logins::is_live`] tells whether that is live.
    pub login: LoginId,
    /// Id of the token.
    pub token_id: Uuid,
    /// Time of issue, in seconds since the epoch.
    pub issued_at: i64,
    /// Expiry, in seconds since the epoch.
    pub expires_at: i64,
}

/// The claims on the wire. Types are strict: a time must be an integer.
#[derive(Serialize, Deserialize)]
struct Claims {
    sub: UserId,
    sid: LoginId,
    iat: i64,
    exp: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nbf: Option<i64>,
    iss: String,
    aud: String,
    typ: String,
    jti: Uuid,
}

/// The current key, which signs and verifies, and earlier keys, which only verify until their last token has expired.
pub struct TokenKeys {
    current: String,
    signing: EncodingKey,
    verifying: HashMap<String, DecodingKey>,
    validation: Validation,
}

/// Hides the keys.
impl std::fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenKeys").field("current", &self.current).finish_non_exhaustive()
    }
}

impl TokenKeys {
    /// Takes the current key and earlier ones, each with its id.
    ///
    /// # Errors
    /// A secret is too short, or an id is unusable.
    pub fn new<'a>(
        kid: &'a str,
        secret: &'a [u8],
        previous: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<Self, TokenKeysError> {
        let mut verifying = HashMap::new();
        for (kid, secret) in std::iter::once((kid, secret)).chain(previous) {
            if kid.is_empty() || kid.len() > 64 {
                return Err(TokenKeysError::KeyId);
            }
            if secret.len() < MIN_SECRET_BYTES {
                return Err(TokenKeysError::Secret);
            }
            if verifying.insert(kid.to_owned(), DecodingKey::from_secret(secret)).is_some() {
                return Err(TokenKeysError::SameKeyId);
            }
        }
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // The library reads the system clock; `check_times` takes the time as input.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        Ok(Self { current: kid.to_owned(), signing: EncodingKey::from_secret(secret), verifying, validation })
    }

    /// Signs a token for a login that expires `lifetime` (whole seconds) after `now`.
    ///
    /// # Errors
    /// [`TokenError::Signing`].
    pub fn issue(
        &self,
        user: UserId,
        login: LoginId,
        token_id: Uuid,
        now: DateTime<Utc>,
        lifetime: Duration,
    ) -> Result<String, TokenError> {
        let issued_at = now.timestamp();
        let claims = Claims {
            sub: user,
            sid: login,
            iat: issued_at,
            exp: issued_at.saturating_add_unsigned(lifetime.as_secs()),
            nbf: None,
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            typ: KIND.to_owned(),
            jti: token_id,
        };
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some(self.current.clone());
        jsonwebtoken::encode(&header, &claims, &self.signing).map_err(|_| TokenError::Signing)
    }

    /// Verifies a token's signature, claims and time.
    ///
    /// # Errors
    /// [`TokenError::Invalid`]; the reason inside is for logs only.
    pub fn verify(&self, token: &str, now: DateTime<Utc>) -> Result<Access, TokenError> {
        self.check(token, now.timestamp()).map_err(TokenError::Invalid)
    }

    fn check(&self, token: &str, now: i64) -> Result<Access, TokenRejection> {
        if token.len() > MAX_BYTES {
            return Err(TokenRejection::TooLong);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenRejection::Malformed)?;
        if header.alg != Algorithm::HS256 {
            return Err(TokenRejection::Algorithm);
        }
        if header.crit.is_some() {
            return Err(TokenRejection::Critical);
        }
        if header.enc.is_some() || header.zip.is_some() {
            return Err(TokenRejection::Malformed);
        }
        let key = header
            .kid
            .as_deref()
            .and_then(|kid| self.verifying.get(kid))
            .ok_or(TokenRejection::UnknownKey)?;
        let claims = jsonwebtoken::decode::<Claims>(token, key, &self.validation)
            .map_err(|error| match error.kind() {
                ErrorKind::InvalidSignature => TokenRejection::Signature,
                ErrorKind::InvalidIssuer => TokenRejection::Issuer,
                ErrorKind::InvalidAudience => TokenRejection::Audience,
                ErrorKind::MissingRequiredClaim(_) | ErrorKind::Json(_) => TokenRejection::Claims,
                _ => TokenRejection::Malformed,
            })?
            .claims;
        if claims.typ != KIND {
            return Err(TokenRejection::Kind);
        }
        check_times(&claims, now)?;
        Ok(Access {
            user: claims.sub,
            login: claims.sid,
            token_id: claims.jti,
            issued_at: claims.iat,
            expires_at: claims.exp,
        })
    }
}

/// Checks the times of a token at `now` (seconds since the epoch), within the leeway.
fn check_times(claims: &Claims, now: i64) -> Result<(), TokenRejection> {
    if claims.exp < now.saturating_sub(LEEWAY) {
        return Err(TokenRejection::Expired);
    }
    let latest = now.saturating_add(LEEWAY);
    if claims.iat > latest || claims.nbf.is_some_and(|not_before| not_before > latest) {
        return Err(TokenRejection::NotYet);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
