//! Settings of reply workers and prompts.

use std::time::Duration;

use super::error::ConfigError;
use super::reader::Reader;
use super::tools::ClientTool;

/// Workers, deadlines and prompt contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepliesConfig {
    /// `REPLY_DEADLINE_SECONDS`: a reply ends at the latest this long after its request.
    pub deadline: Duration,
    /// `REPLY_CONCURRENCY`: replies that a process works on at once.
    pub concurrency: usize,
    /// `SYSTEM_PROMPT`: the provider's instructions.
    pub system_prompt: Option<String>,
    /// `MAX_OUTPUT_TOKENS`: longest reply.
    pub max_output_tokens: u32,
    /// `HISTORY_TURNS`: how many recent messages a prompt contains.
    pub history_turns: u32,
    /// `CONTEXT_TOKENS`: largest prompt.
    pub context_tokens: usize,
    /// `CONTEXT_FILES_PERCENT`: share of the prompt that files may take.
    pub files_percent: usize,
    /// `CHAT_TITLES`: whether the provider generates titles for untitled ChatKit threads.
    pub titles: bool,
    /// `CLIENT_TOOLS_FILE`: page tools that replies may call.
    pub client_tools: Vec<ClientTool>,
}

impl RepliesConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, ConfigError> {
        let deadline = reader.number("REPLY_DEADLINE_SECONDS", 180, 2..=180)?;
        Ok(Self {
            deadline: Duration::from_secs(deadline),
            concurrency: reader.count("REPLY_CONCURRENCY", 32, 1..=1024)?,
            system_prompt: reader.text("SYSTEM_PROMPT"),
            max_output_tokens: reader.count("MAX_OUTPUT_TOKENS", 500, 1..=128_000)?,
            history_turns: reader.count("HISTORY_TURNS", 20, 0..=1000)?,
            context_tokens: reader.count("CONTEXT_TOKENS", 16_000, 500..=2_000_000)?,
            files_percent: reader.count("CONTEXT_FILES_PERCENT", 50, 0..=90)?,
            titles: reader.flag("CHAT_TITLES", true)?,
            client_tools: super::tools::read(reader)?,
        })
    }
}
