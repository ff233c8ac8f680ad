//! Keys, and the lifetimes of what is signed with them.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};

use super::error::ConfigError;
use super::reader::Reader;
use super::secret::{Secret, SecretKey, SecretSource};
use crate::auth::lockout::LockoutPolicy;

/// Shortest signing secret, in bytes: the length of the hash.
const MIN_SECRET_BYTES: usize = 32;
/// Fewest different characters of a signing secret; a text with fewer was typed, not generated.
const MIN_DISTINCT_CHARS: usize = 10;
/// Placeholders of sample files, reduced to letters and digits.
const PLACEHOLDERS: [&str; 8] = [
    "yoursecret",
    "yourjwtsecret",
    "yoursupersecret",
    "changeme",
    "changethis",
    "changeinproduction",
    "replaceme",
    "replacethis",
];
/// Typical hand-typed secrets, reduced to letters and digits. Long enough not to occur in a random secret.
const TYPED_SECRETS: [&str; 8] =
    ["secret", "password", "passphrase", "verbatim", "qwerty", "letmein", "12345678", "abcdefgh"];
/// Names of the variable for the signing secret; the first one that is set counts.
const SECRET_NAMES: [&str; 3] = ["SECURITY__JWT_SECRET", "JWT_SECRET_KEY", "SECRET_KEY"];

/// Keys and lifetimes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthConfig {
    /// `JWT_SECRET`: signs access tokens.
    pub jwt_secret: SecretSource<Secret>,
    /// `JWT_KID`: id of the signing secret; by default derived from it, see [`key_id`].
    pub jwt_kid: Option<String>,
    /// `JWT_PREVIOUS_SECRETS`: secrets that are still accepted, by key id.
    pub previous: Vec<PreviousSecret>,
    /// Lifetime of an access token.
    pub access_lifetime: Duration,
    /// `REFRESH_TOKEN_EXPIRE_DAYS`: lifetime of an unused refresh token.
    pub refresh_lifetime: Duration,
    /// `LOGIN_MAX_DAYS`: lifetime of a session, however often it is refreshed.
    pub login_max: Duration,
    /// `MASTER_KEY`: wraps the users' keys.
    pub master_key: SecretSource<SecretKey>,
    /// `LOCKOUT_FAILURES`, `LOCKOUT_WINDOW_MINUTES`, `LOCKOUT_SECONDS`, `LOCKOUT_MAX_SECONDS`: when failed sign-ins lock an
    /// account.
    pub lockout: LockoutPolicy,
}

/// A signing secret that is accepted, but not used for new tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreviousSecret {
    /// Key id in the tokens.
    pub kid: String,
    /// The secret.
    pub secret: Secret,
}

/// Returns the default id of a signing secret: it distinguishes two secrets and reveals neither.
pub fn key_id(secret: &[u8]) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), b"verbatim key id");
    tag.as_ref().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

impl AuthConfig {
    pub(super) fn read(reader: &mut Reader<'_>, embedded: bool) -> Result<Self, ConfigError> {
        let jwt_secret = signing_secret(reader, embedded)?;
        let jwt_kid = reader.optional(
            "JWT_KID",
            "1 to 64 letters, digits, dots, dashes or underscores",
            String::clone,
            |text| is_kid(text).then(|| text.to_owned()),
        )?;
        let previous = previous_secrets(reader, jwt_kid.as_deref(), &jwt_secret)?;
        reader.parsed(
            "ALGORITHM",
            (),
            "HS256, the only one offered",
            |()| "HS256".to_owned(),
            |text| (text == "HS256").then_some(()),
        )?;
        let seconds = reader.optional(
            "SECURITY__JWT_EXPIRES_IN",
            "a whole number of seconds from 60 to 86400",
            u64::to_string,
            |text| text.parse().ok().filter(|seconds| (60..=86_400).contains(seconds)),
        )?;
        let minutes = reader.number("ACCESS_TOKEN_EXPIRE_MINUTES", 25, 1..=1440)?;
        let refresh_days = reader.number("REFRESH_TOKEN_EXPIRE_DAYS", 7, 1..=365)?;
        let login_days = reader.number("LOGIN_MAX_DAYS", 30, 1..=3650)?;
        if refresh_days > login_days {
            return Err(ConfigError::Order {
                name: "REFRESH_TOKEN_EXPIRE_DAYS",
                value: refresh_days,
                relation: "at most",
                other: "LOGIN_MAX_DAYS",
                limit: login_days,
            });
        }
        let days = |days: u64| Duration::from_secs(days * 86_400);
        Ok(Self {
            jwt_secret,
            jwt_kid,
            previous,
            access_lifetime: Duration::from_secs(seconds.unwrap_or(minutes * 60)),
            refresh_lifetime: days(refresh_days),
            login_max: days(login_days),
            master_key: master_key(reader, embedded)?,
            lockout: lockout(reader)?,
        })
    }
}

fn lockout(reader: &mut Reader<'_>) -> Result<LockoutPolicy, ConfigError> {
    let failures = reader.count("LOCKOUT_FAILURES", 10, 3..=1000)?;
    let window = reader.number("LOCKOUT_WINDOW_MINUTES", 15, 1..=1440)?;
    let lock = reader.number("LOCKOUT_SECONDS", 60, 1..=3600)?;
    let longest = reader.number("LOCKOUT_MAX_SECONDS", 900, 1..=86_400)?;
    if lock > longest {
        return Err(ConfigError::Order {
            name: "LOCKOUT_SECONDS",
            value: lock,
            relation: "at most",
            other: "LOCKOUT_MAX_SECONDS",
            limit: longest,
        });
    }
    let seconds = Duration::from_secs;
    Ok(LockoutPolicy {
        failures,
        window: seconds(window * 60),
        lock: seconds(lock),
        longest: seconds(longest),
    })
}

fn signing_secret(reader: &mut Reader<'_>, embedded: bool) -> Result<SecretSource<Secret>, ConfigError> {
    let given = SECRET_NAMES.map(|name| (name, reader.secret(name)));
    let mut set = given.into_iter().filter_map(|(name, secret)| secret.map(|secret| (name, secret)));
    let Some((name, secret)) = set.next() else {
        if embedded {
            reader.show(SECRET_NAMES[0], "(made once, kept in the data folder)");
            return Ok(SecretSource::InDataFolder);
        }
        return Err(ConfigError::Missing {
            name: "JWT_SECRET_KEY",
            when: "when DATABASE_URL is set",
            expected: "at least 32 random characters, for example the output of `openssl rand -hex 32` \
                       (SECRET_KEY and SECURITY__JWT_SECRET are other names for it)",
        });
    };
    check_strength(name, secret.expose())?;
    for (other, _) in set {
        reader.note(format!("{other} has no effect, since {name} is set."));
    }
    Ok(SecretSource::Given(secret))
}

fn check_strength(name: &'static str, secret: &str) -> Result<(), ConfigError> {
    let why = if is_placeholder(secret) {
        "holds the placeholder of a sample file"
    } else if secret.len() < MIN_SECRET_BYTES {
        "is shorter than 32 characters"
    } else if secret.chars().collect::<BTreeSet<_>>().len() < MIN_DISTINCT_CHARS {
        "has too few different characters"
    } else if is_typed(secret) {
        "holds a word that people type"
    } else if is_repeated(secret) {
        "is a shorter text, repeated"
    } else {
        return Ok(());
    };
    Err(ConfigError::WeakSecret { name, why })
}

/// Returns whether `text` is a placeholder of a sample file.
pub(super) fn is_placeholder(text: &str) -> bool {
    let letters = letters(text);
    PLACEHOLDERS.iter().any(|placeholder| letters.contains(placeholder))
}

fn is_typed(text: &str) -> bool {
    let letters = letters(text);
    TYPED_SECRETS.iter().any(|word| letters.contains(word))
}

/// Returns whether `text` repeats one part, the last time possibly cut short.
fn is_repeated(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=bytes.len() / 2).any(|piece| bytes.iter().eq(bytes.iter().take(piece).cycle().take(bytes.len())))
}

fn letters(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect()
}

fn is_kid(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

fn previous_secrets(
    reader: &mut Reader<'_>,
    kid: Option<&str>,
    current: &SecretSource<Secret>,
) -> Result<Vec<PreviousSecret>, ConfigError> {
    const NAME: &str = "JWT_PREVIOUS_SECRETS";
    let invalid_list =
        |expected: &str| ConfigError::InvalidSecret { name: NAME, expected: expected.to_owned() };
    let mut names: BTreeSet<String> = kid.map(str::to_owned).into_iter().collect();
    if let (None, SecretSource::Given(secret)) = (kid, current) {
        names.insert(key_id(secret.expose().as_bytes()));
    }
    let Some(list) = reader.secret(NAME) else { return Ok(Vec::new()) };
    let mut previous = Vec::new();
    for pair in list.expose().split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (kid, secret) = pair
            .split_once(':')
            .filter(|(kid, _)| is_kid(kid))
            .ok_or_else(|| invalid_list("a comma-separated list of KID:SECRET pairs"))?;
        check_strength(NAME, secret)?;
        if !names.insert(kid.to_owned()) {
            return Err(invalid_list("a list of different KIDs without the current one"));
        }
        previous.push(PreviousSecret { kid: kid.to_owned(), secret: Secret::new(secret) });
    }
    Ok(previous)
}

fn master_key(reader: &mut Reader<'_>, embedded: bool) -> Result<SecretSource<SecretKey>, ConfigError> {
    const NAME: &str = "MASTER_KEY";
    let Some(text) = reader.secret(NAME) else {
        if embedded {
            reader.show(NAME, "(made once, kept in the data folder)");
            return Ok(SecretSource::InDataFolder);
        }
        return Err(ConfigError::Missing {
            name: NAME,
            when: "when DATABASE_URL is set",
            expected: "32 random bytes in hexadecimal or base64, for example the output of `openssl rand -hex 32`",
        });
    };
    let bytes = key_bytes(text.expose()).ok_or_else(|| ConfigError::InvalidSecret {
        name: NAME,
        expected: "32 bytes in hexadecimal or base64".to_owned(),
    })?;
    if bytes.iter().collect::<BTreeSet<_>>().len() < MIN_DISTINCT_CHARS {
        return Err(ConfigError::WeakSecret { name: NAME, why: "has too few different bytes" });
    }
    Ok(SecretSource::Given(SecretKey::new(bytes)))
}

fn key_bytes(text: &str) -> Option<[u8; 32]> {
    if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(index * 2..index * 2 + 2)?, 16).ok()?;
        }
        return Some(bytes);
    }
    [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD]
        .iter()
        .find_map(|engine| engine.decode(text).ok()?.try_into().ok())
}

#[cfg(test)]
mod tests;
