//! Records the result of an attempt: an answer, a wait before the next attempt, or a failure.

use std::time::Duration;

use aggregates::Personal;
use aggregates::conversation::{
    Conversation, ConversationCommand, FailureReason, FinishReason, ReplyItem, Timings, Usage,
};
use aggregates::ids::{ConversationId, MessageId, UserId};
use aggregates::values::ReplyText;
use event_store::{CommandBatch, ExecuteError, Metadata};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::handler::{Job, JobOutcome, PartialReply, ReplyHandler};
use super::provider_choice::Attempt;
use super::retry::{Failure, Requeue};
use crate::ai::{Completion, Finish, ProviderError, ToolCall};
use crate::tools::{BatchExtension, CallContext, ToolOutput};

impl ReplyHandler {
    /// Records an answer. An empty one is a failure.
    pub(super) async fn complete(
        &self,
        job: &Job,
        attempt: &Attempt,
        completion: Completion,
        started: Instant,
        partial: PartialReply,
        stop: &CancellationToken,
    ) -> Result<JobOutcome, ExecuteError> {
        let (items, commands): (Vec<ReplyItem>, Vec<_>) = self
            .call_tools(job, partial.calls)
            .into_iter()
            .map(|output| (output.item, output.commands))
            .unzip();
        let extensions: Vec<BatchExtension> = commands.into_iter().flatten().collect();
        let text = match ReplyText::parse(&partial.text) {
            Ok(text) if !partial.text.is_empty() || !items.is_empty() => text,
            // The content filter would stop the same question again.
            _ if completion.finish == Finish::ContentFilter => {
                return self.fail(job, Some(attempt.number), FailureReason::ContentFilter, "").await;
            }
            // A reasoning model that used up its output would do so again, at the same cost.
            _ if completion.finish == Finish::Length => {
                tracing::warn!(reply.id = %job.reply, model = label(&completion.model), "model exhausted max_output_tokens without producing text");
                return self.fail(job, Some(attempt.number), FailureReason::Empty, "").await;
            }
            _ => return self.retry_or_fail(job, attempt, FailureReason::Empty, None, "", stop).await,
        };
        let milliseconds = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let usage = completion.usage.map_or_else(Usage::default, |usage| Usage {
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens,
        });
        let command = ConversationCommand::RecordReply {
            reply_id: job.reply,
            attempt: attempt.number,
            text: Personal::Known(text),
            items,
            finish: match completion.finish {
                Finish::Stop => FinishReason::Stop,
                Finish::Length => FinishReason::Length,
                Finish::ContentFilter => FinishReason::ContentFilter,
            },
            usage,
            timings: Timings {
                first_token_ms: partial.first_token.map(milliseconds),
                total_ms: milliseconds(started.elapsed()),
            },
            model: label(&completion.model),
            provider_reply_id: completion.provider_reply_id.as_deref().map(label),
            at: self.inner.clock.now(),
        };
        self.record(job, command, &extensions, stop).await?;
        Ok(JobOutcome::Done)
    }

    /// Handles the tool calls of an answer; returns what they produce.
    fn call_tools(&self, job: &Job, calls: Vec<ToolCall>) -> Vec<ToolOutput> {
        let context = || CallContext {
            item_id: MessageId::new(self.inner.clock.id()),
            conversation: ConversationId::new(job.conversation),
            user: UserId::new(job.owner),
            at: self.inner.clock.now(),
        };
        let (outputs, rejected) = self.inner.tools.call_all(calls, context);
        if rejected > 0 {
            count_rejected_calls(rejected);
            tracing::info!(reply.id = %job.reply, rejected, "tool calls rejected");
        }
        outputs
    }

    /// Records a provider's failure: as a retry or as the end of the reply.
    pub(super) async fn failed(
        &self,
        job: &Job,
        attempt: &Attempt,
        error: ProviderError,
        text: &str,
        stop: &CancellationToken,
    ) -> Result<JobOutcome, ExecuteError> {
        let (number, provider, key) = (attempt.number, &attempt.provider, attempt.key);
        tracing::info!(reply.id = %job.reply, attempt = number, provider, key, code = error.code(), "provider failed");
        let reason = reason(&error);
        if error.is_retryable() || error.another_may_do_better() {
            self.retry_or_fail(job, attempt, reason, error.retry_after(), text, stop).await
        } else {
            self.fail(job, Some(number), reason, text).await
        }
    }

    /// Schedules the next attempt as the [retry policy](super::retry) decides; ends the reply when no provider or no time is left.
    async fn retry_or_fail(
        &self,
        job: &Job,
        attempt: &Attempt,
        reason: FailureReason,
        asked: Option<Duration>,
        text: &str,
        stop: &CancellationToken,
    ) -> Result<JobOutcome, ExecuteError> {
        let now = self.inner.clock.now();
        let next = self.next_attempt(job, attempt, Failure { reason, at: now, wait: Duration::ZERO }, asked);
        let Some(next) = next.filter(|next| now + next.wait + self.recording_margin() < job.deadline) else {
            return self.fail(job, Some(attempt.number), reason, text).await;
        };
        let command = ConversationCommand::RetryReply {
            reply_id: job.reply,
            attempt: attempt.number,
            reason,
            not_before: now + next.wait,
            at: now,
        };
        self.record(job, command, &[], stop).await?;
        Ok(JobOutcome::Requeue(Requeue::NextAttempt(next.wait)))
    }

    /// Ends the reply as failed, and keeps its partial text.
    pub(super) async fn fail(
        &self,
        job: &Job,
        attempt: Option<u32>,
        reason: FailureReason,
        text: &str,
    ) -> Result<JobOutcome, ExecuteError> {
        let text = (!text.is_empty()).then(|| ReplyText::parse(text).ok()).flatten().map(Personal::Known);
        let command = ConversationCommand::FailReply {
            reply_id: job.reply,
            attempt,
            reason,
            text,
            at: self.inner.clock.now(),
        };
        self.run(job, command).await?;
        Ok(JobOutcome::Failed(reason))
    }

    /// Records a result; repeats while the event store is unavailable, until the deadline.
    async fn record(
        &self,
        job: &Job,
        command: ConversationCommand,
        extensions: &[BatchExtension],
        stop: &CancellationToken,
    ) -> Result<(), ExecuteError> {
        loop {
            match self.run_with(job, command.clone(), extensions).await {
                Err(ExecuteError::Unavailable(_) | ExecuteError::Busy)
                    if self.inner.clock.now() < job.deadline && !stop.is_cancelled() =>
                {
                    tokio::select! {
                        () = tokio::time::sleep(Duration::from_millis(500)) => {}
                        () = stop.cancelled() => {}
                    }
                }
                done => return done,
            }
        }
    }

    pub(super) async fn run(&self, job: &Job, command: ConversationCommand) -> Result<(), ExecuteError> {
        self.run_with(job, command, &[]).await
    }

    /// Runs a command, with the commands of tools in the same append.
    async fn run_with(
        &self,
        job: &Job,
        command: ConversationCommand,
        extensions: &[BatchExtension],
    ) -> Result<(), ExecuteError> {
        let metadata = Metadata {
            actor: None,
            surface: "worker".to_owned(),
            request_id: None,
            correlation_id: Some(job.message.to_string()),
            causation_id: Some(job.reply.to_string()),
            traceparent: None,
            occurred_at: Some(self.inner.clock.now()),
            app_version: crate::VERSION.to_owned(),
        };
        let batch = CommandBatch::new(job.owner, metadata).command::<Conversation>(job.conversation, command);
        let batch = extensions.iter().fold(batch, |batch, extend| extend(batch));
        self.inner.executor.run(batch).await.map(drop)
    }
}

/// Returns a provider's label in a form that is safe for events and read models: at most 200 characters, no control
/// characters.
pub(super) fn label(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(200).collect()
}

/// Returns the calls that count: none when no tool was available to the model.
pub(super) fn offered(job: &Job, calls: Vec<ToolCall>) -> Vec<ToolCall> {
    if job.interactive || calls.is_empty() {
        return calls;
    }
    count_rejected_calls(calls.len());
    tracing::warn!(reply.id = %job.reply, calls = calls.len(), "model called tools although none was available");
    Vec::new()
}

fn count_rejected_calls(calls: usize) {
    metrics::counter!("verbatim_tool_calls_rejected_total")
        .increment(u64::try_from(calls).unwrap_or(u64::MAX));
}

/// Maps a provider's error to the reason that is recorded.
fn reason(error: &ProviderError) -> FailureReason {
    match error {
        ProviderError::RateLimited { .. } => FailureReason::RateLimited,
        ProviderError::Unavailable { .. } | ProviderError::Cut => FailureReason::ProviderUnavailable,
        ProviderError::Timeout(_) => FailureReason::Timeout,
        ProviderError::KeyMissing => FailureReason::KeyMissing,
        ProviderError::KeyInvalid => FailureReason::KeyInvalid,
        ProviderError::QuotaExceeded => FailureReason::QuotaExceeded,
        ProviderError::ModelUnknown => FailureReason::ModelUnknown,
        ProviderError::ContentFilter => FailureReason::ContentFilter,
        ProviderError::BadRequest | ProviderError::BadResponse | ProviderError::Unsupported => {
            FailureReason::BadResponse
        }
        ProviderError::ContextTooLong | ProviderError::RequestTooLarge | ProviderError::TooLong => {
            FailureReason::TooLong
        }
    }
}
