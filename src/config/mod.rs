//! Typed configuration, read once at start from the environment and `.env`.
//!
//! The only place that reads the environment. `main` calls [`Config::load`]; every other part gets its section.
//! `.env` in the current folder does not override the environment; an empty value counts as not set. An invalid value
//! stops the start with one sentence that names the variable.

mod auth;
mod error;
mod files;
mod mail;
mod nats;
mod operation;
mod providers;
mod quizzes;
mod reader;
mod replies;
mod roles;
mod secret;
mod sockets;
mod storage;
#[cfg(test)]
mod tests;
mod tools;
mod traces;
pub mod variables;
mod web;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

pub use auth::{AuthConfig, PreviousSecret, key_id};
pub use error::ConfigError;
pub use files::{FileStoreLocation, FilesConfig, S3Config};
pub use mail::{MailConfig, MailTls};
pub use nats::NatsConfig;
pub use operation::{AttemptLimits, LogConfig, LogFormat, QuotaConfig, RateLimits};
pub use providers::{ProvidersConfig, RetrySettings, ServiceConfig};
pub use quizzes::QuizConfig;
pub use reader::{Effective, Source};
pub use replies::RepliesConfig;
pub use roles::{Role, Roles};
pub use secret::{REDACTED, Secret, SecretKey, SecretSource};
pub use sockets::{ServeLimits, SocketsConfig};
pub use storage::{Database, StorageConfig};
pub use tools::ClientTool;
pub use traces::{Sampling, TracesConfig};
pub use web::{Cors, ProxyHeader, WebConfig};

use reader::Reader;

/// Variables of similar programs that are ignored here, with the reason.
const IGNORED_VARIABLES: [(&str, &str); 4] = [
    ("SECURITY__BCRYPT_ROUNDS", "passwords are hashed with argon2id"),
    ("MONGODB_URL", "the data is kept in Postgres"),
    ("DATABASE_NAME", "the database's name is part of DATABASE_URL"),
    ("MONGO_URI", "the data is kept in Postgres"),
];

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `DEBUG`: default for open CORS and verbose logs.
    pub debug: bool,
    /// `ROLES`: the roles of this process.
    pub roles: Roles,
    /// Addresses and limits of HTTP.
    pub web: WebConfig,
    /// Limits of open connections.
    pub sockets: SocketsConfig,
    /// Database settings.
    pub storage: StorageConfig,
    /// Uploaded files.
    pub files: FilesConfig,
    /// NATS; `None` if this process does everything by itself.
    pub nats: Option<NatsConfig>,
    /// Keys and lifetimes.
    pub auth: AuthConfig,
    /// The mail server; `None` if no mail is sent.
    pub mail: Option<MailConfig>,
    /// Rate limits of replies; `None` for no limits.
    pub rate_limits: Option<RateLimits>,
    /// Daily quotas of a user.
    pub quotas: QuotaConfig,
    /// Rate limits of sign-ins, reads and commands; `None` for no limits.
    pub attempts: Option<AttemptLimits>,
    /// Settings of reply workers and prompts.
    pub replies: RepliesConfig,
    /// AI providers.
    pub providers: ProvidersConfig,
    /// Quiz questions.
    pub quizzes: QuizConfig,
    /// Logs.
    pub log: LogConfig,
    /// Traces; `None` if they are not recorded.
    pub traces: Option<TracesConfig>,
    /// `SHUTDOWN_SECONDS`: how long a graceful shutdown may take.
    pub shutdown: Duration,
    /// Warnings about the configuration for the operator, one sentence each.
    pub notes: Vec<String>,
    /// `INJECTED_FAULT` (test builds only): the fault to run with.
    #[cfg(feature = "fault-injection")]
    pub injected_fault: Option<String>,
    effective: Vec<Effective>,
}

impl Config {
    /// Reads the environment and `.env` in the current folder, if it exists. With `only`, the process has that role whatever
    /// the variables say.
    ///
    /// # Errors
    /// [`ConfigError`]; the text is the sentence to show.
    pub fn load(only: Option<Role>) -> Result<Self, ConfigError> {
        let dot_env = read_dot_env(Path::new(".env"))?;
        let mut environment = BTreeMap::new();
        let mut unreadable = Vec::new();
        let mut search_path = None;
        for (name, value) in std::env::vars_os() {
            if name == "PATH" {
                search_path = Some(value);
            } else if let Some(name) = name.to_str() {
                match value.into_string() {
                    Ok(value) => drop(environment.insert(name.to_owned(), value)),
                    Err(_) => unreadable.push(name.to_owned()),
                }
            }
        }
        if let Some(role) = only {
            environment.insert("ROLES".to_owned(), role.name().to_owned());
        }
        let mut config = Self::read(&environment, &dot_env)?;
        config.storage.search_path = search_path;
        match unreadable.into_iter().find(|name| config.effective.iter().any(|line| line.name == name)) {
            Some(name) => Err(ConfigError::NotUnicode(name)),
            None => Ok(config),
        }
    }

    /// Reads `variables` in place of the environment.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn from_map(variables: &BTreeMap<String, String>) -> Result<Self, ConfigError> {
        Self::read(variables, &BTreeMap::new())
    }

    /// Returns every variable with its effective value and source, in the order of reading; secrets redacted.
    pub fn effective(&self) -> &[Effective] {
        &self.effective
    }

    fn read(
        environment: &BTreeMap<String, String>,
        dot_env: &BTreeMap<String, String>,
    ) -> Result<Self, ConfigError> {
        // Every variable is read, whatever the others say, so that all are checked and listed.
        let mut reader = Reader::new(environment, dot_env);
        let debug = reader.flag("DEBUG", false)?;
        let web = WebConfig::read(&mut reader, debug)?;
        let sockets = SocketsConfig::read(&mut reader)?;
        let storage = StorageConfig::read(&mut reader)?;
        let files = FilesConfig::read(&mut reader, &storage.data_dir)?;
        let embedded = storage.is_embedded();
        let roles = Roles::read(&mut reader, embedded)?;
        let nats = NatsConfig::read(&mut reader)?;
        if nats.is_none() && roles == Roles::only(Role::Relay) {
            return Err(ConfigError::Missing {
                name: "NATS_URL",
                when: "by a process that only relays the log to NATS",
                expected: "nats://HOST:4222",
            });
        }
        let auth = AuthConfig::read(&mut reader, embedded)?;
        let mail = MailConfig::read(&mut reader)?;
        let rate_limits = RateLimits::read(&mut reader)?;
        let attempts = AttemptLimits::read(&mut reader, rate_limits.is_some())?;
        let quotas = QuotaConfig::read(&mut reader)?;
        let replies = RepliesConfig::read(&mut reader)?;
        let providers = ProvidersConfig::read(&mut reader, replies.deadline.as_secs())?;
        let quizzes = QuizConfig::read(&mut reader)?;
        let log = LogConfig::read(&mut reader, embedded, debug)?;
        let traces = TracesConfig::read(&mut reader)?;
        let shutdown = Duration::from_secs(reader.number("SHUTDOWN_SECONDS", 10, 1..=300)?);
        for (name, why) in IGNORED_VARIABLES {
            if reader.secret(name).is_some() {
                reader.note(format!("{name} has no effect: {why}."));
            }
        }
        for name in dot_env.keys() {
            if !reader.effective.iter().any(|line| line.name == name) {
                reader.note(format!("{name} in .env is not a variable that Verbatim knows."));
            }
        }
        #[cfg(feature = "fault-injection")]
        let injected_fault = environment.get("INJECTED_FAULT").filter(|name| !name.is_empty()).cloned();
        let Reader { effective, notes, .. } = reader;
        Ok(Self {
            debug,
            roles,
            web,
            sockets,
            storage,
            files,
            nats,
            auth,
            mail,
            rate_limits,
            quotas,
            attempts,
            replies,
            providers,
            quizzes,
            log,
            traces,
            shutdown,
            notes,
            #[cfg(feature = "fault-injection")]
            injected_fault,
            effective,
        })
    }
}

fn read_dot_env(path: &Path) -> Result<BTreeMap<String, String>, ConfigError> {
    let invalid = |error: &dotenvy::Error, before: Option<&str>| {
        ConfigError::DotEnv(match (error, before) {
            (dotenvy::Error::Io(error), _) => error.to_string(),
            // Nothing of the line is shown: it may contain a secret.
            (_, None) => format!("its first entry {NOT_AN_ENTRY}"),
            (_, Some(name)) => format!("the entry after {name} {NOT_AN_ENTRY}"),
        })
    };
    let lines = match dotenvy::from_path_iter(path) {
        Ok(lines) => lines,
        Err(error) if error.not_found() => return Ok(BTreeMap::new()),
        Err(error) => return Err(invalid(&error, None)),
    };
    // The first of two entries for one variable counts, as it does for dotenv.
    let mut variables = BTreeMap::new();
    let mut last = None;
    for line in lines {
        let (name, value) = line.map_err(|error| invalid(&error, last.as_deref()))?;
        last = Some(name.clone());
        variables.entry(name).or_insert(value);
    }
    Ok(variables)
}

const NOT_AN_ENTRY: &str = "is not NAME=VALUE (put a value that holds spaces, # or $ in single quotes)";
