//! Configuration errors: each is one sentence that names the variable.

/// An invalid configuration. The text never contains a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The value is invalid.
    #[error("{name} is `{value}`, but it must be {expected}.")]
    Invalid {
        /// Name of the variable.
        name: &'static str,
        /// Value of the variable.
        value: String,
        /// What the value must be.
        expected: String,
    },
    /// The value is invalid and must not be shown.
    #[error("{name} must be {expected}.")]
    InvalidSecret {
        /// Name of the variable.
        name: &'static str,
        /// What the value must be.
        expected: String,
    },
    /// A secret that can be guessed.
    #[error(
        "{name} {why}: set it to at least 32 random characters, for example the output of `openssl rand -hex 32`."
    )]
    WeakSecret {
        /// Name of the variable.
        name: &'static str,
        /// Why the secret is weak.
        why: &'static str,
    },
    /// A required variable is not set.
    #[error("{name} is not set, but it is needed {when}: set it to {expected}.")]
    Missing {
        /// Name of the variable.
        name: &'static str,
        /// When the variable is required.
        when: &'static str,
        /// What the value must be.
        expected: &'static str,
    },
    /// A database URL names another kind of database.
    #[error(
        "{name} names a {kind} database, and Verbatim keeps its data in Postgres only: set it to \
         postgres://USER:PASSWORD@HOST/DATABASE, or leave it unset for the embedded default."
    )]
    OtherDatabase {
        /// Name of the variable.
        name: &'static str,
        /// The kind of database that the URL names.
        kind: String,
    },
    /// Two values contradict each other.
    #[error("{name} ({value}) must be {relation} {other} ({limit}).")]
    Order {
        /// Name of the first variable.
        name: &'static str,
        /// Value of the first variable.
        value: u64,
        /// The required relation, e.g. `less than`.
        relation: &'static str,
        /// Name of the second variable.
        other: &'static str,
        /// Value of the second variable.
        limit: u64,
    },
    /// A file that a variable names is unusable.
    #[error("The file {path} that {name} names cannot be used: {what}.")]
    File {
        /// Name of the variable.
        name: &'static str,
        /// Path of the file.
        path: String,
        /// What is wrong with the file.
        what: String,
    },
    /// A line of `.env` is malformed. The line is not shown: it may contain a secret.
    #[error("The file .env could not be read: {0}.")]
    DotEnv(String),
    /// A variable that is read here is not UTF-8.
    #[error("{0} is not valid UTF-8.")]
    NotUnicode(String),
}
