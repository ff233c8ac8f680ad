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
use event_store::{ExecuteError, Executor, FastPool, error_chain};
use futures::StreamExt as _;
use projections::pending_replies;
use projections::progress::Progress;
use projections::query::{self, Standing};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::attempt::Attempt;
use super::context::tokens::Counter;
use super::context::{Context, Material, Policy, Unsendable};
use super::material::{Room, Sources};
use super::policy::Tried;
use super::record::offered;
use super::settings::ReplySettings;
use super::tools;
use super::traced;
use crate::ai::{
    Chain, Choice, Completion, Parameters, Piece, Prompt, ProviderError, Purpose, Tool, ToolCall,
};
use crate::clock::Clock;
use crate::files::{ContentsError, FileStore, StoreError};
use crate::live::Hub;
use crate::quizzes::Quizzes;
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

impl Outcome {
    /// In one word, for metrics and traces.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Retry(_) => "retry",
            Self::Dead(_) => "dead",
        }
    }
}

/// Makes replies. Cheap to clone.
#[derive(Clone)]
pub struct ReplyHandler {
    pub(super) inner: Arc<WorkerParts>,
    room: Room,
}

/// What replies are made with.
pub struct WorkerParts {
    /// Reads read models.
    pub pool: FastPool,
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
pub(super) struct Progressed {
    pub(super) text: String,
    pub(super) first_token: Option<Duration>,
    pub(super) calls: Vec<ToolCall>,
}

/// How an attempt's talk with the provider ended.
pub(super) enum Spoken {
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
        let room = Room::new(parts.settings.files_bytes_at_once);
        Self { inner: Arc::new(parts), room }
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
            Err(ExecuteError::Rejected(refusal)) => self.refused(&job, &refusal),
            Err(error) => {
                tracing::warn!(reply.id = %job.reply, %error, cause = error_chain(&error), "attempt broken off");
                Outcome::Retry(Duration::from_secs(1))
            }
        };
        metrics::counter!("verbatim_reply_attempts_total", "outcome" => outcome.name()).increment(1);
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
            Refusal::Conversation(_)
            | Refusal::User(_)
            | Refusal::Claim(_)
            | Refusal::Quiz(_)
            | Refusal::File(_) => {
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
        let began = traces::now();
        let Standing { stream, models } = self.standing(job).await?;
        if models < stream && !inner.progress.wait(MODELS, stream, CATCH_UP).await {
            return Ok(Outcome::Retry(Duration::from_secs(1)));
        }
        // What was offered may be older than what is owed now.
        let owed = pending_replies::query::by_id(&inner.pool, job.reply.uuid());
        let (owed, material) = tokio::join!(owed, self.material(job));
        let Some(owed) = owed.map_err(|error| ExecuteError::Unavailable(error.into()))? else {
            return Ok(Outcome::Done);
        };
        if owed.not_before.is_some_and(|not_before| not_before > inner.clock.now()) {
            return Ok(Outcome::Retry(Duration::from_millis(20)));
        }
        let Some(material) = material? else { return Ok(Outcome::Retry(Duration::from_secs(1))) };
        let number = attempt.max(u32::try_from(owed.attempt).unwrap_or_default() + 1);
        let tried = self.tried(job, number, stream).await?;
        let span = self.span(job, &owed, number, began).await;
        let outcome = span.around(self.make(job, number, tried, material, began, stop)).await;
        self.attempted(&span, &owed, &outcome);
        outcome
    }

    /// An attempt that is this process' to make.
    async fn make(
        &self,
        job: &Job,
        number: u32,
        tried: Vec<Tried>,
        material: Material,
        began: Option<SystemTime>,
        stop: &CancellationToken,
    ) -> Result<Outcome, ExecuteError> {
        let inner = &self.inner;
        let choice = match self.choose(job, number, &tried) {
            Ok(choice) => choice,
            // Nobody is left who could do better. Attempts that ended with their process count too: nobody was there to
            // record that they failed.
            Err(reason) => return self.fail(job, None, reason, "").await,
        };
        if material.rows.iter().all(|row| row.id != job.message) {
            // The model has not seen the question yet (it lags, or is stopped): nothing to record, later it may have.
            return Ok(Outcome::Retry(Duration::from_secs(1)));
        }
        let building = spans::context(began);
        let tools = if job.interactive { tools::offered(&inner.settings) } else { Vec::new() };
        let model = choice.model();
        let policy = Policy::new(&inner.settings, Counter::load(model).await, model, &tools)
            .within(choice.context_window());
        let mut context = match policy.build(job.message, &material) {
            Ok(context) => context,
            Err(Unsendable::Nothing) => return self.fail(job, None, FailureReason::Empty, "").await,
            Err(Unsendable::TooLong(report)) => return self.too_long(job, number, &choice, &report).await,
        };
        if number == 1 {
            self.title(job, &context);
        }
        if let Some(asked) = self.wanted_quiz(job, &material.rows) {
            return self.answer_with_quiz(job, number, asked, &context, stop).await;
        }
        drop(material);
        let _room = tokio::select! {
            room = self.room.take(context.unread.iter().map(|unread| unread.file.size).sum()) => room,
            () = stop.cancelled() => return Ok(Outcome::Retry(Duration::ZERO)),
        };
        if let Err(error) = self.sources().fill(&mut context).await {
            unreadable(job, &error);
            return Ok(Outcome::Retry(Duration::from_secs(1)));
        }
        building.built(context.turns.len(), context.file_hashes.len());
        drop(building);
        // From here on it is sure that this one is asked, unless its circuit is open and another has the probe.
        let admitted = choice.admits();
        let prompt = choice.prompt(self.prompt(job, number, &mut context, tools));
        let plan = self.plan(job, &choice, &prompt, &context, admitted);
        let attempt = Attempt { number, provider: plan.provider.clone(), key: choice.key(), tried };
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
        let mut progressed = Progressed::default();
        let call = self.call(job, &choice, &prompt);
        let talk = call.around(self.speak(job, number, &choice, prompt, started, &mut progressed));
        let spoken = tokio::select! {
            spoken = talk => spoken,
            _ = live.wait_for(|live| live.ended.is_some() || live.attempt > number) => Spoken::Superseded,
            () = stop.cancelled() => Spoken::Stopped,
        };
        event_store::crash_point!("streamed");
        traced::said(&call, &spoken, progressed.first_token);
        drop(call);
        let record = spans::record();
        match spoken {
            Spoken::Superseded => Ok(Outcome::Done),
            Spoken::Stopped => Ok(Outcome::Retry(Duration::ZERO)),
            Spoken::Completed(completion) => {
                progressed.calls = offered(job, progressed.calls);
                record.around(self.complete(job, &attempt, completion, started, progressed, stop)).await
            }
            Spoken::Failed(error) => {
                record.around(self.failed(job, &attempt, error, &progressed.text, stop)).await
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

    fn sources(&self) -> Sources<'_> {
        Sources { pool: &self.inner.pool, files: &self.inner.files, settings: &self.inner.settings }
    }

    /// What the context is made from; none when the file store does not give it.
    async fn material(&self, job: &Job) -> Result<Option<Material>, ExecuteError> {
        match self.sources().gather(job.conversation, job.owner, job.message).await {
            Ok(material) => Ok(Some(material)),
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

    async fn speak(
        &self,
        job: &Job,
        attempt: u32,
        choice: &Choice,
        prompt: Prompt,
        started: Instant,
        progressed: &mut Progressed,
    ) -> Spoken {
        let left = (job.deadline - self.inner.clock.now())
            .to_std()
            .unwrap_or_default()
            .saturating_sub(self.margin());
        let talk = async {
            let mut pieces = choice.stream(prompt);
            while let Some(piece) = pieces.next().await {
                match piece {
                    Ok(Piece::Text(text)) => {
                        progressed.first_token.get_or_insert_with(|| started.elapsed());
                        self.inner.hub.push(job.reply, attempt, &text);
                        event_store::crash_point!("first-delta");
                        progressed.text.push_str(&text);
                    }
                    Ok(Piece::Call(call)) => progressed.calls.push(call),
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
}

fn unreadable(job: &Job, error: &StoreError) {
    tracing::warn!(reply.id = %job.reply, %error, cause = error_chain(error), "the files of a message cannot be read");
}
