//! One attempt at one reply, from what is owed to what is recorded.
//!
//! The provider may be called again after a crash; what is recorded may not: every record names its attempt, and the
//! conversation refuses all but the current one.

use std::sync::Arc;
use std::time::Duration;

use aggregates::conversation::{
    Conversation, ConversationCommand, ConversationError, FailureReason, FinishReason, ReplyPlan, Timings,
    Usage,
};
use aggregates::ids::ReplyId;
use aggregates::values::ReplyText;
use aggregates::{Personal, Refusal};
use chrono::{DateTime, Utc};
use cqrs_es::Aggregate as _;
use futures::StreamExt as _;
use projections::log::Metadata;
use projections::messages::{self, query::MessageRow};
use projections::pending_replies;
use projections::progress::Progress;
use projections::warm_pool::WarmPool;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::context::{self, Context};
use super::settings::ReplySettings;
use crate::ai::{Completion, Finish, Parameters, Piece, Prompt, Provider, ProviderError};
use crate::clock::Clock;
use crate::live::Hub;
use crate::log::{ExecuteError, Executor, Intent};

/// How long an attempt waits for the messages it has to read.
const CATCH_UP: Duration = Duration::from_secs(2);
/// What is kept of the time until the deadline for recording the end; a quarter of the time where that is less.
const MARGIN: Duration = Duration::from_secs(5);
/// The longest pause before the next attempt, whatever a provider asks for.
const MAX_PAUSE: Duration = Duration::from_secs(20);
/// Version of the context policy and of how the prompt is put together; part of the provenance.
const PROMPT_VERSION: &str = "context-1";

/// A reply that this process is to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The reply.
    pub reply: ReplyId,
    /// The conversation.
    pub conversation: Uuid,
    /// Who asked.
    pub owner: Uuid,
    /// The message that asked.
    pub message: Uuid,
    /// The model wished for.
    pub model: Option<String>,
    /// Until when the reply must have ended.
    pub deadline: DateTime<Utc>,
    /// Attempts begun so far.
    pub attempts: u32,
}

/// What is to become of a job, in the words of any queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The reply has ended, or is somebody else's business: acknowledge.
    Done,
    /// To be tried again after this time.
    Retry(Duration),
    /// It ended in a failure that is recorded: acknowledge, do not try again.
    Dead(FailureReason),
}

/// Makes replies. Cheap to clone.
#[derive(Clone)]
pub struct ReplyHandler {
    inner: Arc<Inner>,
}

struct Inner {
    pool: WarmPool,
    executor: Executor,
    progress: Progress,
    hub: Hub,
    provider: Arc<dyn Provider>,
    settings: ReplySettings,
    clock: Clock,
    /// Name of this worker in the provenance.
    worker: String,
}

/// How far an attempt has got with the provider.
#[derive(Default)]
struct Progressed {
    text: String,
    first_token: Option<Duration>,
}

/// How an attempt's talk with the provider ended.
enum Spoken {
    Completed(Completion),
    Failed(ProviderError),
    /// The reply ended otherwise, or another attempt began.
    Superseded,
    /// The process goes down.
    Stopped,
}

impl ReplyHandler {
    /// A handler that reads over `pool`, records through `executor` and asks `provider`.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is a part of its own; a struct would only name them again"
    )]
    pub fn new(
        pool: WarmPool,
        executor: Executor,
        progress: Progress,
        hub: Hub,
        provider: Arc<dyn Provider>,
        settings: ReplySettings,
        clock: Clock,
        worker: String,
    ) -> Self {
        Self { inner: Arc::new(Inner { pool, executor, progress, hub, provider, settings, clock, worker }) }
    }

    /// The settings it works with.
    pub fn settings(&self) -> &ReplySettings {
        &self.inner.settings
    }

    /// Makes one attempt. `stop` ends it early without an end being recorded: somebody else takes it up.
    pub async fn handle(&self, job: Job, stop: CancellationToken) -> Outcome {
        let attempt = job.attempts + 1;
        let result = self.attempt(&job, attempt, &stop).await;
        let outcome = match result {
            Ok(outcome) => outcome,
            Err(ExecuteError::Refused(refusal)) => self.refused(&job, &refusal),
            Err(error) => {
                tracing::warn!(reply.id = %job.reply, %error, cause = ?std::error::Error::source(&error), "attempt broken off");
                Outcome::Retry(Duration::from_secs(1))
            }
        };
        let label = match outcome {
            Outcome::Done => "done",
            Outcome::Retry(_) => "retry",
            Outcome::Dead(_) => "dead",
        };
        metrics::counter!("verbatim_reply_attempts_total", "outcome" => label).increment(1);
        outcome
    }

    /// A refusal tells that the job is not ours (any more), or that our view of it was old.
    fn refused(&self, job: &Job, refusal: &Refusal) -> Outcome {
        match refusal {
            Refusal::Conversation(
                ConversationError::NotYourTurn | ConversationError::StaleAttempt { .. },
            ) => {
                tracing::debug!(reply.id = %job.reply, %refusal, "attempt refused");
                Outcome::Retry(Duration::from_millis(100))
            }
            Refusal::Conversation(_) | Refusal::User(_) | Refusal::Claim(_) => {
                // It has ended. The model of what is owed does not show it yet; when it does, this is done.
                tracing::debug!(reply.id = %job.reply, %refusal, "nothing left to do");
                Outcome::Retry(Duration::from_millis(100))
            }
        }
    }

    async fn attempt(
        &self,
        job: &Job,
        attempt: u32,
        stop: &CancellationToken,
    ) -> Result<Outcome, ExecuteError> {
        let inner = &self.inner;
        let stands = self.stands(job).await?;
        if !inner.progress.wait(&["messages", "pending_replies"], stands, CATCH_UP).await {
            return Ok(Outcome::Retry(Duration::from_secs(1)));
        }
        // What was offered may be older than what is owed now.
        let owed = pending_replies::query::by_id(&inner.pool, job.reply.uuid())
            .await
            .map_err(|error| ExecuteError::Unavailable(error.into()))?;
        let Some(owed) = owed else { return Ok(Outcome::Done) };
        if owed.not_before.is_some_and(|not_before| not_before > inner.clock.now()) {
            return Ok(Outcome::Retry(Duration::from_millis(20)));
        }
        let attempt = attempt.max(u32::try_from(owed.attempt).unwrap_or_default() + 1);
        if attempt > inner.settings.max_attempts {
            // Attempts that ended with their process count too: nobody was there to record that they failed.
            return self.fail(job, None, FailureReason::AttemptsExhausted, "").await;
        }
        let rows = self.messages(job).await?;
        if rows.iter().all(|row| row.message_id != job.message) {
            // The model has not seen the question yet (it lags, or is stopped): nothing to record, later it may have.
            return Ok(Outcome::Retry(Duration::from_secs(1)));
        }
        let Some(context) = context::build(&inner.settings, job.message, &rows) else {
            return self.fail(job, None, FailureReason::Empty, "").await;
        };
        let prompt = self.prompt(job, attempt, &context);
        // Followed before it begins, so that a cancel in between is seen.
        let mut live = inner.hub.follow(job.reply);
        self.run(
            job,
            ConversationCommand::BeginReply {
                reply_id: job.reply,
                attempt,
                plan: self.plan(&prompt, &context),
                at: inner.clock.now(),
            },
        )
        .await?;
        inner.hub.begin(job.reply, attempt);

        let started = Instant::now();
        let mut progressed = Progressed::default();
        let talk = self.speak(job, attempt, prompt, started, &mut progressed);
        let spoken = tokio::select! {
            spoken = talk => spoken,
            _ = live.wait_for(|live| live.ended.is_some() || live.attempt > attempt) => Spoken::Superseded,
            () = stop.cancelled() => Spoken::Stopped,
        };
        match spoken {
            Spoken::Superseded => Ok(Outcome::Done),
            Spoken::Stopped => Ok(Outcome::Retry(Duration::ZERO)),
            Spoken::Completed(completion) => {
                self.complete(job, attempt, completion, started, progressed, stop).await
            }
            Spoken::Failed(error) => self.failed(job, attempt, error, &progressed.text, stop).await,
        }
    }

    /// Position of the conversation's last event. The model of what is owed may be ahead of the one of the messages: it
    /// is this reply's turn because the one before has ended, and that one's answer belongs into the context.
    async fn stands(&self, job: &Job) -> Result<i64, ExecuteError> {
        sqlx::query_scalar(
            "SELECT position FROM events WHERE aggregate_type = $1 AND aggregate_id = $2 ORDER BY sequence DESC LIMIT 1",
        )
        .bind(Conversation::TYPE)
        .bind(job.conversation.to_string())
        .fetch_one(&self.inner.pool)
        .await
        .map_err(|error| ExecuteError::Unavailable(error.into()))
    }

    async fn messages(&self, job: &Job) -> Result<Vec<MessageRow>, ExecuteError> {
        let inner = &self.inner;
        let rows = context::rows_needed(&inner.settings);
        messages::query::before(&inner.pool, job.conversation, i64::MAX, rows)
            .await
            .map_err(|error| ExecuteError::Unavailable(error.into()))
    }

    fn prompt(&self, job: &Job, attempt: u32, context: &Context) -> Prompt {
        let settings = &self.inner.settings;
        Prompt {
            model: job.model.clone(),
            system: context.system.clone(),
            turns: context.turns.clone(),
            parameters: Parameters {
                max_output_tokens: settings.max_output_tokens,
                temperature: settings.temperature,
            },
            attempt,
            reply: job.reply.uuid(),
        }
    }

    fn plan(&self, prompt: &Prompt, context: &Context) -> ReplyPlan {
        let inner = &self.inner;
        ReplyPlan {
            worker: inner.worker.clone(),
            provider: inner.provider.name().to_owned(),
            model: prompt.model.clone().unwrap_or_else(|| inner.provider.model().to_owned()),
            parameters: inner.provider.parameters(prompt).into(),
            prompt_versions: vec![PROMPT_VERSION.to_owned()],
            input_message_ids: context.inputs.clone(),
            file_hashes: Vec::new(),
        }
    }

    fn margin(&self) -> Duration {
        MARGIN.min(self.inner.settings.deadline / 4)
    }

    async fn speak(
        &self,
        job: &Job,
        attempt: u32,
        prompt: Prompt,
        started: Instant,
        progressed: &mut Progressed,
    ) -> Spoken {
        let left = (job.deadline - self.inner.clock.now())
            .to_std()
            .unwrap_or_default()
            .saturating_sub(self.margin());
        let talk = async {
            let mut pieces = self.inner.provider.stream(prompt);
            while let Some(piece) = pieces.next().await {
                match piece {
                    Ok(Piece::Text(text)) => {
                        progressed.first_token.get_or_insert_with(|| started.elapsed());
                        self.inner.hub.push(job.reply, attempt, &text);
                        progressed.text.push_str(&text);
                    }
                    Ok(Piece::End(completion)) => return Spoken::Completed(completion),
                    Err(error) => return Spoken::Failed(error),
                }
            }
            Spoken::Failed(ProviderError::Cut)
        };
        match tokio::time::timeout(left, talk).await {
            Ok(spoken) => spoken,
            Err(_) => Spoken::Failed(ProviderError::Timeout(crate::ai::TimeoutKind::Total)),
        }
    }

    async fn complete(
        &self,
        job: &Job,
        attempt: u32,
        completion: Completion,
        started: Instant,
        progressed: Progressed,
        stop: &CancellationToken,
    ) -> Result<Outcome, ExecuteError> {
        let text = match ReplyText::parse(&progressed.text) {
            Ok(text) if !progressed.text.is_empty() => text,
            _ => return self.retry_or_fail(job, attempt, FailureReason::Empty, None, "", stop).await,
        };
        let milliseconds = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let usage = completion.usage.map_or_else(Usage::default, |usage| Usage {
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens,
        });
        let command = ConversationCommand::RecordReply {
            reply_id: job.reply,
            attempt,
            text: Personal::Known(text),
            finish: match completion.finish {
                Finish::Stop => FinishReason::Stop,
                Finish::Length => FinishReason::Length,
                Finish::ContentFilter => FinishReason::ContentFilter,
            },
            usage,
            timings: Timings {
                first_token_ms: progressed.first_token.map(milliseconds),
                total_ms: milliseconds(started.elapsed()),
            },
            model: label(&completion.model),
            provider_reply_id: completion.provider_reply_id.as_deref().map(label),
            at: self.inner.clock.now(),
        };
        self.record(job, command, stop).await?;
        Ok(Outcome::Done)
    }

    async fn failed(
        &self,
        job: &Job,
        attempt: u32,
        error: ProviderError,
        text: &str,
        stop: &CancellationToken,
    ) -> Result<Outcome, ExecuteError> {
        tracing::info!(reply.id = %job.reply, attempt, code = error.code(), "provider failed");
        let reason = reason(&error);
        if error.is_retryable() {
            self.retry_or_fail(job, attempt, reason, error.retry_after(), text, stop).await
        } else {
            self.fail(job, Some(attempt), reason, text).await
        }
    }

    /// Puts the reply off, or ends it when this was the last attempt or no time is left.
    async fn retry_or_fail(
        &self,
        job: &Job,
        attempt: u32,
        reason: FailureReason,
        asked: Option<Duration>,
        text: &str,
        stop: &CancellationToken,
    ) -> Result<Outcome, ExecuteError> {
        let now = self.inner.clock.now();
        let backoff = Duration::from_millis(500) * 2_u32.saturating_pow(attempt.min(6));
        let pause = asked.unwrap_or(backoff).min(MAX_PAUSE);
        let next = now + pause;
        if attempt >= self.inner.settings.max_attempts || next + self.margin() >= job.deadline {
            return self.fail(job, Some(attempt), reason, text).await;
        }
        let command = ConversationCommand::RetryReply {
            reply_id: job.reply,
            attempt,
            reason,
            not_before: next,
            at: now,
        };
        self.record(job, command, stop).await?;
        Ok(Outcome::Retry(pause))
    }

    /// Ends the reply as failed, keeping what had come.
    async fn fail(
        &self,
        job: &Job,
        attempt: Option<u32>,
        reason: FailureReason,
        text: &str,
    ) -> Result<Outcome, ExecuteError> {
        let text = (!text.is_empty()).then(|| ReplyText::parse(text).ok()).flatten().map(Personal::Known);
        let command = ConversationCommand::FailReply {
            reply_id: job.reply,
            attempt,
            reason,
            text,
            at: self.inner.clock.now(),
        };
        self.run(job, command).await?;
        Ok(Outcome::Dead(reason))
    }

    /// Records what must not be lost: while the log is not available it is tried again, until the deadline.
    async fn record(
        &self,
        job: &Job,
        command: ConversationCommand,
        stop: &CancellationToken,
    ) -> Result<(), ExecuteError> {
        loop {
            match self.run(job, command.clone()).await {
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

    async fn run(&self, job: &Job, command: ConversationCommand) -> Result<(), ExecuteError> {
        let metadata = Metadata {
            actor: None,
            surface: "worker".to_owned(),
            request_id: None,
            correlation_id: Some(job.message.to_string()),
            causation_id: Some(job.reply.to_string()),
            occurred_at: Some(self.inner.clock.now()),
            app_version: crate::VERSION.to_owned(),
        };
        let intent = Intent::new(job.owner, metadata).then::<Conversation>(job.conversation, command);
        self.inner.executor.run(intent).await.map(drop)
    }
}

/// A provider's name for something, as it may stand in events and read models: no control characters, not endless.
fn label(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(200).collect()
}

/// The failure as it stands in events.
fn reason(error: &ProviderError) -> FailureReason {
    match error {
        ProviderError::RateLimited { .. } => FailureReason::RateLimited,
        ProviderError::Unavailable { .. } | ProviderError::Cut => FailureReason::ProviderUnavailable,
        ProviderError::Timeout(_) => FailureReason::Timeout,
        ProviderError::KeyMissing => FailureReason::KeyMissing,
        ProviderError::KeyInvalid => FailureReason::KeyInvalid,
        ProviderError::QuotaExceeded => FailureReason::QuotaExceeded,
        ProviderError::ModelUnknown => FailureReason::ModelUnknown,
        ProviderError::BadRequest | ProviderError::BadResponse => FailureReason::BadResponse,
        ProviderError::TooLong => FailureReason::TooLong,
    }
}
