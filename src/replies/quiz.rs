//! Answers a message that asks for a quiz, without a provider: a short text, and the quiz.

use aggregates::conversation::{ConversationCommand, ReplyPlan};
use aggregates::quiz::ANSWERS_AS;
use projections::messages::thread::{Entry, ThreadRow};
use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::context::Context;
use super::handler::{Job, JobOutcome, PartialReply, ReplyHandler};
use super::provider_choice::Attempt;
use super::tools::START_QUIZ;
use crate::ai::{Completion, Finish, TokenUsage, ToolCall};
use crate::quizzes::Asked;
use event_store::ExecuteError;

/// Provider name in the provenance.
const PROVIDER: &str = "built-in";

impl ReplyHandler {
    /// Returns the quiz that the message asks for.
    pub(super) fn wanted_quiz(&self, job: &Job, rows: &[ThreadRow]) -> Option<Asked> {
        let asked = rows.iter().find(|row| row.id == job.message)?;
        let Entry::Message { text: Some(text), .. } = &asked.entry else { return None };
        self.inner.quizzes.asked_for(text)
    }

    /// Answers with a quiz, or with the list of topics.
    pub(super) async fn answer_with_quiz(
        &self,
        job: &Job,
        attempt: u32,
        asked: Asked,
        context: &Context,
        stop: &CancellationToken,
    ) -> Result<JobOutcome, ExecuteError> {
        let inner = &self.inner;
        let plan = ReplyPlan {
            worker: inner.worker.clone(),
            provider: PROVIDER.to_owned(),
            model: ANSWERS_AS.to_owned(),
            parameters: json!({}),
            prompt_versions: Vec::new(),
            input_message_ids: context.inputs.last().copied().into_iter().collect(),
            file_hashes: Vec::new(),
        };
        let begin =
            ConversationCommand::BeginReply { reply_id: job.reply, attempt, plan, at: inner.clock.now() };
        self.run(job, begin).await?;
        inner.hub.begin(job.reply, attempt);
        let (text, calls) = self.quiz_answer(asked);
        inner.hub.push(job.reply, attempt, &text);
        let completion = Completion {
            finish: Finish::Stop,
            usage: Some(TokenUsage { prompt_tokens: 0, completion_tokens: 0 }),
            model: ANSWERS_AS.to_owned(),
            provider_reply_id: None,
        };
        let partial = PartialReply { text, first_token: None, calls };
        let attempt = Attempt { number: attempt, provider: PROVIDER.to_owned(), key: None, past: Vec::new() };
        self.complete(job, &attempt, completion, Instant::now(), partial, stop).await
    }

    /// Returns the answer's text and its items.
    fn quiz_answer(&self, asked: Asked) -> (String, Vec<ToolCall>) {
        let bank = self.inner.quizzes.bank();
        let topic = match &asked.topic {
            None => None,
            Some(named) => match bank.topic(named) {
                Some(topic) => Some(topic),
                None => {
                    let topics: Vec<&str> = bank.topics().map(|topic| topic.name.as_str()).collect();
                    let text = format!(
                        "I have no questions about that. I can ask about these topics: {}.",
                        topics.join(", ")
                    );
                    return (text, Vec::new());
                }
            },
        };
        let text = match topic {
            Some(topic) => format!("Here is a quiz about {}.", topic.name),
            None => "Here is a quiz.".to_owned(),
        };
        let arguments = topic.map_or_else(|| json!({}), |topic| json!({"topic": topic.name}));
        let call = ToolCall { call_id: ANSWERS_AS.to_owned(), name: START_QUIZ.to_owned(), arguments };
        (text, vec![call])
    }
}
