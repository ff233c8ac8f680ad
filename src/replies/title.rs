//! Titles that the provider suggests: asked for beside the first answers of a conversation that has none.
//!
//! Nothing depends on one. A call that fails, or is lost with its process, is made again beside the next answer.

use std::time::Duration;

use aggregates::Personal;
use aggregates::conversation::{Conversation, ConversationCommand};
use aggregates::values::Title;
use futures::StreamExt as _;

use super::attempt_spans;
use super::context::Context;
use super::handler::{Job, ProviderOutcome, ReplyHandler};
use crate::ai::{Choice, Parameters, Piece, Prompt, ProviderError, Purpose, Role, Turn};
use traces::spans;

/// What the provider is told.
const INSTRUCTIONS: &str = "Give the conversation that begins with this message a title of at most six words, in the \
                            language of the message. Answer with the title and nothing else.";
/// How much of a message a title is made from, in characters.
const MOST: usize = 2_000;
/// The longest title that is suggested, in characters.
const LONGEST: usize = 80;
/// How long a title may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// The most tokens of a title.
const TOKENS: u32 = 40;

impl ReplyHandler {
    /// Has a title suggested in the background, if the conversation has none.
    pub(super) fn title(&self, job: &Job, context: &Context) {
        let first = context.turns.iter().find(|turn| turn.role() == Some(Role::User));
        let Some(first) = first.map(Turn::text).filter(|text| !text.trim().is_empty()) else { return };
        if !job.interactive || !self.inner.settings.titles {
            return;
        }
        let first: String = first.chars().take(MOST).collect();
        let (handler, job) = (self.clone(), job.clone());
        let suggested = traces::carried(async move {
            let span = spans::title();
            let suggested = tokio::time::timeout(PATIENCE, handler.suggest(&job, first));
            if span.around(suggested).await.is_err() {
                tracing::debug!(reply.id = %job.reply, "no title in time");
            }
        });
        self.inner.tasks.spawn(suggested);
    }

    async fn suggest(&self, job: &Job, first: String) {
        // The log knows; the list may not show the conversation yet.
        match self.inner.executor.recent_state::<Conversation>(&job.conversation.to_string()).await {
            Ok(conversation) if !conversation.is_titled() => {}
            Ok(_) => return,
            Err(error) => return tracing::debug!(%error, "whether a title is wanted cannot be read"),
        }
        let prompt = Prompt {
            model: job.model.clone(),
            system: INSTRUCTIONS.to_owned(),
            turns: vec![Turn::message(Role::User, first)],
            parameters: Parameters { max_output_tokens: TOKENS, temperature: None },
            tools: Vec::new(),
            tool_choice: None,
            purpose: Purpose::Title,
            attempt: 1,
            reply: job.reply.uuid(),
        };
        let Some(choice) = self.inner.chain.first(job.model.as_deref(), job.reply.uuid()) else {
            return tracing::debug!("no title: no provider can be asked now");
        };
        let prompt = choice.prompt(prompt);
        let call = self.call(job, &choice, &prompt);
        let (text, outcome) = call.around(ask(&choice, prompt)).await;
        attempt_spans::record_outcome(&call, &outcome, None);
        drop(call);
        if let ProviderOutcome::Failed(error) = outcome {
            return tracing::debug!(code = error.code(), "no title");
        }
        let Some(title) = tidy(&text) else { return };
        let at = self.inner.clock.now();
        let command = ConversationCommand::SuggestTitle { title: Personal::Known(title), at };
        if let Err(error) = self.run(job, command).await {
            tracing::debug!(%error, "a title was not recorded");
        }
    }
}

/// What the provider says to this, and how it ended.
async fn ask(choice: &Choice, prompt: Prompt) -> (String, ProviderOutcome) {
    let mut pieces = choice.stream(prompt);
    let mut text = String::new();
    while let Some(piece) = pieces.next().await {
        match piece {
            Ok(Piece::Text(more)) => text.push_str(&more),
            Ok(Piece::Call(_)) => {}
            Ok(Piece::End(completion)) => return (text, ProviderOutcome::Completed(completion)),
            Err(error) => return (text, ProviderOutcome::Failed(error)),
        }
    }
    (text, ProviderOutcome::Failed(ProviderError::Cut))
}

/// A title out of what a model answered: its first line, without the quotes that some put around it.
fn tidy(text: &str) -> Option<Title> {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    let bare = line.trim_matches(|c: char| c.is_whitespace() || "\"'`*#“”„«».".contains(c));
    let short: String = bare.chars().filter(|c| !c.is_control()).take(LONGEST).collect();
    Title::parse(short.trim()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_one_short_line_without_marks() {
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
