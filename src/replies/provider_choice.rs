//! Chooses the provider of an attempt from the recorded past attempts, and makes the plan that is recorded before the call.

use aggregates::conversation::{ConversationCommand, FailureReason, ReplyPlan};
use projections::replies::query::{self, AttemptRow};
use serde_json::{Value, json};

use super::context::{self, Context, Report};
use super::handler::{Job, JobOutcome, ReplyHandler};
use super::retry::{Failure, NextAttempt, PastAttempt, RetryHint, RetrySettings, next_attempt};
use crate::ai::{Prompt, SelectedProvider};
use event_store::ExecuteError;

/// The read model that holds the attempts.
const MODEL: &[&str] = &["replies"];

/// The attempt under way.
pub(super) struct Attempt {
    /// Its number, from 1.
    pub(super) number: u32,
    /// Name of the provider that is called.
    pub(super) provider: String,
    /// Number of the provider's key.
    pub(super) key: Option<u32>,
    /// The attempts before it.
    pub(super) past: Vec<PastAttempt>,
}

impl ReplyHandler {
    /// Returns the recorded attempts before this one.
    pub(super) async fn past_attempts(
        &self,
        job: &Job,
        attempt: u32,
        position: i64,
    ) -> Result<Vec<PastAttempt>, ExecuteError> {
        if attempt == 1 {
            return Ok(Vec::new());
        }
        let inner = &self.inner;
        // If the projection does not catch up, older rows are better than waiting for the deadline: the attempt's number
        // is known from the job.
        inner.progress.wait(MODEL, position, super::handler::CATCH_UP_TIMEOUT).await;
        let rows = query::attempts(&inner.pool, job.reply.uuid()).await;
        let rows = rows.map_err(|error| ExecuteError::Unavailable(error.into()))?;
        Ok(rows.into_iter().filter(|row| row.attempt < attempt).map(past_attempt).collect())
    }

    /// Chooses the provider of this attempt; an error is the reason why the reply fails instead.
    pub(super) fn choose(
        &self,
        job: &Job,
        attempt: u32,
        past: &[PastAttempt],
    ) -> Result<SelectedProvider, FailureReason> {
        let (inner, requested_model) = (&self.inner, job.model.as_deref());
        let candidates = inner.chain.candidates(requested_model, job.reply.uuid());
        let settings = self.retries();
        let max_attempts =
            usize::try_from(settings.max_attempts).unwrap_or(usize::MAX).saturating_add(candidates.len());
        let (reply, now) = (job.reply.uuid(), inner.clock.now());
        next_attempt(&settings, reply, &candidates, past, RetryHint::FromLog, now)
            .filter(|_| usize::try_from(attempt).unwrap_or(usize::MAX) < max_attempts)
            .and_then(|next| inner.chain.choose(next.index, requested_model))
            .ok_or_else(|| {
                let last = past.last().and_then(|last| last.failure);
                last.map_or(FailureReason::AttemptsExhausted, |failure| failure.reason)
            })
    }

    /// Decides what follows this attempt, which has just failed; `asked` is the wait that the provider asks for.
    pub(super) fn next_attempt(
        &self,
        job: &Job,
        attempt: &Attempt,
        failure: Failure,
        asked: Option<std::time::Duration>,
    ) -> Option<NextAttempt> {
        let mut past = attempt.past.clone();
        let Attempt { provider, key, .. } = attempt;
        past.push(PastAttempt { provider: provider.clone(), key: *key, failure: Some(failure) });
        let candidates = self.inner.chain.candidates(job.model.as_deref(), job.reply.uuid());
        let (reply, hint) = (job.reply.uuid(), RetryHint::FromProvider(asked));
        next_attempt(&self.retries(), reply, &candidates, &past, hint, failure.at)
    }

    fn retries(&self) -> RetrySettings {
        self.inner.settings.retries
    }

    /// Returns the plan of the attempt, for the provenance.
    pub(super) fn plan(
        &self,
        job: &Job,
        choice: &SelectedProvider,
        prompt: &Prompt,
        context: &Context,
        admitted: bool,
    ) -> ReplyPlan {
        let mut parameters = choice.parameters(prompt);
        parameters.insert("context".to_owned(), context.report.value());
        if !admitted {
            // The provider is not called.
            parameters.insert("circuit".to_owned(), "open".into());
        }
        let passed_over = self.passed_over(job, choice);
        if !passed_over.is_empty() {
            parameters.insert("passed_over".to_owned(), passed_over.into());
        }
        ReplyPlan {
            input_message_ids: context.inputs.clone(),
            file_hashes: context.file_hashes.clone(),
            ..self.bare_plan(choice, parameters.into())
        }
    }

    /// Returns a plan without inputs.
    fn bare_plan(&self, choice: &SelectedProvider, parameters: Value) -> ReplyPlan {
        ReplyPlan {
            worker: self.inner.worker.clone(),
            provider: choice.provider().to_owned(),
            model: choice.model().to_owned(),
            parameters,
            prompt_versions: vec![context::VERSION.to_owned()],
            input_message_ids: Vec::new(),
            file_hashes: Vec::new(),
        }
    }

    /// Ends the reply: its message does not fit into a prompt. The attempt is recorded with the token counts; no provider is called.
    pub(super) async fn too_long(
        &self,
        job: &Job,
        attempt: u32,
        choice: &SelectedProvider,
        report: &Report,
    ) -> Result<JobOutcome, ExecuteError> {
        tracing::info!(reply.id = %job.reply, budget = report.budget, system = report.tokens.system, tools = report.tokens.tools, "message does not fit into the prompt");
        let plan = self.bare_plan(choice, json!({ "key": choice.key(), "context": report.value() }));
        let at = self.inner.clock.now();
        let begin = ConversationCommand::BeginReply { reply_id: job.reply, attempt, plan, at };
        self.run(job, begin).await?;
        self.fail(job, Some(attempt), FailureReason::TooLong, "").await
    }

    /// Returns the providers before the chosen one whose circuit is open.
    fn passed_over(&self, job: &Job, choice: &SelectedProvider) -> Vec<Value> {
        let candidates = self.inner.chain.candidates(job.model.as_deref(), job.reply.uuid());
        candidates
            .iter()
            .take_while(|one| (one.provider, one.key) != (choice.provider(), choice.key()))
            .filter(|one| one.opens_in.is_some())
            .map(|one| json!({"provider": one.provider, "key": one.key, "circuit": "open"}))
            .collect()
    }
}

fn past_attempt(row: AttemptRow) -> PastAttempt {
    let key = row.plan.parameters["key"].as_u64().and_then(|key| u32::try_from(key).ok());
    let failure = row.failure.zip(row.failed_at).map(|(reason, at)| {
        let until = row.next_not_before.unwrap_or(at);
        Failure { reason, at, wait: (until - at).to_std().unwrap_or_default() }
    });
    PastAttempt { provider: row.plan.provider, key, failure }
}
