//! Who an attempt asks: chosen from what is recorded of the attempts before it, and recorded itself before anybody is asked.

use aggregates::conversation::{ConversationCommand, FailureReason, ReplyPlan};
use projections::replies::query::{self, AttemptRow};
use serde_json::{Value, json};

use super::context::{self, Context, Report};
use super::handler::{Job, Outcome, ReplyHandler};
use super::policy::{self, Failed, Known, Next, RetrySettings, Tried};
use crate::ai::{Choice, Prompt};
use event_store::ExecuteError;

/// The read model that knows the attempts.
const MODEL: &[&str] = &["replies"];

/// An attempt that was begun.
pub(super) struct Attempt {
    /// Its number, from 1.
    pub(super) number: u32,
    /// Who is asked.
    pub(super) provider: String,
    /// With which of its keys.
    pub(super) key: Option<u32>,
    /// The attempts before it.
    pub(super) tried: Vec<Tried>,
}

impl ReplyHandler {
    /// The attempts before this one, as they are recorded.
    pub(super) async fn tried(
        &self,
        job: &Job,
        attempt: u32,
        position: i64,
    ) -> Result<Vec<Tried>, ExecuteError> {
        if attempt == 1 {
            return Ok(Vec::new());
        }
        let inner = &self.inner;
        // When it does not catch up, what it has is better than to wait for the deadline: the number is known.
        inner.progress.wait(MODEL, position, super::handler::CATCH_UP).await;
        let rows = query::attempts(&inner.pool, job.reply.uuid()).await;
        let rows = rows.map_err(|error| ExecuteError::Unavailable(error.into()))?;
        Ok(rows.into_iter().filter(|row| row.attempt < attempt).map(tried).collect())
    }

    /// Who is to be asked now; else why the reply has failed.
    pub(super) fn choose(&self, job: &Job, attempt: u32, tried: &[Tried]) -> Result<Choice, FailureReason> {
        let (inner, wish) = (&self.inner, job.model.as_deref());
        let candidates = inner.chain.candidates(wish, job.reply.uuid());
        let settings = self.retries();
        let most =
            usize::try_from(settings.max_attempts).unwrap_or(usize::MAX).saturating_add(candidates.len());
        let next =
            policy::next(&settings, job.reply.uuid(), &candidates, tried, Known::Recorded, inner.clock.now());
        next.filter(|_| usize::try_from(attempt).unwrap_or(usize::MAX) < most)
            .and_then(|next| inner.chain.choose(next.place, wish))
            .ok_or_else(|| {
                let last = tried.last().and_then(|last| last.failed);
                last.map_or(FailureReason::AttemptsExhausted, |failed| failed.reason)
            })
    }

    /// Who is to be asked after this attempt has just failed, and when.
    pub(super) fn after(
        &self,
        job: &Job,
        attempt: &Attempt,
        failed: Failed,
        asked: Option<std::time::Duration>,
    ) -> Option<Next> {
        let mut tried = attempt.tried.clone();
        let Attempt { provider, key, .. } = attempt;
        tried.push(Tried { provider: provider.clone(), key: *key, failed: Some(failed) });
        let candidates = self.inner.chain.candidates(job.model.as_deref(), job.reply.uuid());
        let reply = job.reply.uuid();
        policy::next(&self.retries(), reply, &candidates, &tried, Known::Told(asked), failed.at)
    }

    fn retries(&self) -> RetrySettings {
        self.inner.settings.retries
    }

    /// What is about to be done, for the provenance.
    pub(super) fn plan(
        &self,
        job: &Job,
        choice: &Choice,
        prompt: &Prompt,
        context: &Context,
        admitted: bool,
    ) -> ReplyPlan {
        let mut parameters = choice.parameters(prompt);
        parameters.insert("context".to_owned(), context.report.value());
        if !admitted {
            // It is not called at all.
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

    /// A plan with nothing to send.
    fn bare_plan(&self, choice: &Choice, parameters: Value) -> ReplyPlan {
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

    /// Ends the reply to what has no room in a prompt. The attempt is recorded with what was counted; nobody is asked.
    pub(super) async fn too_long(
        &self,
        job: &Job,
        attempt: u32,
        choice: &Choice,
        report: &Report,
    ) -> Result<Outcome, ExecuteError> {
        tracing::info!(reply.id = %job.reply, budget = report.budget, system = report.tokens.system, tools = report.tokens.tools, "what was asked has no room in a prompt");
        let plan = self.bare_plan(choice, json!({ "key": choice.key(), "context": report.value() }));
        let at = self.inner.clock.now();
        let begin = ConversationCommand::BeginReply { reply_id: job.reply, attempt, plan, at };
        self.run(job, begin).await?;
        self.fail(job, Some(attempt), FailureReason::TooLong, "").await
    }

    /// Those before it in the chain that are not asked because their circuit is open.
    fn passed_over(&self, job: &Job, choice: &Choice) -> Vec<Value> {
        let candidates = self.inner.chain.candidates(job.model.as_deref(), job.reply.uuid());
        candidates
            .iter()
            .take_while(|one| (one.provider, one.key) != (choice.provider(), choice.key()))
            .filter(|one| one.opens_in.is_some())
            .map(|one| json!({"provider": one.provider, "key": one.key, "circuit": "open"}))
            .collect()
    }
}

fn tried(row: AttemptRow) -> Tried {
    let key = row.plan.parameters["key"].as_u64().and_then(|key| u32::try_from(key).ok());
    let failed = row.failure.zip(row.failed_at).map(|(reason, at)| {
        let until = row.next_not_before.unwrap_or(at);
        Failed { reason, at, pause: (until - at).to_std().unwrap_or_default() }
    });
    Tried { provider: row.plan.provider, key, failed }
}
