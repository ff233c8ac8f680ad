//! What a person does with what stands in a conversation: answering what an answer asked, feedback, and stopping by hanging
//! up.

use aggregates::conversation::{Conversation, ConversationCommand};
use aggregates::ids::{ConversationId, MessageId, ReplyId};
use aggregates::{Event, Personal};
use chrono::{DateTime, Utc};
use projections::messages::thread::{self, Entry, Order};
use projections::models;
use serde_json::{Value, json};
use uuid::Uuid;

use super::items::{InputAnswer, InputForm, InputQuestion, Verdict, WantedReply};
use super::{ConversationService, Sent};
use crate::app::core::stored_id;
use crate::app::{Actor, AppError, RequestContext};
use event_store::{CommandBatch, CommandOutcome, StateCapture};

/// What a person answered to the questions of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answers {
    /// Whether all of it is skipped.
    pub skipped: bool,
    /// By question; what is not among the item's questions is passed over.
    pub answers: Vec<InputAnswer>,
}

impl ConversationService {
    /// Tells what the page's tool came to: the newest thing in the conversation must be a call that waits.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when no call waits there; `Throttled`; those of the log.
    pub async fn answer_client_tool(
        &self,
        request: &RequestContext,
        actor: Actor,
        conversation: ConversationId,
        output: Value,
        reply: WantedReply,
    ) -> Result<Sent, AppError> {
        if let Some(sent) = self.asked_before(request, actor, conversation).await? {
            return Ok(sent);
        }
        let newest = self.thread(actor, conversation, Order::Descending, None, 1).await?;
        let waiting =
            newest.first().filter(|row| matches!(row.entry, Entry::ClientToolCall { output: None, .. }));
        let item = MessageId::new(waiting.ok_or_else(AppError::not_pending)?.id);
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
        self.ask(request, actor, conversation, item, Asking::of(command)).await
    }

    /// Answers the questions of an item that waits, or skips them. Questions without an answer count as skipped; of several
    /// answers to a question that takes one, the first counts.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when it does not wait; `Throttled`; those of the log.
    pub async fn answer_input(
        &self,
        request: &RequestContext,
        actor: Actor,
        conversation: ConversationId,
        item: MessageId,
        answers: Answers,
        reply: WantedReply,
    ) -> Result<Sent, AppError> {
        if let Some(sent) = self.asked_before(request, actor, conversation).await? {
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
        self.ask(request, actor, conversation, item, Asking::of(command)).await
    }

    /// Records what a person thinks of items of a conversation.
    ///
    /// # Errors
    /// `NotFound` for the conversation or any of them; those of the log.
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
        self.core.catch_up(models::THREAD_MODELS, outcome.position).await;
        Ok(outcome.position)
    }

    /// Adds a note for the model that nobody is shown. Counts like a message.
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

    /// Carries out a command that asks for a reply to `asker`.
    pub(super) async fn ask(
        &self,
        request: &RequestContext,
        actor: Actor,
        conversation: ConversationId,
        asker: MessageId,
        asking: Asking,
    ) -> Result<Sent, AppError> {
        let key = request.key_of(actor.user);
        let batch = self.core.batch(request, actor.user);
        let capture = StateCapture::default();
        // The request for the reply has to be the last event of all.
        let batch = (asking.beside)(batch)
            .command_capturing::<Conversation>(conversation, asking.command, &capture)
            .with_key(key, json!({"conversation_id": conversation, "message_id": asker}))
            .key_result_with("reply_id", &capture, move |change| json!(change.after.latest_reply(asker)));
        let outcome = self.quotas.run_as_message(request, actor, conversation.uuid(), batch).await?;
        let reply = capture.take().and_then(|change| change.after.latest_reply(asker));
        self.sent(conversation, asker, reply, outcome).await
    }

    /// What the same request with its key came to before.
    pub(super) async fn asked_before(
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
        self.core.catch_up(models::THREAD_MODELS, outcome.position).await;
        let replayed = outcome.replayed.is_some();
        let reply = match (&outcome.replayed, outcome.position) {
            (None, _) => decided,
            // A key's answer is what was decided then, which may have added nothing.
            (Some(stored), _) if stored.get("reply_id").is_some() => {
                Some(ReplyId::new(stored_id(stored, "reply_id")?))
            }
            // Keys of the version before do not tell it. The request for the reply is the last event of its command.
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

    /// The reply that the event at this position asked for.
    async fn requested_at(&self, position: i64) -> Result<Option<ReplyId>, AppError> {
        let recorded = self.core.reader.at(position).await.map_err(AppError::unavailable)?;
        Ok(recorded.and_then(|recorded| match &recorded.event {
            Event::Conversation(event) => event.requested_reply(),
            Event::User(_) | Event::Claim(_) | Event::Quiz(_) | Event::File(_) => None,
        }))
    }

    pub(super) fn now_and_deadline(&self) -> (DateTime<Utc>, DateTime<Utc>) {
        let now = self.core.clock.now();
        (now, now + self.reply_deadline)
    }
}

/// A command that asks for a reply, and what is written with it.
pub(super) struct Asking {
    command: ConversationCommand,
    beside: Box<dyn FnOnce(CommandBatch) -> CommandBatch + Send>,
}

impl Asking {
    /// A command alone.
    pub(super) fn of(command: ConversationCommand) -> Self {
        Self::with(command, |batch| batch)
    }

    /// A command, and what is added to the batch before it.
    pub(super) fn with(
        command: ConversationCommand,
        beside: impl FnOnce(CommandBatch) -> CommandBatch + Send + 'static,
    ) -> Self {
        Self { command, beside: Box::new(beside) }
    }
}

/// The answer to one question, in the form in which it is kept.
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
    fn answers_are_kept_in_one_form_whatever_was_sent() {
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
