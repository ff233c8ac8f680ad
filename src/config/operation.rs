//! Logs, rate limits and quotas.

use tracing_subscriber::EnvFilter;

use super::error::ConfigError;
use super::reader::{Reader, invalid};

/// Logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// `LOG_FORMAT`: text or JSON.
    pub format: LogFormat,
    /// `LOG_LEVEL`, else `RUST_LOG`: an [`EnvFilter`] directive.
    pub filter: String,
}

/// Format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Human-readable text.
    Human,
    /// One JSON object per line.
    Json,
}

impl LogConfig {
    pub(super) fn read(reader: &mut Reader<'_>, embedded: bool, debug: bool) -> Result<Self, ConfigError> {
        let format = reader.parsed(
            "LOG_FORMAT",
            if embedded { LogFormat::Human } else { LogFormat::Json },
            "human or json",
            |format| (if *format == LogFormat::Human { "human" } else { "json" }).to_owned(),
            |text| match text {
                "human" => Some(LogFormat::Human),
                "json" => Some(LogFormat::Json),
                _ => None,
            },
        )?;
        let level = filter(reader, "LOG_LEVEL")?;
        let directives = filter(reader, "RUST_LOG")?;
        let filter = level
            .or(directives)
            .unwrap_or_else(|| (if debug { "debug,sqlx=info" } else { "info,sqlx=warn" }).to_owned());
        Ok(Self { format, filter })
    }
}

fn filter(reader: &mut Reader<'_>, name: &'static str) -> Result<Option<String>, ConfigError> {
    const EXPECTED: &str = "error, warn, info, debug, trace or off, or a filter such as info,verbatim=debug";
    let Some(text) = reader.text(name) else { return Ok(None) };
    // Names of the same levels in other languages.
    let filter = match text.to_ascii_lowercase().as_str() {
        "warning" => "warn".to_owned(),
        "critical" | "fatal" => "error".to_owned(),
        _ => text.clone(),
    };
    // `EnvFilter` takes an unknown single word for the name of a module, and would log nothing.
    let is_word = filter.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if (is_word && filter.parse::<tracing_subscriber::filter::LevelFilter>().is_err())
        || EnvFilter::try_new(&filter).is_err()
    {
        return Err(invalid(name, &text, EXPECTED));
    }
    Ok(Some(filter))
}

/// Rate limits of reply requests, per minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimits {
    /// `RATE_LIMIT_USER_PER_MINUTE`: per user.
    pub user: u32,
    /// `RATE_LIMIT_SESSION_PER_MINUTE`: per conversation.
    pub session: u32,
    /// `RATE_LIMIT_CHANNEL_PER_MINUTE`: per API surface.
    pub channel: u32,
}

impl RateLimits {
    /// Reads the limits; `None` when `RATE_LIMITS` is off.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Option<Self>, ConfigError> {
        let on = reader.flag("RATE_LIMITS", true)?;
        let limits = Self {
            user: reader.count("RATE_LIMIT_USER_PER_MINUTE", 30, 1..=100_000)?,
            session: reader.count("RATE_LIMIT_SESSION_PER_MINUTE", 10, 1..=100_000)?,
            channel: reader.count("RATE_LIMIT_CHANNEL_PER_MINUTE", 20, 1..=100_000)?,
        };
        Ok(on.then_some(limits))
    }
}

/// Quotas of a user; 0 for no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaConfig {
    /// `QUOTA_MESSAGES_PER_DAY`: messages per day.
    pub messages_per_day: u64,
    /// `QUOTA_TOKENS_PER_DAY`: tokens per day.
    pub tokens_per_day: u64,
    /// `QUOTA_RESERVED_TOKENS`: reserved for each reply until it ends.
    pub reserved_tokens: u64,
    /// `REPLIES_AT_ONCE_PER_USER`: in how many conversations replies may be pending at once.
    pub at_once: u32,
}

impl QuotaConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, ConfigError> {
        let tokens_per_day = reader.number("QUOTA_TOKENS_PER_DAY", 1_000_000, 0..=1_000_000_000_000)?;
        let reserved_tokens = reader.number("QUOTA_RESERVED_TOKENS", 2_000, 0..=1_000_000)?;
        // A larger reservation would reject even the first message of a day.
        if tokens_per_day > 0 && reserved_tokens > tokens_per_day {
            return Err(ConfigError::Order {
                name: "QUOTA_RESERVED_TOKENS",
                value: reserved_tokens,
                relation: "at most",
                other: "QUOTA_TOKENS_PER_DAY",
                limit: tokens_per_day,
            });
        }
        Ok(Self {
            messages_per_day: reader.number("QUOTA_MESSAGES_PER_DAY", 1_000, 0..=1_000_000_000)?,
            tokens_per_day,
            reserved_tokens,
            at_once: reader.count("REPLIES_AT_ONCE_PER_USER", 3, 0..=10_000)?,
        })
    }
}

/// Rate limits of anonymous requests, and of reads and commands of signed-in users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptLimits {
    /// `SIGN_IN_LIMIT_ADDRESS_PER_MINUTE`: sign-ins from one address.
    pub sign_ins: u32,
    /// `REGISTER_LIMIT_ADDRESS_PER_HOUR`: registrations from one address.
    pub registrations: u32,
    /// `REFRESH_LIMIT_ADDRESS_PER_MINUTE`: token refreshes from one address.
    pub refreshes: u32,
    /// `REFRESH_LIMIT_USER_PER_MINUTE`: token refreshes of one user.
    pub account_refreshes: u32,
    /// `RESET_LIMIT_ADDRESS_PER_HOUR`: password resets requested or attempted from one address.
    pub resets: u32,
    /// `READ_LIMIT_USER_PER_MINUTE`: queries of one user, per node.
    pub reads: u32,
    /// `COMMAND_LIMIT_USER_PER_MINUTE`: other commands of one user, per node; 0 for no limit.
    pub commands: u32,
}

impl AttemptLimits {
    /// Reads the limits; `None` when `RATE_LIMITS` is off.
    pub(super) fn read(reader: &mut Reader<'_>, on: bool) -> Result<Option<Self>, ConfigError> {
        let limits = Self {
            sign_ins: reader.count("SIGN_IN_LIMIT_ADDRESS_PER_MINUTE", 30, 1..=100_000)?,
            registrations: reader.count("REGISTER_LIMIT_ADDRESS_PER_HOUR", 5, 1..=100_000)?,
            refreshes: reader.count("REFRESH_LIMIT_ADDRESS_PER_MINUTE", 120, 1..=100_000)?,
            account_refreshes: reader.count("REFRESH_LIMIT_USER_PER_MINUTE", 60, 1..=100_000)?,
            resets: reader.count("RESET_LIMIT_ADDRESS_PER_HOUR", 10, 1..=100_000)?,
            reads: reader.count("READ_LIMIT_USER_PER_MINUTE", 600, 1..=1_000_000)?,
            commands: reader.count("COMMAND_LIMIT_USER_PER_MINUTE", 600, 0..=1_000_000)?,
        };
        Ok(on.then_some(limits))
    }
}
