//! Who writes the replies and how long that may take.

use std::time::Duration;

use axum::http::Uri;

use super::auth::is_placeholder;
use super::error::ConfigError;
use super::reader::Reader;
use super::secret::Secret;
use super::tools::ClientTool;
use crate::ai::{FaultPlan, ScriptedSettings};

/// The answer to what is owed: workers, deadlines, provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepliesConfig {
    /// `REPLY_DEADLINE_SECONDS`: a reply has ended this long after it was asked for, one way or another.
    pub deadline: Duration,
    /// `PROVIDER_TOTAL_SECONDS`: all a provider may take for one attempt; less than the deadline.
    pub provider_total: Duration,
    /// `REPLY_CONCURRENCY`: replies a process works on at once.
    pub concurrency: usize,
    /// `REPLY_MAX_ATTEMPTS`: tries of one reply.
    pub max_attempts: u32,
    /// `SYSTEM_PROMPT`: what the provider is told before everything else.
    pub system_prompt: Option<String>,
    /// `MAX_OUTPUT_TOKENS`: how long a reply may be.
    pub max_output_tokens: u32,
    /// `HISTORY_TURNS`: how many of the latest messages are sent along.
    pub history_turns: u32,
    /// `CONTEXT_TOKENS`: how many tokens are sent at most, everything included.
    pub context_tokens: usize,
    /// `CONTEXT_FILES_PERCENT`: how much of that files may take.
    pub files_percent: usize,
    /// `CHAT_TITLES`: whether the provider is asked for titles of ChatKit threads that have none.
    pub titles: bool,
    /// `AI_MODELS`: models that may be asked for besides the provider's own.
    pub models: Vec<String>,
    /// `CLIENT_TOOLS_FILE`: tools of the pages that answers may call.
    pub client_tools: Vec<ClientTool>,
    /// Who writes.
    pub provider: Provider,
}

/// Who writes the replies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Provider {
    /// The built-in one that says what it was told to, for trying out and tests.
    Scripted(ScriptedSettings),
    /// OpenAI, or a service that speaks its Responses API.
    OpenAi {
        /// `OPENAI_API_KEY`.
        key: Secret,
        /// `OPENAI_BASE_URL`, without a slash at the end; `None`: OpenAI's own.
        base_url: Option<String>,
        /// `OPENAI_MODEL`.
        model: String,
    },
}

impl RepliesConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, ConfigError> {
        let deadline = reader.number("REPLY_DEADLINE_SECONDS", 180, 2..=180)?;
        let provider_total = reader.number("PROVIDER_TOTAL_SECONDS", 150, 1..=150)?;
        if provider_total >= deadline {
            return Err(ConfigError::Order {
                name: "PROVIDER_TOTAL_SECONDS",
                value: provider_total,
                relation: "less than",
                other: "REPLY_DEADLINE_SECONDS",
                limit: deadline,
            });
        }
        Ok(Self {
            deadline: Duration::from_secs(deadline),
            provider_total: Duration::from_secs(provider_total),
            concurrency: reader.count("REPLY_CONCURRENCY", 32, 1..=1024)?,
            max_attempts: reader.count("REPLY_MAX_ATTEMPTS", 4, 1..=20)?,
            system_prompt: reader.text("SYSTEM_PROMPT"),
            max_output_tokens: reader.count("MAX_OUTPUT_TOKENS", 500, 1..=128_000)?,
            history_turns: reader.count("HISTORY_TURNS", 20, 0..=1000)?,
            context_tokens: reader.count("CONTEXT_TOKENS", 16_000, 500..=2_000_000)?,
            files_percent: reader.count("CONTEXT_FILES_PERCENT", 50, 0..=90)?,
            titles: reader.flag("CHAT_TITLES", true)?,
            models: reader.parsed(
                "AI_MODELS",
                Vec::new(),
                "names of models, separated by commas, each of at most 200 visible characters",
                |models: &Vec<String>| models.join(","),
                models,
            )?,
            client_tools: super::tools::read(reader)?,
            provider: provider(reader)?,
        })
    }
}

fn provider(reader: &mut Reader<'_>) -> Result<Provider, ConfigError> {
    let key = reader.secret("OPENAI_API_KEY");
    let base_url = reader.optional(
        "OPENAI_BASE_URL",
        "an address such as https://api.openai.com/v1",
        String::clone,
        parse_base_url,
    )?;
    let model = reader.parsed(
        "OPENAI_MODEL",
        "gpt-4o-mini".to_owned(),
        "a model's name of at most 200 visible characters",
        String::clone,
        |text| {
            (text.len() <= 200 && text.bytes().all(|byte| byte.is_ascii_graphic())).then(|| text.to_owned())
        },
    )?;
    let words_per_second = reader.count("SCRIPTED_WORDS_PER_SECOND", 40, 0..=100_000)?;
    let faults = reader.parsed(
        "SCRIPTED_FAULT",
        FaultPlan::default(),
        "none, 429, 500, hang, cut, empty or over-long, and may end in `:n` for the first n attempts only",
        FaultPlan::to_string,
        |text| text.parse().ok(),
    )?;
    let scripted = Provider::Scripted(ScriptedSettings { words_per_second, faults });
    match key {
        Some(key) if is_sample_key(key.expose()) => {
            reader.note(
                "OPENAI_API_KEY holds the placeholder of a sample file, so the built-in scripted provider answers."
                    .to_owned(),
            );
            Ok(scripted)
        }
        Some(key) => Ok(Provider::OpenAi { key, base_url, model }),
        None => {
            if base_url.is_some() {
                reader.note("OPENAI_BASE_URL has no effect without OPENAI_API_KEY.".to_owned());
            }
            Ok(scripted)
        }
    }
}

fn models(text: &str) -> Option<Vec<String>> {
    let name = |text: &str| {
        let good = (1..=200).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        good.then(|| text.to_owned())
    };
    text.split(',').map(|part| name(part.trim())).collect()
}

/// `your-api-key-here` and its like.
fn is_sample_key(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    is_placeholder(&key) || (key.contains("your") && key.contains("key"))
}

fn parse_base_url(text: &str) -> Option<String> {
    let uri: Uri = text.parse().ok()?;
    let scheme = matches!(uri.scheme_str(), Some("http" | "https"));
    let plain = uri.query().is_none() && uri.authority().is_some_and(|host| !host.as_str().contains('@'));
    (scheme && plain).then(|| text.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_urls_are_web_addresses_without_secrets() {
        assert_eq!(parse_base_url("http://127.0.0.1:9/v1/").as_deref(), Some("http://127.0.0.1:9/v1"));
        for refused in ["api.openai.com", "ftp://x/v1", "https://user:key@x/v1", "https://x/v1?key=1"] {
            assert_eq!(parse_base_url(refused), None, "{refused}");
        }
    }
}
