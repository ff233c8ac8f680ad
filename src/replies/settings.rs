//! Settings of replies.

use std::time::Duration;

use super::retry::RetrySettings;

/// Limits and texts of replies.
#[derive(Debug, Clone)]
pub struct ReplySettings {
    /// Replies that this process makes at once.
    pub concurrency: usize,
    /// Limits of retries.
    pub retries: RetrySettings,
    /// Time from the request to the end of a reply, at the latest.
    pub deadline: Duration,
    /// System prompt; may be empty.
    pub system_prompt: String,
    /// Most earlier turns (a message and its answer) in a prompt.
    pub history_turns: usize,
    /// Most tokens of a prompt, everything included.
    pub context_tokens: usize,
    /// Share of the prompt's tokens that files may take, in percent.
    pub files_percent: usize,
    /// Most tokens of an answer.
    pub max_output_tokens: u32,
    /// Sampling temperature; `None` leaves it to the provider.
    pub temperature: Option<f32>,
    /// Most characters of one text file in a prompt.
    pub file_chars: usize,
    /// Most characters of all text files in a prompt; the newest files come first.
    pub files_chars: usize,
    /// Most bytes of images and documents in a prompt; the newest come first.
    pub files_bytes: u64,
    /// Most bytes of images and documents in all prompts of a process at once; further replies wait.
    pub files_bytes_at_once: u64,
    /// Whether to request titles for untitled conversations of interactive clients.
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
            titles: true,
        }
    }
}
