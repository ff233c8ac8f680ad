//! Makes one attempt at one reply: from the job to the recorded result.
//!
//! After a crash the provider may be called again, but no result is recorded twice: every record names its attempt, and the
//! conversation rejects all but the current one.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aggregates::Rejection;
use aggregates::conversation::{Conversation, ConversationCommand, ConversationError, FailureReason};
use aggregates::ids::ReplyId;
use chrono::{DateTime, Utc};
use cqrs_es::Aggregate as _;
use event_store::{ExecuteError, Executor, FastPool, error_chain};
use futures::StreamExt as _;
use projections::pending_replies;
use projections::progress::ProjectionProgress;
use projections::query::{self, StreamProgress};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::attempt_spans;
use super::context::tokens::Counter;
use super::context::{Context, ContextError, ContextInputs, Policy};
use super::context_loader::{ContextLoader, MemoryBudget};
use super::provider_choice::Attempt;
use super::record::offered;
use super::retry::{PastAttempt, Requeue};
use super::settings::ReplySettings;
use crate::ai::{
    Chain, Completion, Parameters, Prompt, ProviderError, Purpose, SelectedProvider, StreamEvent, Tool,
    ToolCall,
};
use crate::clock::Clock;
use crate::files::{ContentsError, FileStore, StoreError};
use crate::live::LiveReplies;
use crate::tools::Tools;
use traces::spans;

/// The read models that an attempt reads.
const READ_MODELS: &[&str] = &["messages", "pending_replies"];
/// Longest wait for these read models to catch up with the conversation.
pub(super) const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(2);
/// Time before the deadline that is reserved for recording the result; at most a quarter of the deadline.
const RECORDING_MARGIN: Duration = Duration::from_secs(5);

/// A pending reply that this process works on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Id of the reply.
    pub reply: ReplyId,
    /// Id of the conversation.
    pub conversation: Uuid,
    /// Id of the user who asked.
    pub owner: Uuid,
    /// Id of the message that asked for the reply, or of the item that was answered.
    pub message: Uuid,
    /// Model named in the request.
    pub model: Option<String>,
    /// Time by which the reply must have ended.
    pub deadline: DateTime<Utc>,
    /// Number of attempts begun so far.
    pub attempts: u32,
    /// True when the client can run tools, answer questions and show widgets.
    pub interactive: bool,
}

/// What the queue does with a job after an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobOutcome {
    /// Acknowledge it: the reply has ended, or another worker has it.
    Done,
    /// Offer it again after [`Requeue::delay`].
    Requeue(Requeue),
    /// Acknowledge it: the reply ended with a recorded failure.
    Failed(FailureReason),
}

impl JobOutcome {
    /// Returns the value of the label `outcome` in metrics and traces.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Requeue(_) => "retry",
            Self::Failed(_) => "failed",
        }
    }
}

/// Makes attempts at replies. Cheap to clone.
#[derive(Clone)]
pub struct ReplyHandler {
    pub(super) inner: Arc<WorkerParts>,
    memory: MemoryBudget,
}

/// Dependencies of the [`ReplyHandler`].
pub struct WorkerParts {
    /// Pool for reading the read models.
    pub pool: FastPool,
    /// Executor that records the results.
    pub executor: Executor,
    /// Positions of the read models.
    pub progress: ProjectionProgress,
    /// Receives the text while it streams.
    pub live_replies: LiveReplies,
    /// The configured AI providers.
    pub chain: Arc<Chain>,
    /// Limits and texts.
    pub settings: ReplySettings,
    /// Time and ids.
    pub clock: Clock,
    /// Name of this worker in the provenance.
    pub worker: String,
    /// Tools that models can call.
    pub tools: Tools,
    /// Store of the attachments' bytes.
    pub files: FileStore,
    /// Tracker of background tasks, such as titles.
    pub tasks: TaskTracker,
}

/// What has arrived of a reply so far.
#[derive(Default)]
pub(super) struct PartialReply {
    pub(super) text: String,
    pub(super) first_token: Option<Duration>,
    pub(super) calls: Vec<ToolCall>,
}

/// How the call of a provider ended.
pub(super) enum ProviderOutcome {
    Completed(Completion),
    Failed(ProviderError),
    /// The reply ended in another way, or another attempt began.
    Superseded,
    /// The process shuts down.
    Stopped,
}

impl ReplyHandler {
    /// Creates a handler with these dependencies.
    pub fn new(parts: WorkerParts) -> Self {
        let memory = MemoryBudget::new(parts.settings.files_bytes_at_once);
        Self { inner: Arc::new(parts), memory }
    }

    /// Returns the settings.
    pub fn settings(&self) -> &ReplySettings {
        &self.inner.settings
    }

    /// Makes one attempt. Cancelling `stop` ends it early without a record, so that another worker takes the job over.
    pub async fn handle(&self, job: Job, stop: CancellationToken) -> JobOutcome {
        let attempt = job.attempts + 1;
        let result = self.attempt(&job, attempt, &stop).await;
        let outcome = match result {
            Ok(outcome) => outcome,
            Err(ExecuteError::Rejected(rejection)) => self.rejected(&job, &rejection),
            Err(error) => {
                tracing::warn!(reply.id = %job.reply, %error, cause = error_chain(&error), "attempt failed to reach the event store");
                JobOutcome::Requeue(Requeue::StoreUnavailable)
            }
        };
        metrics::counter!("verbatim_reply_attempts_total", "outcome" => outcome.name()).increment(1);
        outcome
    }

    /// Handles a rejected command: the reply has ended, or another worker has it.
    fn rejected(&self, job: &Job, rejection: &Rejection) -> JobOutcome {
        match rejection {
            Rejection::Conversation(
                ConversationError::NotYourTurn | ConversationError::StaleAttempt { .. },
            ) => {
                tracing::debug!(reply.id = %job.reply, %rejection, "attempt rejected");
                JobOutcome::Requeue(Requeue::Rejected)
            }
            Rejection::Conversation(_)
            | Rejection::User(_)
            | Rejection::Claim(_)
            | Rejection::Quiz(_)
            | Rejection::File(_) => {
                // The reply has ended; the read model shows that in a moment.
                tracing::debug!(reply.id = %job.reply, %rejection, "reply already ended");
                JobOutcome::Requeue(Requeue::Rejected)
            }
        }
    }

    async fn attempt(
        &self,
        job: &Job,
        attempt: u32,
        stop: &CancellationToken,
    ) -> Result<JobOutcome, ExecuteError> {
        let inner = &self.inner;
        let began = traces::start_time();
        let StreamProgress { stream, models } = self.stream_progress(job).await?;
        if models < stream && !inner.progress.wait(READ_MODELS, stream, CATCH_UP_TIMEOUT).await {
            return Ok(JobOutcome::Requeue(Requeue::ReadModelsLag));
        }
        // The queue's row may be older than the read model.
        let owed = pending_replies::query::by_id(&inner.pool, job.reply.uuid());
        let (owed, inputs) = tokio::join!(owed, self.inputs(job));
        let Some(owed) = owed.map_err(|error| ExecuteError::Unavailable(error.into()))? else {
            return Ok(JobOutcome::Done);
        };
        if owed.not_before.is_some_and(|not_before| not_before > inner.clock.now()) {
            return Ok(JobOutcome::Requeue(Requeue::BackoffNotOver));
        }
        let Some(inputs) = inputs? else { return Ok(JobOutcome::Requeue(Requeue::FilesUnavailable)) };
        let number = attempt.max(u32::try_from(owed.attempt).unwrap_or_default() + 1);
        let past = self.past_attempts(job, number, stream).await?;
        let span = self.span(job, &owed, number, began).await;
        let outcome = span.run(self.make(job, number, past, inputs, began, stop)).await;
        self.attempted(&span, &owed, &outcome);
        outcome
    }

    /// Makes an attempt that belongs to this process.
    async fn make(
        &self,
        job: &Job,
        number: u32,
        past: Vec<PastAttempt>,
        inputs: ContextInputs,
        began: Option<SystemTime>,
        stop: &CancellationToken,
    ) -> Result<JobOutcome, ExecuteError> {
        let inner = &self.inner;
        let choice = match self.choose(job, number, &past) {
            Ok(choice) => choice,
            // No provider is left to try. Attempts whose process died count too, although nothing recorded their failure.
            Err(reason) => return self.fail(job, None, reason, "").await,
        };
        if inputs.rows.iter().all(|row| row.id != job.message) {
            // The projection lags or is stopped, and does not show the question yet.
            return Ok(JobOutcome::Requeue(Requeue::ReadModelsLag));
        }
        let building = spans::context(began);
        let tools = if job.interactive { inner.tools.definitions() } else { Vec::new() };
        let model = choice.model();
        let policy = Policy::new(&inner.settings, Counter::load(model).await, model, &tools)
            .within(choice.context_window());
        let mut context = match policy.build(job.message, &inputs) {
            Ok(context) => context,
            Err(ContextError::Nothing) => return self.fail(job, None, FailureReason::Empty, "").await,
            Err(ContextError::TooLong(report)) => return self.too_long(job, number, &choice, &report).await,
        };
        if number == 1 {
            self.title(job, &context);
        }
        if let Some(answer) = self.direct_answer(job, &inputs.rows) {
            return self.answer_directly(job, number, answer, &context, stop).await;
        }
        drop(inputs);
        let _reserved = tokio::select! {
            reserved = self.memory.reserve(context.unread.iter().map(|unread| unread.file.size).sum()) => reserved,
            () = stop.cancelled() => return Ok(JobOutcome::Requeue(Requeue::ShuttingDown)),
        };
        if let Err(error) = self.loader().fill(&mut context).await {
            unreadable(job, &error);
            return Ok(JobOutcome::Requeue(Requeue::FilesUnavailable));
        }
        building.record_prompt(context.turns.len(), context.file_hashes.len());
        drop(building);
        // From here on this provider is called, unless its circuit is open and another reply has the probe.
        let admitted = choice.admits();
        let prompt = choice.prompt(self.prompt(job, number, &mut context, tools));
        let plan = self.plan(job, &choice, &prompt, &context, admitted);
        let attempt = Attempt { number, provider: plan.provider.clone(), key: choice.key(), past };
        // Subscribed before the attempt begins, so that no cancellation in between is missed.
        let mut live = inner.live_replies.follow(job.reply);
        let at = inner.clock.now();
        let begin = ConversationCommand::BeginReply { reply_id: job.reply, attempt: number, plan, at };
        self.run(job, begin).await?;
        inner.live_replies.begin(job.reply, number);
        if !admitted {
            return self.failed(job, &attempt, ProviderError::unavailable(None), "", stop).await;
        }
        event_store::crash_point!("begun");

        let started = Instant::now();
        let mut partial = PartialReply::default();
        let call = self.call(job, &choice, &prompt);
        let talk = call.run(self.stream_from_provider(job, number, &choice, prompt, started, &mut partial));
        let outcome = tokio::select! {
            outcome = talk => outcome,
            _ = live.wait_for(|live| live.ended.is_some() || live.attempt > number) => ProviderOutcome::Superseded,
            () = stop.cancelled() => ProviderOutcome::Stopped,
        };
        event_store::crash_point!("streamed");
        attempt_spans::record_outcome(&call, &outcome, partial.first_token);
        drop(call);
        let record = spans::record();
        match outcome {
            ProviderOutcome::Superseded => Ok(JobOutcome::Done),
            ProviderOutcome::Stopped => Ok(JobOutcome::Requeue(Requeue::ShuttingDown)),
            ProviderOutcome::Completed(completion) => {
                partial.calls = offered(job, partial.calls);
                record.run(self.complete(job, &attempt, completion, started, partial, stop)).await
            }
            ProviderOutcome::Failed(error) => {
                record.run(self.failed(job, &attempt, error, &partial.text, stop)).await
            }
        }
    }

    /// Returns the positions of the conversation and of the read models. `pending_replies` may be ahead of `messages`: this
    /// reply is due because the one before has ended, and that one's answer belongs into the context.
    async fn stream_progress(&self, job: &Job) -> Result<StreamProgress, ExecuteError> {
        query::stream_progress(
            &self.inner.pool,
            Conversation::TYPE,
            &job.conversation.to_string(),
            READ_MODELS,
        )
        .await
        .map_err(|error| ExecuteError::Unavailable(error.into()))
    }

    fn loader(&self) -> ContextLoader<'_> {
        ContextLoader { pool: &self.inner.pool, files: &self.inner.files, settings: &self.inner.settings }
    }

    /// Loads the context's inputs; `None` when the file store is unavailable.
    async fn inputs(&self, job: &Job) -> Result<Option<ContextInputs>, ExecuteError> {
        match self.loader().load(job.conversation, job.owner, job.message).await {
            Ok(inputs) => Ok(Some(inputs)),
            Err(ContentsError::Database(error)) => Err(ExecuteError::Unavailable(error.into())),
            Err(ContentsError::Store(error)) => {
                unreadable(job, &error);
                Ok(None)
            }
        }
    }

    /// Builds the prompt; it takes the turns out of the context.
    fn prompt(&self, job: &Job, attempt: u32, context: &mut Context, tools: Vec<Tool>) -> Prompt {
        let settings = &self.inner.settings;
        let chosen = context.tool_choice.take().filter(|name| tools.iter().any(|tool| tool.name == *name));
        Prompt {
            model: job.model.clone(),
            system: std::mem::take(&mut context.system),
            turns: std::mem::take(&mut context.turns),
            parameters: Parameters {
                max_output_tokens: settings.max_output_tokens,
                temperature: settings.temperature,
            },
            tools,
            tool_choice: chosen,
            purpose: Purpose::Reply,
            attempt,
            reply: job.reply.uuid(),
        }
    }

    pub(super) fn recording_margin(&self) -> Duration {
        RECORDING_MARGIN.min(self.inner.settings.deadline / 4)
    }

    async fn stream_from_provider(
        &self,
        job: &Job,
        attempt: u32,
        choice: &SelectedProvider,
        prompt: Prompt,
        started: Instant,
        partial: &mut PartialReply,
    ) -> ProviderOutcome {
        let left = (job.deadline - self.inner.clock.now())
            .to_std()
            .unwrap_or_default()
            .saturating_sub(self.recording_margin());
        let talk = async {
            let mut pieces = choice.stream(prompt);
            while let Some(piece) = pieces.next().await {
                match piece {
                    Ok(StreamEvent::Text(text)) => {
                        partial.first_token.get_or_insert_with(|| started.elapsed());
                        self.inner.live_replies.push(job.reply, attempt, &text);
                        event_store::crash_point!("first-delta");
                        partial.text.push_str(&text);
                    }
                    Ok(StreamEvent::Call(call)) => partial.calls.push(call),
                    Ok(StreamEvent::End(completion)) => return ProviderOutcome::Completed(completion),
                    Err(error) => return ProviderOutcome::Failed(error),
                }
            }
            ProviderOutcome::Failed(ProviderError::Cut)
        };
        match tokio::time::timeout(left, talk).await {
            Ok(outcome) => outcome,
            Err(_) => ProviderOutcome::Failed(ProviderError::Timeout(crate::ai::TimeoutKind::Total)),
        }
    }
}

fn unreadable(job: &Job, error: &StoreError) {
    tracing::warn!(reply.id = %job.reply, %error, cause = error_chain(error), "failed to read attachments");
}
