//! What can be set about replies.

use std::time::Duration;

use super::retry::RetrySettings;
use crate::ai::Tool;

/// Limits and texts of replies.
#[derive(Debug, Clone)]
pub struct ReplySettings {
    /// How many replies this process makes at once.
    pub concurrency: usize,
    /// How often it is tried, and the pauses in between.
    pub retries: RetrySettings,
    /// From the request to the end of a reply, whatever happens.
    pub deadline: Duration,
    /// Standing instructions to the provider; empty for none.
    pub system_prompt: String,
    /// How many earlier turns (a message and its answer) a provider is sent at most.
    pub history_turns: usize,
    /// How many tokens a provider is sent at most, everything included.
    pub context_tokens: usize,
    /// How much of that files may take, in percent.
    pub files_percent: usize,
    /// The most tokens an answer may have.
    pub max_output_tokens: u32,
    /// Sampling temperature; none leaves it to the provider.
    pub temperature: Option<f32>,
    /// How many characters of a text file are read for a prompt at most.
    pub file_chars: usize,
    /// How many characters of all text files are read for a prompt at most; the newest files come first.
    pub files_chars: usize,
    /// How many bytes of images and documents of a prompt are sent at most; the newest come first.
    pub files_bytes: u64,
    /// How many bytes of images and documents the prompts of all replies of a process hold at once; others wait for room.
    pub files_bytes_at_once: u64,
    /// Tools of the pages, which an answer may call where the asker can be asked back.
    pub client_tools: Vec<Tool>,
    /// Whether the provider is asked for titles of conversations that have none, where the asker can be asked back.
    pub titles: bool,
}

impl Default for ReplySettings {
    fn default() -> Self {
        Self {
            concurrency: 32,
            retries: RetrySettings::default(),
            deadline: Duration::from_secs(180),
            system_prompt: "You are a helpful assistant.".to_owned(),
            history_turns: 20,
            context_tokens: 16_000,
            files_percent: 50,
            max_output_tokens: 500,
            temperature: None,
            file_chars: 40_000,
            files_chars: 60_000,
            files_bytes: 16 * 1024 * 1024,
            files_bytes_at_once: 64 * 1024 * 1024,
            client_tools: Vec::new(),
            titles: true,
        }
    }
}
