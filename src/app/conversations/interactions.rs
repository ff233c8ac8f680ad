//! Interactions with items of a conversation: responses to tool calls and questions, feedback, notes.

use aggregates::conversation::{Conversation, ConversationCommand};
use aggregates::ids::{ConversationId, MessageId, ReplyId};
use aggregates::{Event, Personal};
use chrono::{DateTime, Utc};
use projections::messages::thread::{self, Entry, Order};
use projections::registry;
use serde_json::{Value, json};
use uuid::Uuid;

use super::items::{InputAnswer, InputForm, InputQuestion, ReplyOptions, Verdict};
use super::{ConversationService, Sent};
use crate::app::core::stored_id;
use crate::app::{Actor, AppError, RequestContext};
use event_store::{CommandBatch, CommandOutcome, StateCapture};

/// A user's answers to the questions of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answers {
    /// Whether all questions are skipped.
    pub skipped: bool,
    /// Answers by question; unknown questions are ignored.
    pub answers: Vec<InputAnswer>,
}

impl ConversationService {
    /// Records the output of a client tool. The newest item of the conversation must be a pending call.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` if no call is pending; `Throttled`; those of the log.
    pub async fn answer_client_tool(
        &self,
        request: &RequestContext,
        actor: Actor,
        conversation: ConversationId,
        output: Value,
        reply: ReplyOptions,
    ) -> Result<Sent, AppError> {
        if let Some(sent) = self.repeated_request(request, actor, conversation).await? {
            return Ok(sent);
        }
        let newest = self.thread(actor, conversation, Order::Descending, None, 1).await?;
        let pending =
            newest.first().filter(|row| matches!(row.entry, Entry::ClientToolCall { output: None, .. }));
        let item = MessageId::new(pending.ok_or_else(AppError::not_pending)?.id);
        let (at, deadline) = self.now_and_deadline();
        let output = Personal::Known(output);
        let command = ConversationCommand::AnswerClientTool {
            by: actor.user,
            item_id: item,
            output,
            reply,
            at,
            deadline,
        };
        self.ask(request, actor, conversation, item, ReplyCommand::of(command)).await
    }

    /// Answers or skips the questions of a pending item. Questions without an answer count as skipped; of several answers to
    /// a single-choice question the first counts.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` if it is not pending; `Throttled`; those of the log.
    pub async fn answer_input(
        &self,
        request: &RequestContext,
        actor: Actor,
        conversation: ConversationId,
        item: MessageId,
        answers: Answers,
        reply: ReplyOptions,
    ) -> Result<Sent, AppError> {
        if let Some(sent) = self.repeated_request(request, actor, conversation).await? {
            return Ok(sent);
        }
        let row = self.item(actor, conversation, item).await?;
        let Entry::StructuredInput { status, questions, .. } = row.entry else {
            return Err(AppError::not_pending());
        };
        if status != "pending" {
            return Err(AppError::not_pending());
        }
        let skipped = answers.skipped;
        let answers = questions.iter().map(|question| answer(question, &answers)).collect();
        let (at, deadline) = self.now_and_deadline();
        let command = ConversationCommand::AnswerInput {
            by: actor.user,
            item_id: item,
            skipped,
            answers: Personal::Known(answers),
            reply,
            at,
            deadline,
        };
        self.ask(request, actor, conversation, item, ReplyCommand::of(command)).await
    }

    /// Records feedback on items of a conversation.
    ///
    /// # Errors
    /// `NotFound` for the conversation or an item; those of the log.
    pub async fn give_feedback(
        &self,
        request: &RequestContext,
        actor: Actor,
        conversation: ConversationId,
        items: &[MessageId],
        verdict: Verdict,
    ) -> Result<Option<i64>, AppError> {
        self.conversation(actor, conversation).await?;
        let mut ids: Vec<Uuid> = items.iter().map(|id| id.uuid()).collect();
        ids.sort_unstable();
        ids.dedup();
        let known = thread::by_ids(&self.core.pool, conversation.uuid(), &ids).await?;
        if known.iter().filter(|row| !row.is_hidden()).count() != ids.len() {
            return Err(AppError::not_found());
        }
        let item_ids = ids.into_iter().map(MessageId::new).collect();
        let at = self.core.clock.now();
        let command = ConversationCommand::GiveFeedback { by: actor.user, item_ids, verdict, at };
        let batch = self
            .core
            .batch(request, actor.user)
            .command::<Conversation>(conversation, command)
            .with_key(request.key_of(actor.user), json!({"conversation_id": conversation}));
        let outcome = self.core.executor.run(batch).await?;
        self.core.catch_up(registry::THREAD_MODELS, outcome.position).await;
        Ok(outcome.position)
    }

    /// Adds a hidden note for the model. Counts like a message.
    ///
    /// # Errors
    /// `NotFound`, `Throttled`, and those of the log.
    pub async fn note(
        &self,
        request: &RequestContext,
        actor: Actor,
        conversation: ConversationId,
        note: &str,
    ) -> Result<(), AppError> {
        let key = request.key_of(actor.user);
        let (by, at) = (actor.user, self.core.clock.now());
        let (item_id, note) = (MessageId::new(self.core.clock.id()), Personal::Known(note.to_owned()));
        let command = ConversationCommand::AddNote { by, item_id, note, at };
        let batch = self
            .core
            .batch(request, actor.user)
            .command::<Conversation>(conversation, command)
            .with_key(key, json!({"conversation_id": conversation}));
        self.quotas.run_as_message(request, actor, conversation.uuid(), batch).await?;
        Ok(())
    }

    /// Runs a command that requests a reply to the item `asker`.
    pub(super) async fn ask(
        &self,
        request: &RequestContext,
        actor: Actor,
        conversation: ConversationId,
        asker: MessageId,
        reply_command: ReplyCommand,
    ) -> Result<Sent, AppError> {
        let key = request.key_of(actor.user);
        let batch = self.core.batch(request, actor.user);
        let capture = StateCapture::default();
        // The request for the reply must be the last event of the command.
        let batch = (reply_command.beside)(batch)
            .command_capturing::<Conversation>(conversation, reply_command.command, &capture)
            .with_key(key, json!({"conversation_id": conversation, "message_id": asker}))
            .key_result_with("reply_id", &capture, move |change| json!(change.after.latest_reply(asker)));
        let outcome = self.quotas.run_as_message(request, actor, conversation.uuid(), batch).await?;
        let reply = capture.take().and_then(|change| change.after.latest_reply(asker));
        self.sent(conversation, asker, reply, outcome).await
    }

    /// Returns the outcome of an earlier request with the same idempotency key.
    pub(super) async fn repeated_request(
        &self,
        request: &RequestContext,
        actor: Actor,
        conversation: ConversationId,
    ) -> Result<Option<Sent>, AppError> {
        let Some(key) = request.key_of(actor.user) else { return Ok(None) };
        let Some(outcome) = self.core.executor.repeated(&key).await? else { return Ok(None) };
        let stored = outcome.replayed.clone().unwrap_or_default();
        let asker = MessageId::new(stored_id(&stored, "message_id")?);
        self.sent(conversation, asker, None, outcome).await.map(Some)
    }

    async fn sent(
        &self,
        conversation: ConversationId,
        asker: MessageId,
        decided: Option<ReplyId>,
        outcome: CommandOutcome,
    ) -> Result<Sent, AppError> {
        self.core.catch_up(registry::THREAD_MODELS, outcome.position).await;
        let replayed = outcome.replayed.is_some();
        let reply = match (&outcome.replayed, outcome.position) {
            (None, _) => decided,
            // A stored result tells what was decided then, even if it added no event.
            (Some(stored), _) if stored.get("reply_id").is_some() => {
                Some(ReplyId::new(stored_id(stored, "reply_id")?))
            }
            // Results stored by earlier versions lack it: the request for the reply is the last event of its command.
            (Some(_), Some(position)) => self.requested_at(position).await?,
            (Some(_), None) => {
                let state: Conversation = self.core.executor.state(&conversation.to_string()).await?;
                state.latest_reply(asker)
            }
        };
        let reply = reply.ok_or_else(AppError::not_found)?;
        Ok(Sent {
            conversation,
            message: asker,
            reply,
            answer: MessageId::answering(reply),
            position: outcome.position,
            replayed,
        })
    }

    /// Returns the reply that the event at this position requested.
    async fn requested_at(&self, position: i64) -> Result<Option<ReplyId>, AppError> {
        let recorded = self.core.reader.at(position).await.map_err(AppError::unavailable)?;
        Ok(recorded.and_then(|recorded| match &recorded.event {
            Event::Conversation(event) => event.requested_reply(),
            Event::User(_) | Event::Claim(_) | Event::Quiz(_) | Event::File(_) => None,
        }))
    }

    /// Returns the current time and the deadline of a reply requested now.
    pub(super) fn now_and_deadline(&self) -> (DateTime<Utc>, DateTime<Utc>) {
        let now = self.core.clock.now();
        (now, now + self.reply_deadline)
    }
}

/// A command that requests a reply, and what is written with it.
pub(super) struct ReplyCommand {
    command: ConversationCommand,
    beside: Box<dyn FnOnce(CommandBatch) -> CommandBatch + Send>,
}

impl ReplyCommand {
    /// Makes a request of one command.
    pub(super) fn of(command: ConversationCommand) -> Self {
        Self::with(command, |batch| batch)
    }

    /// Makes a request of a command and what is added to the batch before it.
    pub(super) fn with(
        command: ConversationCommand,
        beside: impl FnOnce(CommandBatch) -> CommandBatch + Send + 'static,
    ) -> Self {
        Self { command, beside: Box::new(beside) }
    }
}

/// Returns the answer to one question in its stored form.
fn answer(question: &InputQuestion, answers: &Answers) -> InputAnswer {
    let given = answers.answers.iter().find(|answer| answer.id == question.id);
    let mut values = match given {
        Some(answer) if !answers.skipped && !answer.skipped => answer.values.clone(),
        _ => Vec::new(),
    };
    let one = !matches!(question.form, InputForm::Choice { multiple: true, .. });
    if one {
        values.truncate(1);
    }
    InputAnswer { id: question.id.clone(), skipped: values.is_empty(), values }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(id: &str, multiple: bool) -> InputQuestion {
        let form = InputForm::Choice { options: vec!["a".to_owned(), "b".to_owned()], multiple };
        InputQuestion { id: id.to_owned(), question: "Which?".to_owned(), form }
    }

    fn given(id: &str, values: &[&str], skipped: bool) -> InputAnswer {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        InputAnswer { id: id.to_owned(), values, skipped }
    }

    #[test]
    fn answers_are_normalised_before_storing() {
        let answers = Answers {
            skipped: false,
            answers: vec![
                given("one", &["b", "a"], false),
                given("many", &["b", "own words"], false),
                given("left", &["a"], true),
                given("stranger", &["a"], false),
            ],
        };
        assert_eq!(answer(&question("one", false), &answers), given("one", &["b"], false));
        assert_eq!(answer(&question("many", true), &answers), given("many", &["b", "own words"], false));
        assert_eq!(answer(&question("left", false), &answers), given("left", &[], true));
        assert_eq!(answer(&question("missing", false), &answers), given("missing", &[], true));
        let skipped = Answers { skipped: true, ..answers };
        assert_eq!(answer(&question("one", false), &skipped), given("one", &[], true));
    }
}
