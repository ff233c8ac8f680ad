//! The password rule, and argon2id hashing under a cap.
//!
//! **To change the rule** change this file only: [`Password::check`] enforces it, [`rule`] and [`PATTERN`] describe it to users
//! and in the API description.
//!
//! Hashing deliberately costs 19 MiB and about 30 ms of a core, so it runs in the blocking pool, two at a time. The
//! blocking task itself holds the permit: a client that hangs up cannot stop a running hash, and must not free room for
//! another one.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{ARGON2ID_IDENT, Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use aws_lc_rs::rand;
use tokio::sync::Semaphore;

use super::common_passwords::COMMON;

/// Fewest characters (Unicode scalar values) of a new password.
pub const MIN_CHARS: usize = 8;
/// Most characters of a new password.
pub const MAX_CHARS: usize = 128;
/// The rule as a regular expression, as far as one can express it.
pub const PATTERN: &str = "[A-Za-z][^\\u0000]*[0-9]|[0-9][^\\u0000]*[A-Za-z]";

/// Describes the rule to users.
#[must_use]
pub fn rule() -> String {
    format!(
        "{MIN_CHARS} to {MAX_CHARS} characters, with a letter (a-z) and a digit; not a common password, not the e-mail address"
    )
}

/// Cost of a new hash: memory in KiB, passes, lanes.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const HASH_BYTES: usize = 32;
const SALT_BYTES: usize = 16;
/// Highest cost of a stored hash that is computed: a manipulated row must not stop the server.
const MAX_MEMORY_KIB: u32 = 64 * 1024;
const MAX_PASSES: u32 = 10;
/// Highest cost of an imported hash: not much more than ours, because guesses at its account delay all sign-ins.
const IMPORT_MEMORY_KIB: u32 = MAX_MEMORY_KIB;
const IMPORT_PASSES: u32 = 4;
const IMPORT_LANES: u32 = 4;
/// Shortest salt and output of an imported hash, in bytes.
const IMPORT_SALT_BYTES: usize = 8;
const IMPORT_HASH_BYTES: usize = 16;

/// A password in clear text; `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// Takes the password exactly as typed.
    #[must_use]
    pub const fn new(typed: String) -> Self {
        Self(typed)
    }

    /// Checks the rule for a new password of the user with this e-mail address, without trimming or cutting it. An existing
    /// password that breaks the rule still signs in.
    ///
    /// # Errors
    /// The first broken part of the rule.
    pub fn check(&self, email: Option<&str>) -> Result<(), PasswordRule> {
        let chars = self.0.chars().count();
        if chars < MIN_CHARS {
            return Err(PasswordRule::TooShort);
        }
        if chars > MAX_CHARS {
            return Err(PasswordRule::TooLong);
        }
        if !self.0.contains(|c: char| c.is_ascii_alphabetic()) {
            return Err(PasswordRule::NoLetter);
        }
        if !self.0.contains(|c: char| c.is_ascii_digit()) {
            return Err(PasswordRule::NoDigit);
        }
        let lower = self.0.to_lowercase();
        if email.is_some_and(|email| email.trim().to_lowercase() == lower) {
            return Err(PasswordRule::OwnEmail);
        }
        if COMMON.binary_search(&lower.as_str()).is_ok() {
            return Err(PasswordRule::Common);
        }
        Ok(())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// The part of the rule that a new password breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordRule {
    /// Fewer than [`MIN_CHARS`] characters.
    #[error("the password must have at least {MIN_CHARS} characters")]
    TooShort,
    /// More than [`MAX_CHARS`] characters.
    #[error("the password must have at most {MAX_CHARS} characters")]
    TooLong,
    /// No letter a–z or A–Z.
    #[error("the password must contain a letter (a-z or A-Z)")]
    NoLetter,
    /// No digit 0–9.
    #[error("the password must contain a digit")]
    NoDigit,
    /// The user's own e-mail address.
    #[error("the password must not be your e-mail address")]
    OwnEmail,
    /// On the list of common passwords.
    #[error("this password is too common; choose another one")]
    Common,
}

/// Why a password could not be hashed or verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Too many requests are waiting, or the wait was too long.
    #[error("too many concurrent sign-ins")]
    Busy,
    /// The stored hash is unreadable or too costly. Answer as for a wrong password (it took the same time) and alert the
    /// operator.
    #[error("the stored password hash is unusable")]
    StoredHash,
    /// Out of memory or random bytes, or ended by the shutdown.
    #[error("the password could not be hashed")]
    Failed,
}

/// Result of verifying a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verification {
    /// The password is correct.
    Correct {
        /// Whether the stored hash is weaker than a new one: hash the password again and store that.
        needs_rehash: bool,
    },
    /// The password is wrong, or the user is unknown.
    Wrong,
}

/// Limits on concurrent hashing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasswordLimits {
    /// Hashes that run at once.
    pub running: usize,
    /// Hashes that wait for a permit.
    pub waiting: usize,
    /// Longest wait for a permit.
    pub max_wait: Duration,
}

impl Default for PasswordLimits {
    /// 2 at once, 32 waiting, for at most 2 s.
    fn default() -> Self {
        Self { running: 2, waiting: 32, max_wait: Duration::from_secs(2) }
    }
}

/// Hashes and verifies passwords. Clones share the limits; a process must have only one.
#[derive(Clone)]
pub struct Passwords {
    limits: PasswordLimits,
    /// One slot for each hash that runs or waits.
    slots: Arc<Semaphore>,
    /// One permit for each hash that runs.
    permits: Arc<Semaphore>,
    /// Computed when there is no stored hash. No password matches it.
    dummy: Arc<PasswordHash>,
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passwords").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Passwords {
    /// Sets the limits; computes no hash.
    ///
    /// # Errors
    /// [`PasswordError::Failed`] without random bytes.
    pub fn new(limits: PasswordLimits) -> Result<Self, PasswordError> {
        Ok(Self {
            limits,
            slots: Arc::new(Semaphore::new(limits.running.saturating_add(limits.waiting))),
            permits: Arc::new(Semaphore::new(limits.running)),
            dummy: Arc::new(dummy()?),
        })
    }

    /// Hashes a new password into a PHC string.
    ///
    /// # Errors
    /// [`PasswordError::Busy`] over the cap; [`PasswordError::Failed`] without memory or random bytes.
    pub async fn hash(&self, password: Password) -> Result<String, PasswordError> {
        self.run(move || {
            let salt: [u8; SALT_BYTES] = random()?;
            let hash = hasher()?.hash_password_with_salt(password.0.as_bytes(), &salt);
            hash.map(|hash| hash.to_string()).map_err(|_| PasswordError::Failed)
        })
        .await?
    }

    /// Verifies a password against a stored PHC string; `None` for an unknown user, which takes the same time.
    ///
    /// # Errors
    /// [`PasswordError::Busy`] over the cap; [`PasswordError::StoredHash`] for an unusable stored hash.
    pub async fn verify(
        &self,
        stored: Option<String>,
        password: Password,
    ) -> Result<Verification, PasswordError> {
        let dummy = Arc::clone(&self.dummy);
        self.run(move || {
            let comparison = Comparison::plan(stored.as_deref(), &dummy);
            let right = hasher()?.verify_password(password.0.as_bytes(), comparison.target());
            match (comparison, right) {
                (Comparison::Stored(hash), Ok(())) => {
                    Ok(Verification::Correct { needs_rehash: is_weak(&hash) })
                }
                (Comparison::UnknownUser(_), _)
                | (Comparison::Stored(_), Err(argon2::password_hash::Error::PasswordInvalid)) => {
                    Ok(Verification::Wrong)
                }
                (Comparison::Stored(_), Err(_)) => Err(PasswordError::Failed),
                (Comparison::Unusable(_), _) => Err(PasswordError::StoredHash),
            }
        })
        .await?
    }

    /// Runs blocking work under the limits. Slot and permit are released when the work ends, not when the caller stops
    /// waiting for it.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PasswordError> {
        let slot = Arc::clone(&self.slots).try_acquire_owned().map_err(|_| PasswordError::Busy)?;
        let permit = tokio::time::timeout(self.limits.max_wait, Arc::clone(&self.permits).acquire_owned())
            .await
            .map_err(|_| PasswordError::Busy)?
            .map_err(|_| PasswordError::Failed)?;
        tokio::task::spawn_blocking(move || {
            let _held = (slot, permit);
            work()
        })
        .await
        .map_err(|_| PasswordError::Failed)
    }
}

/// Returns whether a stored hash is unreadable or weaker than a new one.
#[must_use]
pub fn needs_rehash(stored: &str) -> bool {
    PasswordHash::new(stored).map_or(true, |hash| is_weak(&hash))
}

/// Why a password hash of another system is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotImportable {
    /// A bcrypt hash.
    #[error("bcrypt hashes are not supported, only argon2id")]
    Bcrypt,
    /// A PBKDF2 hash, in any spelling.
    #[error("PBKDF2 hashes are not supported, only argon2id")]
    Pbkdf2,
    /// Another format.
    #[error("the password hash is not an argon2id hash in PHC format ($argon2id$…)")]
    Unknown,
    /// Too costly to compute.
    #[error(
        "the argon2id hash is too costly (at most m={IMPORT_MEMORY_KIB}, t={IMPORT_PASSES}, p={IMPORT_LANES})"
    )]
    TooCostly,
    /// Salt or output is too short.
    #[error("the salt or the output of the argon2id hash is too short")]
    TooShort,
}

/// Checks that a password hash of another system can be imported. A weak one can: it is replaced at the next sign-in.
///
/// # Errors
/// The reason for the rejection.
pub fn check_importable(stored: &str) -> Result<(), NotImportable> {
    if ["$2a$", "$2b$", "$2x$", "$2y$", "$bcrypt"].iter().any(|begin| stored.starts_with(begin)) {
        return Err(NotImportable::Bcrypt);
    }
    if stored.trim_start_matches('$').starts_with("pbkdf2") {
        return Err(NotImportable::Pbkdf2);
    }
    let hash = PasswordHash::new(stored).map_err(|_| NotImportable::Unknown)?;
    if hash.algorithm != ARGON2ID_IDENT {
        return Err(NotImportable::Unknown);
    }
    let params = Params::try_from(&hash).map_err(|_| NotImportable::Unknown)?;
    if params.m_cost() > IMPORT_MEMORY_KIB
        || params.t_cost() > IMPORT_PASSES
        || params.p_cost() > IMPORT_LANES
    {
        return Err(NotImportable::TooCostly);
    }
    if hash.salt.as_ref().is_none_or(|salt| salt.len() < IMPORT_SALT_BYTES)
        || hash.hash.as_ref().is_none_or(|output| output.len() < IMPORT_HASH_BYTES)
    {
        return Err(NotImportable::TooShort);
    }
    if is_usable(&hash) { Ok(()) } else { Err(NotImportable::Unknown) }
}

/// The hash that a verification computes: one in every case, the last two at the cost of a new hash.
pub(super) enum Comparison<'a> {
    /// The stored hash.
    Stored(Box<PasswordHash>),
    /// The user is unknown: the dummy.
    UnknownUser(&'a PasswordHash),
    /// The stored hash must not be computed: the dummy, so that the response takes as long.
    Unusable(&'a PasswordHash),
}

impl<'a> Comparison<'a> {
    /// Chooses the hash to compute.
    pub(super) fn plan(stored: Option<&str>, dummy: &'a PasswordHash) -> Self {
        let Some(stored) = stored else { return Self::UnknownUser(dummy) };
        match PasswordHash::new(stored) {
            Ok(hash) if is_usable(&hash) => Self::Stored(Box::new(hash)),
            Ok(_) | Err(_) => Self::Unusable(dummy),
        }
    }

    /// Returns the hash to compute and compare with.
    pub(super) fn target(&self) -> &PasswordHash {
        match self {
            Self::Stored(hash) => hash,
            Self::UnknownUser(dummy) | Self::Unusable(dummy) => dummy,
        }
    }
}

/// Returns whether the library supports the stored hash and its cost is acceptable.
fn is_usable(hash: &PasswordHash) -> bool {
    Algorithm::try_from(hash.algorithm.as_str()).is_ok()
        && hash.version.is_none_or(|version| Version::try_from(version).is_ok())
        && hash.salt.is_some()
        && hash.hash.is_some()
        && Params::try_from(hash)
            .is_ok_and(|params| params.m_cost() <= MAX_MEMORY_KIB && params.t_cost() <= MAX_PASSES)
}

fn is_weak(hash: &PasswordHash) -> bool {
    hash.algorithm != ARGON2ID_IDENT
        || hash.version != Some(Version::V0x13.into())
        || Params::try_from(hash)
            .map_or(true, |params| params.m_cost() < MEMORY_KIB || params.t_cost() < PASSES)
        || hash.salt.as_ref().is_none_or(|salt| salt.len() < SALT_BYTES)
        || hash.hash.as_ref().is_none_or(|output| output.len() < HASH_BYTES)
}

fn params() -> Result<Params, PasswordError> {
    Params::new(MEMORY_KIB, PASSES, LANES, Some(HASH_BYTES)).map_err(|_| PasswordError::Failed)
}

fn hasher() -> Result<Argon2<'static>, PasswordError> {
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params()?))
}

fn random<const N: usize>() -> Result<[u8; N], PasswordError> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| PasswordError::Failed)?;
    Ok(bytes)
}

/// Returns a hash of random bytes at the cost of a new hash: it takes as long as any other, and no password matches it.
pub(super) fn dummy() -> Result<PasswordHash, PasswordError> {
    Ok(PasswordHash {
        algorithm: ARGON2ID_IDENT,
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&params()?).map_err(|_| PasswordError::Failed)?,
        salt: Some(Salt::new(&random::<SALT_BYTES>()?).map_err(|_| PasswordError::Failed)?),
        hash: Some(Output::new(&random::<HASH_BYTES>()?).map_err(|_| PasswordError::Failed)?),
    })
}

#[cfg(test)]
mod tests;
