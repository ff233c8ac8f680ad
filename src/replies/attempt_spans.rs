//! Spans and metrics of attempts: ids, names and numbers, never text.

use std::time::{Duration, SystemTime};

use projections::pending_replies::query::{self, PendingReplyRow};

use super::handler::{Job, JobOutcome, ProviderOutcome, ReplyHandler};
use super::record::label;
use crate::ai::{Finish, Parameters, Prompt, SelectedProvider};
use event_store::ExecuteError;
use traces::{Span, spans};

impl ReplyHandler {
    /// Starts the span of an attempt as part of the trace that requested the reply. The trace's ids are in the metadata of
    /// the request's event, so they survive queues and restarts.
    pub(super) async fn span(
        &self,
        job: &Job,
        owed: &PendingReplyRow,
        attempt: u32,
        began: Option<SystemTime>,
    ) -> Span {
        let waited = self.since(owed);
        metrics::histogram!("verbatim_reply_wait_seconds").record(waited.as_secs_f64());
        if !traces::is_enabled() {
            return Span::default();
        }
        // Without the ids, the attempt is a trace of its own.
        let asked = query::traceparent(&self.inner.pool, owed.position).await.ok().flatten();
        spans::attempt(job.reply.uuid(), job.conversation, attempt, waited, asked.as_deref(), began)
    }

    /// Records the outcome of an attempt.
    pub(super) fn attempted(
        &self,
        span: &Span,
        owed: &PendingReplyRow,
        outcome: &Result<JobOutcome, ExecuteError>,
    ) {
        match outcome {
            Ok(outcome) => {
                span.record_outcome(outcome.name());
                if !matches!(outcome, JobOutcome::Requeue(_)) {
                    let took = self.since(owed);
                    metrics::histogram!("verbatim_reply_seconds").record(took.as_secs_f64());
                }
            }
            Err(ExecuteError::Rejected(_)) => span.record_outcome("rejected"),
            Err(_) => span.record_failure("not_recorded"),
        }
    }

    /// Returns the time since the reply was requested, by this process's clock.
    fn since(&self, owed: &PendingReplyRow) -> Duration {
        (self.inner.clock.now() - owed.requested_at).to_std().unwrap_or_default()
    }

    /// Starts the span of a provider call.
    pub(super) fn call(&self, job: &Job, choice: &SelectedProvider, prompt: &Prompt) -> Span {
        let Parameters { max_output_tokens, temperature } = prompt.parameters;
        spans::chat(choice.provider(), choice.model(), job.conversation, max_output_tokens, temperature)
    }
}

/// Records the outcome of a provider call on its span.
pub(super) fn record_outcome(call: &Span, outcome: &ProviderOutcome, first_token: Option<Duration>) {
    if let Some(after) = first_token {
        call.record_first_text(after);
        metrics::histogram!("verbatim_reply_first_token_seconds").record(after.as_secs_f64());
    }
    match outcome {
        ProviderOutcome::Completed(completion) => {
            let finish = match completion.finish {
                Finish::Stop => "stop",
                Finish::Length => "length",
                Finish::ContentFilter => "content_filter",
            };
            let usage = completion.usage.map(|usage| (usage.prompt_tokens, usage.completion_tokens));
            let id = completion.provider_reply_id.as_deref().map(label);
            call.record_completion(finish, &label(&completion.model), id.as_deref(), usage);
        }
        ProviderOutcome::Failed(error) => call.record_failure(error.code()),
        ProviderOutcome::Superseded => call.record_outcome("superseded"),
        ProviderOutcome::Stopped => call.record_outcome("stopped"),
    }
}
