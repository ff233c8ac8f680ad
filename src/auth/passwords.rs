//! Passwords: the rule for new ones, and argon2id under a cap.
//!
//! Hashing costs 19 MiB and some 30 ms of a core by intent, so it runs in the blocking pool, two at a time. The permit
//! is held by the blocking work itself: a client that hangs up drops its request, but not the work already begun,
//! and must not make room for more of it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{ARGON2ID_IDENT, Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use aws_lc_rs::rand;
use tokio::sync::Semaphore;

use super::common_passwords::COMMON;

/// Fewest and most characters (Unicode scalar values) of a new password.
pub const MIN_CHARS: usize = 8;
/// See [`MIN_CHARS`].
pub const MAX_CHARS: usize = 128;

/// Cost of a hash: memory in KiB, passes, lanes.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const HASH_BYTES: usize = 32;
const SALT_BYTES: usize = 16;
/// A stored hash that would cost more than this is not computed: whoever can write one could stop the server.
const MAX_MEMORY_KIB: u32 = 64 * 1024;
const MAX_PASSES: u32 = 10;
/// What a hash of another system may cost: not much more than ours, or whoever guesses at its account makes everybody's
/// sign-ins wait behind it.
const IMPORT_MEMORY_KIB: u32 = MAX_MEMORY_KIB;
const IMPORT_PASSES: u32 = 4;
const IMPORT_LANES: u32 = 4;
/// And how short its salt and its output may be, in bytes.
const IMPORT_SALT_BYTES: usize = 8;
const IMPORT_HASH_BYTES: usize = 16;

/// A password in clear. Shows nothing of itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// Takes what was typed, exactly as it was typed.
    #[must_use]
    pub const fn new(typed: String) -> Self {
        Self(typed)
    }

    /// Whether this may become the password of the person with this e-mail address. Nothing is trimmed or cut.
    /// To be asked for new passwords only: an old one that breaks the rule still signs in.
    ///
    /// # Errors
    /// The first part of the rule that it breaks.
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

/// Which part of the rule a new password breaks.
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
    /// The person's own address.
    #[error("the password must not be your e-mail address")]
    OwnEmail,
    /// On the list of the most common ones.
    #[error("the password is one of the most common ones")]
    Common,
}

/// Why a password could not be hashed or checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Too many are waiting, or the wait was too long. Try again later.
    #[error("too many sign-ins at once")]
    Busy,
    /// The stored hash is unreadable or would cost absurdly much. To be answered like a wrong password (the time was
    /// spent as for one) and looked into.
    #[error("the stored password hash is unusable")]
    StoredHash,
    /// Memory or random bytes ran out, or the work was ended by a shutdown.
    #[error("the password could not be hashed")]
    Failed,
}

/// What came of checking a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The right one.
    Right {
        /// The stored hash is weaker than today's: hash the password anew and store that.
        needs_rehash: bool,
    },
    /// Not the right one, or there is no such person.
    Wrong,
}

/// How much hashing may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasswordLimits {
    /// At a time.
    pub running: usize,
    /// Waiting besides.
    pub waiting: usize,
    /// Longest wait.
    pub patience: Duration,
}

impl Default for PasswordLimits {
    /// 2 at a time, 32 waiting, 2 s at most.
    fn default() -> Self {
        Self { running: 2, waiting: 32, patience: Duration::from_secs(2) }
    }
}

/// Hashes and checks passwords. Clones share the cap; there must be one per process.
#[derive(Clone)]
pub struct Passwords {
    limits: PasswordLimits,
    /// A place for each one that runs or waits.
    places: Arc<Semaphore>,
    /// A permit for each one that runs.
    permits: Arc<Semaphore>,
    /// What is computed when there is nothing to compare with. No password matches it.
    dummy: Arc<PasswordHash>,
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passwords").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Passwords {
    /// Sets up the cap. Costs no hash.
    ///
    /// # Errors
    /// [`PasswordError::Failed`] without random bytes.
    pub fn new(limits: PasswordLimits) -> Result<Self, PasswordError> {
        Ok(Self {
            limits,
            places: Arc::new(Semaphore::new(limits.running.saturating_add(limits.waiting))),
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

    /// Checks a password against a stored PHC string; `None` where there is no such person, which takes the same time.
    ///
    /// # Errors
    /// [`PasswordError::Busy`] over the cap; [`PasswordError::StoredHash`] for an unusable stored hash.
    pub async fn verify(&self, stored: Option<String>, password: Password) -> Result<Verdict, PasswordError> {
        let dummy = Arc::clone(&self.dummy);
        self.run(move || {
            let task = Task::plan(stored.as_deref(), &dummy);
            let right = hasher()?.verify_password(password.0.as_bytes(), task.target());
            match (task, right) {
                (Task::Stored(hash), Ok(())) => Ok(Verdict::Right { needs_rehash: is_weak(&hash) }),
                (Task::Nobody(_), _)
                | (Task::Stored(_), Err(argon2::password_hash::Error::PasswordInvalid)) => Ok(Verdict::Wrong),
                (Task::Stored(_), Err(_)) => Err(PasswordError::Failed),
                (Task::Unusable(_), _) => Err(PasswordError::StoredHash),
            }
        })
        .await?
    }

    /// Runs blocking work under the cap. The place and the permit go into the work and come back when it ends, not
    /// when the caller stops waiting for it.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PasswordError> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| PasswordError::Busy)?;
        let permit = tokio::time::timeout(self.limits.patience, Arc::clone(&self.permits).acquire_owned())
            .await
            .map_err(|_| PasswordError::Busy)?
            .map_err(|_| PasswordError::Failed)?;
        tokio::task::spawn_blocking(move || {
            let _held = (place, permit);
            work()
        })
        .await
        .map_err(|_| PasswordError::Failed)
    }
}

/// Whether a stored hash is weaker than what would be made today, or unreadable.
#[must_use]
pub fn needs_rehash(stored: &str) -> bool {
    PasswordHash::new(stored).map_or(true, |hash| is_weak(&hash))
}

/// Why a password hash of another system is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotImportable {
    /// bcrypt.
    #[error("bcrypt hashes are not taken, only argon2id ones")]
    Bcrypt,
    /// PBKDF2, in whatever spelling.
    #[error("PBKDF2 hashes are not taken, only argon2id ones")]
    Pbkdf2,
    /// Something else.
    #[error("the password hash is not one of argon2id in its PHC form ($argon2id$…)")]
    Unknown,
    /// Computing it would take too much.
    #[error(
        "the argon2id hash costs too much (at most m={IMPORT_MEMORY_KIB}, t={IMPORT_PASSES}, p={IMPORT_LANES})"
    )]
    TooCostly,
    /// Its salt or its output is too short.
    #[error("the salt or the output of the argon2id hash is too short")]
    TooShort,
}

/// Whether a stored hash of another system can become that of an account here. A weak one may: it is replaced when its
/// owner signs in.
///
/// # Errors
/// Why not.
pub fn importable(stored: &str) -> Result<(), NotImportable> {
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

/// What a check computes. Every case computes one hash; the last two with today's cost.
pub(super) enum Task<'a> {
    /// The stored hash.
    Stored(Box<PasswordHash>),
    /// There is nobody: the dummy.
    Nobody(&'a PasswordHash),
    /// The stored hash must not be computed: the dummy, so that the answer takes as long as any.
    Unusable(&'a PasswordHash),
}

impl<'a> Task<'a> {
    /// Decides which hash to compute.
    pub(super) fn plan(stored: Option<&str>, dummy: &'a PasswordHash) -> Self {
        let Some(stored) = stored else { return Self::Nobody(dummy) };
        match PasswordHash::new(stored) {
            Ok(hash) if is_usable(&hash) => Self::Stored(Box::new(hash)),
            Ok(_) | Err(_) => Self::Unusable(dummy),
        }
    }

    /// The hash to compute and compare with.
    pub(super) fn target(&self) -> &PasswordHash {
        match self {
            Self::Stored(hash) => hash,
            Self::Nobody(dummy) | Self::Unusable(dummy) => dummy,
        }
    }
}

/// Whether the library knows the stored form and computing it is bearable.
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

/// A hash of today's cost made of random bytes: computing it takes as long as any other, and nothing matches it.
pub(super) fn dummy() -> Result<PasswordHash, PasswordError> {
    Ok(PasswordHash {
        algorithm: ARGON2ID_IDENT,
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&params()?).map_err(|_| PasswordError::Failed)?,
        salt: Some(Salt::new(&random::<SALT_BYTES>()?).map_err(|_| PasswordError::Failed)?),
        hash: Some(Output::new(&random::<HASH_BYTES>()?).map_err(|_| PasswordError::Failed)?),
    })
}
