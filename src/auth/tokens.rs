//! Access tokens: short-lived, signed with HMAC-SHA256, checked without a database.
//!
//! Issued at sign-in and refresh, verified by the one place that lets requests in. What a token may be is fixed here,
//! never by the token: algorithm, keys, issuer, audience and kind. Time is an input, so the library's own checks
//! against the system clock are off and ours stand here.

use std::collections::HashMap;
use std::time::Duration;

use aggregates::ids::{LoginId, UserId};
use chrono::{DateTime, Utc};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Who issues the tokens.
pub const ISSUER: &str = "verbatim";
/// Who they are for.
pub const AUDIENCE: &str = "verbatim-api";
/// The kind of token; a token of another kind with the same key is not taken for this one.
pub const KIND: &str = "access";
/// Seconds by which the clocks of nodes may differ.
pub const LEEWAY: i64 = 5;
/// Bytes of the longest text that is looked at. Ours have some 450.
pub const MAX_BYTES: usize = 4096;

/// Bytes of the shortest secret: HMAC-SHA256 asks for as many as it gives. Whether a secret looks guessable is the
/// configuration's question.
const MIN_SECRET_BYTES: usize = 32;

/// Why no keys could be made.
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

/// An access token was refused, or could not be made. The text says nothing more, whatever the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Refused. The reason is for logs only; a client must not learn it.
    #[error("the access token is not valid")]
    Invalid(Refused),
    /// The library could not sign.
    #[error("the access token could not be signed")]
    Signing,
}

/// What was wrong with a refused token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Over [`MAX_BYTES`].
    TooLong,
    /// Not three parts of base64url with JSON in the first two, or the header is not one of a signed token.
    Malformed,
    /// Another algorithm than ours.
    Algorithm,
    /// No key id, or none of ours.
    UnknownKey,
    /// The header demands extensions; we have none.
    Critical,
    /// The signature is another key's, or the token was changed.
    Signature,
    /// A claim is missing or has the wrong type.
    Claims,
    /// Another issuer.
    Issuer,
    /// Another audience.
    Audience,
    /// A token, but not an access token.
    Kind,
    /// Run out.
    Expired,
    /// Not valid yet, or issued in the future.
    NotYet,
}

impl Refused {
    /// A fixed label, for logs and metrics.
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

/// What a verified token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// Who it speaks for.
    pub user: UserId,
    /// The login it came from; whether that is still live is another question.
    pub login: LoginId,
    /// The token's own id.
    pub token_id: Uuid,
    /// When it was issued, in seconds since 1970.
    pub issued_at: i64,
    /// When it runs out, in seconds since 1970.
    pub expires_at: i64,
}

/// The claims on the wire. Types are strict: a number with a fraction or a text is no time.
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

/// The keys that sign and verify: the current one, and those before it while their tokens are still about.
pub struct TokenKeys {
    current: String,
    signing: EncodingKey,
    verifying: HashMap<String, DecodingKey>,
    validation: Validation,
}

/// Shows key ids only.
impl std::fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenKeys").field("current", &self.current).finish_non_exhaustive()
    }
}

impl TokenKeys {
    /// Takes the current key id and secret, and those of earlier keys until their last token has run out.
    ///
    /// # Errors
    /// When a secret is too short or the ids are unusable.
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
        // The library reads the system clock; `times` below takes the time it is given.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        Ok(Self { current: kid.to_owned(), signing: EncodingKey::from_secret(secret), verifying, validation })
    }

    /// Signs a token for a login. It runs out `lifetime` (whole seconds) after `now`.
    ///
    /// # Errors
    /// [`TokenError::Signing`] when the library cannot sign.
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

    /// Checks a token against the keys and the time.
    ///
    /// # Errors
    /// [`TokenError::Invalid`] whatever is wrong with it; the reason inside is for logs.
    pub fn verify(&self, token: &str, now: DateTime<Utc>) -> Result<Access, TokenError> {
        self.checked(token, now.timestamp()).map_err(TokenError::Invalid)
    }

    fn checked(&self, token: &str, now: i64) -> Result<Access, Refused> {
        if token.len() > MAX_BYTES {
            return Err(Refused::TooLong);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| Refused::Malformed)?;
        if header.alg != Algorithm::HS256 {
            return Err(Refused::Algorithm);
        }
        if header.crit.is_some() {
            return Err(Refused::Critical);
        }
        if header.enc.is_some() || header.zip.is_some() {
            return Err(Refused::Malformed);
        }
        let key = header.kid.as_deref().and_then(|kid| self.verifying.get(kid)).ok_or(Refused::UnknownKey)?;
        let claims = jsonwebtoken::decode::<Claims>(token, key, &self.validation)
            .map_err(|error| match error.kind() {
                ErrorKind::InvalidSignature => Refused::Signature,
                ErrorKind::InvalidIssuer => Refused::Issuer,
                ErrorKind::InvalidAudience => Refused::Audience,
                ErrorKind::MissingRequiredClaim(_) | ErrorKind::Json(_) => Refused::Claims,
                _ => Refused::Malformed,
            })?
            .claims;
        if claims.typ != KIND {
            return Err(Refused::Kind);
        }
        times(&claims, now)?;
        Ok(Access {
            user: claims.sub,
            login: claims.sid,
            token_id: claims.jti,
            issued_at: claims.iat,
            expires_at: claims.exp,
        })
    }
}

/// Whether the token is good at `now` (seconds since 1970), give or take the leeway.
fn times(claims: &Claims, now: i64) -> Result<(), Refused> {
    if claims.exp < now.saturating_sub(LEEWAY) {
        return Err(Refused::Expired);
    }
    let latest = now.saturating_add(LEEWAY);
    if claims.iat > latest || claims.nbf.is_some_and(|not_before| not_before > latest) {
        return Err(Refused::NotYet);
    }
    Ok(())
}
