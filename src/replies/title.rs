//! Titles suggested by the provider, requested beside the first answers of an untitled conversation.
//!
//! Nothing depends on a title. After a failed call, the next answer requests one again.

use std::time::Duration;

use aggregates::Personal;
use aggregates::conversation::{Conversation, ConversationCommand};
use aggregates::values::Title;
use futures::StreamExt as _;

use super::attempt_spans;
use super::context::Context;
use super::handler::{Job, ProviderOutcome, ReplyHandler};
use crate::ai::{Parameters, Prompt, ProviderError, Purpose, Role, SelectedProvider, StreamEvent, Turn};
use traces::spans;

/// System prompt of the title request.
const INSTRUCTIONS: &str = "Give the conversation that begins with this message a title of at most six words, in the \
                            language of the message. Answer with the title and nothing else.";
/// Most characters of the message that the title is made from.
const MAX_SOURCE_CHARS: usize = 2_000;
/// Most characters of a title.
const MAX_TITLE_CHARS: usize = 80;
/// Longest time for a title request.
const TITLE_TIMEOUT: Duration = Duration::from_secs(20);
/// Most tokens of a title.
const MAX_TITLE_TOKENS: u32 = 40;

impl ReplyHandler {
    /// Requests a title in the background, if the conversation has none.
    pub(super) fn title(&self, job: &Job, context: &Context) {
        let first = context.turns.iter().find(|turn| turn.role() == Some(Role::User));
        let Some(first) = first.map(Turn::text).filter(|text| !text.trim().is_empty()) else { return };
        if !job.interactive || !self.inner.settings.titles {
            return;
        }
        let first: String = first.chars().take(MAX_SOURCE_CHARS).collect();
        let (handler, job) = (self.clone(), job.clone());
        let suggested = traces::in_current_span(async move {
            let span = spans::title();
            let suggested = tokio::time::timeout(TITLE_TIMEOUT, handler.suggest(&job, first));
            if span.run(suggested).await.is_err() {
                tracing::debug!(reply.id = %job.reply, "title request timed out");
            }
        });
        self.inner.tasks.spawn(suggested);
    }

    async fn suggest(&self, job: &Job, first: String) {
        // The state is current; the read model may not show the conversation yet.
        match self.inner.executor.recent_state::<Conversation>(&job.conversation.to_string()).await {
            Ok(conversation) if !conversation.is_titled() => {}
            Ok(_) => return,
            Err(error) => return tracing::debug!(%error, "failed to load conversation for title"),
        }
        let prompt = Prompt {
            model: job.model.clone(),
            system: INSTRUCTIONS.to_owned(),
            turns: vec![Turn::message(Role::User, first)],
            parameters: Parameters { max_output_tokens: MAX_TITLE_TOKENS, temperature: None },
            tools: Vec::new(),
            tool_choice: None,
            purpose: Purpose::Title,
            attempt: 1,
            reply: job.reply.uuid(),
        };
        let Some(choice) = self.inner.chain.first(job.model.as_deref(), job.reply.uuid()) else {
            return tracing::debug!("no title: no provider is available");
        };
        let prompt = choice.prompt(prompt);
        let call = self.call(job, &choice, &prompt);
        let (text, outcome) = call.run(call_provider(&choice, prompt)).await;
        attempt_spans::record_outcome(&call, &outcome, None);
        drop(call);
        if let ProviderOutcome::Failed(error) = outcome {
            return tracing::debug!(code = error.code(), "no title");
        }
        let Some(title) = tidy(&text) else { return };
        let at = self.inner.clock.now();
        let command = ConversationCommand::SuggestTitle { title: Personal::Known(title), at };
        if let Err(error) = self.run(job, command).await {
            tracing::debug!(%error, "failed to record title");
        }
    }
}

/// Calls the provider, and returns its text and how the call ended.
async fn call_provider(choice: &SelectedProvider, prompt: Prompt) -> (String, ProviderOutcome) {
    let mut pieces = choice.stream(prompt);
    let mut text = String::new();
    while let Some(piece) = pieces.next().await {
        match piece {
            Ok(StreamEvent::Text(more)) => text.push_str(&more),
            Ok(StreamEvent::Call(_)) => {}
            Ok(StreamEvent::End(completion)) => return (text, ProviderOutcome::Completed(completion)),
            Err(error) => return (text, ProviderOutcome::Failed(error)),
        }
    }
    (text, ProviderOutcome::Failed(ProviderError::Cut))
}

/// Makes a title out of a model's answer: its first line, without quotes and Markdown marks around it.
fn tidy(text: &str) -> Option<Title> {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    let bare = line.trim_matches(|c: char| c.is_whitespace() || "\"'`*#“”„«».".contains(c));
    let short: String = bare.chars().filter(|c| !c.is_control()).take(MAX_TITLE_CHARS).collect();
    Title::parse(short.trim()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn title_is_one_short_line_without_marks() {
        for (said, title) in [
            ("\"Pruning apple trees\"\n\nHope that helps", Some("Pruning apple trees")),
            ("\n  ## Apples.  ", Some("Apples")),
            ("“Äpfel schneiden”", Some("Äpfel schneiden")),
            ("", None),
            (" \n \"\" ", None),
        ] {
            assert_eq!(tidy(said).as_ref().map(Title::as_str), title, "{said:?}");
        }
        assert_eq!(tidy(&"word ".repeat(100)).map(|title| title.as_str().chars().count()), Some(79));
    }
}
