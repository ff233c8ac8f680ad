//! Why the configuration is refused: one sentence that names the variable.

/// A refused configuration. Its text never holds the value of a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The value does not say what the variable needs.
    #[error("{name} is `{value}`, but it must be {expected}.")]
    Invalid {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
        /// What would do.
        expected: String,
    },
    /// The same for a variable whose value is not shown.
    #[error("{name} must be {expected}.")]
    InvalidSecret {
        /// The variable.
        name: &'static str,
        /// What would do.
        expected: String,
    },
    /// A secret that somebody could guess.
    #[error(
        "{name} {why}: set it to at least 32 random characters, for example the output of `openssl rand -hex 32`."
    )]
    WeakSecret {
        /// The variable.
        name: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Needed, and not set.
    #[error("{name} is not set, but it is needed {when}: set it to {expected}.")]
    Missing {
        /// The variable.
        name: &'static str,
        /// In which case it is needed.
        when: &'static str,
        /// What would do.
        expected: &'static str,
    },
    /// `DATABASE_URL` or one of its like names another kind of database.
    #[error(
        "{name} names a {kind} database, and Verbatim keeps its data in Postgres only: set it to \
         postgres://USER:PASSWORD@HOST/DATABASE, or leave it unset for the embedded default."
    )]
    OtherDatabase {
        /// The variable.
        name: &'static str,
        /// What the URL names.
        kind: String,
    },
    /// Two values that do not go together.
    #[error("{name} ({value}) must be {relation} {other} ({limit}).")]
    Order {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: u64,
        /// `less than` and the like.
        relation: &'static str,
        /// The other variable.
        other: &'static str,
        /// The other's value.
        limit: u64,
    },
    /// A file that a variable names cannot be used.
    #[error("The file {path} that {name} names cannot be used: {what}.")]
    File {
        /// The variable.
        name: &'static str,
        /// Where the file should be.
        path: String,
        /// What is wrong with it.
        what: String,
    },
    /// A line of `.env` cannot be read. The line is not shown: it may hold a secret.
    #[error("The file .env could not be read: {0}.")]
    DotEnv(String),
    /// A variable that matters here is not UTF-8.
    #[error("{0} is not valid UTF-8.")]
    NotUnicode(String),
}
