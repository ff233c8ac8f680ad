//! Answers a message without a provider, when a tool can ([`crate::tools::ReplyTool::direct_answer`]).

use aggregates::conversation::{ConversationCommand, ReplyPlan};
use projections::messages::thread::{Entry, ThreadRow};
use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::context::Context;
use super::handler::{Job, JobOutcome, PartialReply, ReplyHandler};
use super::provider_choice::Attempt;
use crate::ai::{Completion, Finish, TokenUsage};
use crate::tools::DirectAnswer;
use event_store::ExecuteError;

/// Provider name in the provenance.
const PROVIDER: &str = "built-in";

impl ReplyHandler {
    /// Returns the answer that a tool gives to the message, if any.
    pub(super) fn direct_answer(&self, job: &Job, rows: &[ThreadRow]) -> Option<DirectAnswer> {
        let asked = rows.iter().find(|row| row.id == job.message)?;
        let Entry::Message { text: Some(text), .. } = &asked.entry else { return None };
        self.inner.tools.direct_answer(text)
    }

    /// Records a tool's answer as one attempt.
    pub(super) async fn answer_directly(
        &self,
        job: &Job,
        attempt: u32,
        answer: DirectAnswer,
        context: &Context,
        stop: &CancellationToken,
    ) -> Result<JobOutcome, ExecuteError> {
        let inner = &self.inner;
        let DirectAnswer { model, text, calls } = answer;
        let plan = ReplyPlan {
            worker: inner.worker.clone(),
            provider: PROVIDER.to_owned(),
            model: model.to_owned(),
            parameters: json!({}),
            prompt_versions: Vec::new(),
            input_message_ids: context.inputs.last().copied().into_iter().collect(),
            file_hashes: Vec::new(),
        };
        let begin =
            ConversationCommand::BeginReply { reply_id: job.reply, attempt, plan, at: inner.clock.now() };
        self.run(job, begin).await?;
        inner.live_replies.begin(job.reply, attempt);
        inner.live_replies.push(job.reply, attempt, &text);
        let completion = Completion {
            finish: Finish::Stop,
            usage: Some(TokenUsage { prompt_tokens: 0, completion_tokens: 0 }),
            model: model.to_owned(),
            provider_reply_id: None,
        };
        let partial = PartialReply { text, first_token: None, calls };
        let attempt = Attempt { number: attempt, provider: PROVIDER.to_owned(), key: None, past: Vec::new() };
        self.complete(job, &attempt, completion, Instant::now(), partial, stop).await
    }
}
