//! One attempt at one reply, from what is owed to what is recorded.
//!
//! The provider may be called again after a crash; what is recorded may not: every record names its attempt, and the
//! conversation refuses all but the current one.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aggregates::Refusal;
use aggregates::conversation::{Conversation, ConversationCommand, ConversationError, FailureReason};
use aggregates::ids::ReplyId;
use chrono::{DateTime, Utc};
use cqrs_es::Aggregate as _;
use event_store::error_chain::cause;
use event_store::fast_pool::WarmPool;
use futures::StreamExt as _;
use projections::pending_replies;
use projections::progress::Progress;
use projections::query::{self, Standing};
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
use super::tools;
use crate::ai::{
    Chain, Choice, Completion, Parameters, Piece, Prompt, ProviderError, Purpose, Tool, ToolCall,
};
use crate::clock::Clock;
use crate::files::{ContentsError, FileStore, StoreError};
use crate::live::Hub;
use crate::quizzes::Quizzes;
use event_store::{ExecuteError, Executor};
use traces::spans;

/// The read models that an attempt is made from.
const MODELS: &[&str] = &["messages", "pending_replies"];
/// How long an attempt waits for the messages it has to read.
pub(super) const CATCH_UP: Duration = Duration::from_secs(2);
/// What is kept of the time until the deadline for recording the end; a quarter of the time where that is less.
const MARGIN: Duration = Duration::from_secs(5);

/// A reply that this process is to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The reply.
    pub reply: ReplyId,
    /// The conversation.
    pub conversation: Uuid,
    /// Who asked.
    pub owner: Uuid,
    /// The message that asked, or the item that was answered.
    pub message: Uuid,
    /// The model wished for.
    pub model: Option<String>,
    /// Until when the reply must have ended.
    pub deadline: DateTime<Utc>,
    /// Attempts begun so far.
    pub attempts: u32,
    /// Whether the asker can be asked back.
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

/// Makes replies. Cheap to clone.
#[derive(Clone)]
pub struct ReplyHandler {
    pub(super) inner: Arc<WorkerParts>,
    room: MemoryBudget,
}

/// What replies are made with.
pub struct WorkerParts {
    /// Reads read models.
    pub pool: WarmPool,
    /// Records.
    pub executor: Executor,
    /// How far the read models are.
    pub progress: Progress,
    /// Is told what is written.
    pub hub: Hub,
    /// Are asked.
    pub chain: Arc<Chain>,
    /// What can be set.
    pub settings: ReplySettings,
    /// Time and ids.
    pub clock: Clock,
    /// Name of this worker in the provenance.
    pub worker: String,
    /// Begins quizzes.
    pub quizzes: Quizzes,
    /// Gives what is in files.
    pub files: FileStore,
    /// What is done beside replies runs here.
    pub tasks: TaskTracker,
}

/// How far an attempt has got with the provider.
#[derive(Default)]
pub(super) struct PartialReply {
    pub(super) text: String,
    pub(super) first_token: Option<Duration>,
    pub(super) calls: Vec<ToolCall>,
}

/// How an attempt's talk with the provider ended.
pub(super) enum ProviderOutcome {
    Completed(Completion),
    Failed(ProviderError),
    /// The reply ended otherwise, or another attempt began.
    Superseded,
    /// The process goes down.
    Stopped,
}

impl ReplyHandler {
    /// A handler that works with these parts.
    pub fn new(parts: WorkerParts) -> Self {
        let room = MemoryBudget::new(parts.settings.files_bytes_at_once);
        Self { inner: Arc::new(parts), room }
    }

    /// The settings it works with.
    pub fn settings(&self) -> &ReplySettings {
        &self.inner.settings
    }

    /// Makes one attempt. `stop` ends it early without an end being recorded: somebody else takes it up.
    pub async fn handle(&self, job: Job, stop: CancellationToken) -> JobOutcome {
        let attempt = job.attempts + 1;
        let result = self.attempt(&job, attempt, &stop).await;
        let outcome = match result {
            Ok(outcome) => outcome,
            Err(ExecuteError::Refused(refusal)) => self.refused(&job, &refusal),
            Err(error) => {
                tracing::warn!(reply.id = %job.reply, %error, cause = cause(&error), "attempt broken off");
                JobOutcome::Requeue(Requeue::StoreUnavailable)
            }
        };
        metrics::counter!("verbatim_reply_attempts_total", "outcome" => outcome.name()).increment(1);
        outcome
    }

    /// A refusal tells that the job is not ours (any more), or that our view of it was old.
    fn refused(&self, job: &Job, refusal: &Refusal) -> JobOutcome {
        match refusal {
            Refusal::Conversation(
                ConversationError::NotYourTurn | ConversationError::StaleAttempt { .. },
            ) => {
                tracing::debug!(reply.id = %job.reply, %refusal, "attempt refused");
                JobOutcome::Requeue(Requeue::Rejected)
            }
            Refusal::Conversation(_)
            | Refusal::User(_)
            | Refusal::Claim(_)
            | Refusal::Quiz(_)
            | Refusal::File(_) => {
                // It has ended. The model of what is owed does not show it yet; when it does, this is done.
                tracing::debug!(reply.id = %job.reply, %refusal, "nothing left to do");
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
        let began = traces::now();
        let Standing { stream, models } = self.standing(job).await?;
        if models < stream && !inner.progress.wait(MODELS, stream, CATCH_UP).await {
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
        let outcome = span.around(self.make(job, number, past, inputs, began, stop)).await;
        self.attempted(&span, &owed, &outcome);
        outcome
    }

    /// An attempt that is this process' to make.
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
            // Nobody is left who could do better. Attempts that ended with their process count too: nobody was there to
            // record that they failed.
            Err(reason) => return self.fail(job, None, reason, "").await,
        };
        if inputs.rows.iter().all(|row| row.id != job.message) {
            // The projection lags or is stopped, and does not show the question yet.
            return Ok(JobOutcome::Requeue(Requeue::ReadModelsLag));
        }
        let building = spans::context(began);
        let tools = if job.interactive { tools::available_tools(&inner.settings) } else { Vec::new() };
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
        if let Some(asked) = self.wanted_quiz(job, &inputs.rows) {
            return self.answer_with_quiz(job, number, asked, &context, stop).await;
        }
        drop(inputs);
        let _room = tokio::select! {
            room = self.room.take(context.unread.iter().map(|unread| unread.file.size).sum()) => room,
            () = stop.cancelled() => return Ok(JobOutcome::Requeue(Requeue::ShuttingDown)),
        };
        if let Err(error) = self.loader().fill(&mut context).await {
            unreadable(job, &error);
            return Ok(JobOutcome::Requeue(Requeue::FilesUnavailable));
        }
        building.built(context.turns.len(), context.file_hashes.len());
        drop(building);
        // From here on it is sure that this one is asked, unless its circuit is open and another has the probe.
        let admitted = choice.admits();
        let prompt = choice.prompt(self.prompt(job, number, &mut context, tools));
        let plan = self.plan(job, &choice, &prompt, &context, admitted);
        let attempt = Attempt { number, provider: plan.provider.clone(), key: choice.key(), past };
        // Followed before it begins, so that a cancel in between is seen.
        let mut live = inner.hub.follow(job.reply);
        let at = inner.clock.now();
        let begin = ConversationCommand::BeginReply { reply_id: job.reply, attempt: number, plan, at };
        self.run(job, begin).await?;
        inner.hub.begin(job.reply, number);
        if !admitted {
            return self.failed(job, &attempt, ProviderError::unavailable(None), "", stop).await;
        }
        event_store::crash_point!("begun");

        let started = Instant::now();
        let mut partial = PartialReply::default();
        let call = self.call(job, &choice, &prompt);
        let talk =
            call.around(self.stream_from_provider(job, number, &choice, prompt, started, &mut partial));
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
                record.around(self.complete(job, &attempt, completion, started, partial, stop)).await
            }
            ProviderOutcome::Failed(error) => {
                record.around(self.failed(job, &attempt, error, &partial.text, stop)).await
            }
        }
    }

    /// How far the conversation is, and the models that an attempt is made from. The model of what is owed may be ahead of
    /// the one of the messages: it is this reply's turn because the one before has ended, and that one's answer belongs into
    /// the context.
    async fn standing(&self, job: &Job) -> Result<Standing, ExecuteError> {
        query::standing(&self.inner.pool, Conversation::TYPE, &job.conversation.to_string(), MODELS)
            .await
            .map_err(|error| ExecuteError::Unavailable(error.into()))
    }

    fn loader(&self) -> ContextLoader<'_> {
        ContextLoader { pool: &self.inner.pool, files: &self.inner.files, settings: &self.inner.settings }
    }

    /// What the context is made from; none when the file store does not give it.
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

    /// The prompt, which takes its turns from the context.
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

    pub(super) fn margin(&self) -> Duration {
        MARGIN.min(self.inner.settings.deadline / 4)
    }

    async fn stream_from_provider(
        &self,
        job: &Job,
        attempt: u32,
        choice: &Choice,
        prompt: Prompt,
        started: Instant,
        partial: &mut PartialReply,
    ) -> ProviderOutcome {
        let left = (job.deadline - self.inner.clock.now())
            .to_std()
            .unwrap_or_default()
            .saturating_sub(self.margin());
        let talk = async {
            let mut pieces = choice.stream(prompt);
            while let Some(piece) = pieces.next().await {
                match piece {
                    Ok(Piece::Text(text)) => {
                        partial.first_token.get_or_insert_with(|| started.elapsed());
                        self.inner.hub.push(job.reply, attempt, &text);
                        event_store::crash_point!("first-delta");
                        partial.text.push_str(&text);
                    }
                    Ok(Piece::Call(call)) => partial.calls.push(call),
                    Ok(Piece::End(completion)) => return ProviderOutcome::Completed(completion),
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
    tracing::warn!(reply.id = %job.reply, %error, cause = cause(error), "the files of a message cannot be read");
}
