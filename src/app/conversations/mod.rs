//! Conversations: messages, titles, marks and history.

pub mod branches;
pub mod interactions;
pub mod items;

use std::sync::Arc;
use std::time::Duration;

use aggregates::Personal;
use aggregates::conversation::{Conversation, ConversationCommand, Enclosed, WantedReply};
use aggregates::ids::{ConversationId, MessageId, ReplyId};
use aggregates::values::{MessageText, Title};
use projections::conversations::query::{ConversationRow, Single};
use projections::messages::query::MessageRow;
use projections::{conversations, messages, models};
use serde_json::json;
use uuid::Uuid;

use super::core::stored_id;
use super::files::attaching;
use super::models::ModelCatalogue;
use super::quotas::QuotaService;
use super::{Actor, AppError, Core, RequestContext};
use crate::live::sealed::Typing;
use crate::live::{Hub, People};

/// A message that was taken, with the ids of what it asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The conversation it stands in.
    pub conversation: ConversationId,
    /// The message.
    pub message: MessageId,
    /// The reply it asked for.
    pub reply: ReplyId,
    /// The id that the answer will have.
    pub answer: MessageId,
    /// Position of the command's last event.
    pub position: Option<i64>,
    /// Whether this was a repetition, answered for what the first one did.
    pub replayed: bool,
}

/// A message on its way, and the reply it asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewMessage {
    /// Its text; may be empty when there are files.
    pub text: String,
    /// What is sent with it.
    pub enclosed: Enclosed,
    /// The reply wished for.
    pub reply: WantedReply,
}

impl NewMessage {
    /// Plain text.
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// Wishes for a model.
    #[must_use]
    pub fn asking(mut self, model: Option<String>) -> Self {
        self.reply.model = model;
        self
    }
}

/// A change of a conversation's title or marks; what is none stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// New title.
    pub title: Option<String>,
    /// Whether the title may be empty: some doors take it for none.
    pub may_be_empty: bool,
    /// Whether it stands on top of the list.
    pub pinned: Option<bool>,
    /// Whether it is in the archive.
    pub archived: Option<bool>,
}

/// Messages, items, branches and interactions of conversations.
pub struct ConversationService {
    /// The log, the read models, time and ids.
    pub core: Core,
    /// Charges messages.
    pub quotas: Arc<QuotaService>,
    /// Models and tools that a message may request.
    pub models: ModelCatalogue,
    /// Loads single conversations in batches.
    pub loader: Single,
    /// Replies that are being written.
    pub hub: Hub,
    /// Feeds of users' sockets.
    pub people: People,
    /// From the request for a reply to its end, at most.
    pub reply_deadline: Duration,
    /// Whether conversations get generated titles.
    pub titles: bool,
}

impl ConversationService {
    /// Sends a message, in a new conversation when none is named, and asks for a reply.
    ///
    /// # Errors
    /// `Invalid` text, model or tool, `NotFound` conversation or file, `Conflict` for a file of another conversation,
    /// `Throttled`, and those of the log.
    pub async fn send(
        &self,
        request: &RequestContext,
        actor: Actor,
        conversation: Option<ConversationId>,
        message: NewMessage,
    ) -> Result<Sent, AppError> {
        let NewMessage { text, enclosed, reply } = message;
        crate::fault_injection::panic_over(&text);
        // Files may say everything.
        let text = match text.as_str() {
            "" if !enclosed.files.is_empty() => MessageText::none(),
            text => MessageText::parse(text)?,
        };
        self.models.check_room(text.as_str()).await?;
        self.models.check_model(reply.model.as_deref())?;
        self.models.check_tool(enclosed.tool_choice.as_deref())?;
        let now = self.core.clock.now();
        let message = MessageId::new(self.core.clock.id());
        let target = conversation.unwrap_or_else(|| ConversationId::new(self.core.clock.id()));
        let key = request.key_of(actor.user);

        let mut batch = self.core.batch(request, actor.user);
        if conversation.is_none() {
            batch = batch.command::<Conversation>(
                target,
                ConversationCommand::Start { id: target, by: actor.user, title: None, at: now },
            );
        }
        batch = attaching(batch, &enclosed.files, actor.user, target, message, now);
        let batch = batch
            .command::<Conversation>(
                target,
                ConversationCommand::Send {
                    message_id: message,
                    by: actor.user,
                    text: Personal::Known(text),
                    enclosed,
                    reply: Some(reply),
                    at: now,
                    deadline: now + self.reply_deadline,
                },
            )
            .with_key(key, json!({"conversation_id": target, "message_id": message}));
        let outcome = self.quotas.run_as_message(request, actor, target.uuid(), batch).await?;
        let (target, message) = match &outcome.replayed {
            Some(stored) => (
                ConversationId::new(stored_id(stored, "conversation_id")?),
                MessageId::new(stored_id(stored, "message_id")?),
            ),
            None => (target, message),
        };
        self.core.catch_up(models::CONVERSATION_MODELS, outcome.position).await;
        let reply = ReplyId::of(message);
        Ok(Sent {
            conversation: target,
            message,
            reply,
            answer: MessageId::answering(reply),
            position: outcome.position,
            replayed: outcome.replayed.is_some(),
        })
    }

    /// Changes a conversation's title or marks, all of it or nothing.
    ///
    /// # Errors
    /// `Invalid` title, `NotFound`, `Conflict` when it was changed and deleted since, and those of the log.
    pub async fn change_conversation(
        &self,
        request: &RequestContext,
        actor: Actor,
        conversation: ConversationId,
        change: Change,
    ) -> Result<(ConversationRow, Option<i64>), AppError> {
        let (by, at) = (actor.user, self.core.clock.now());
        let mut batch = self.core.batch(request, actor.user);
        if let Some(title) = change.title {
            let title = match title.as_str() {
                "" if change.may_be_empty => Title::none(),
                title => Title::parse(title)?,
            };
            let title = Personal::Known(title);
            batch =
                batch.command::<Conversation>(conversation, ConversationCommand::Rename { by, title, at });
        }
        if let Some(pinned) = change.pinned {
            batch = batch
                .command::<Conversation>(conversation, ConversationCommand::SetPinned { by, pinned, at });
        }
        if let Some(archived) = change.archived {
            batch = batch
                .command::<Conversation>(conversation, ConversationCommand::SetArchived { by, archived, at });
        }
        let batch = batch.with_key(request.key_of(actor.user), json!({"conversation_id": conversation}));
        let outcome = self.core.executor.run(batch).await?;
        self.core.catch_up(models::CONVERSATION_MODELS, outcome.position).await;
        match self.conversation(actor, conversation).await {
            Ok(row) => Ok((row, outcome.position)),
            Err(error) => Err(self.core.unseen(error, outcome.position)),
        }
    }

    /// Deletes a conversation; replies that are owed in it are cancelled.
    ///
    /// # Errors
    /// `NotFound`, and those of the log.
    pub async fn delete_conversation(
        &self,
        request: &RequestContext,
        actor: Actor,
        conversation: ConversationId,
    ) -> Result<Option<i64>, AppError> {
        let command = ConversationCommand::Delete { by: actor.user, at: self.core.clock.now() };
        let batch = self
            .core
            .batch(request, actor.user)
            .command::<Conversation>(conversation, command)
            .with_key(request.key_of(actor.user), json!({"conversation_id": conversation}));
        let outcome = self.core.executor.run(batch).await?;
        self.core.catch_up(models::CONVERSATION_MODELS, outcome.position).await;
        Ok(outcome.position)
    }

    /// One conversation of the actor's.
    ///
    /// # Errors
    /// `NotFound`, or the database's.
    pub async fn conversation(
        &self,
        actor: Actor,
        conversation: ConversationId,
    ) -> Result<ConversationRow, AppError> {
        let user =
            crate::fault_injection::owner_instead_of(self.core.pool.pool(), actor.user, conversation).await?;
        let actor = Actor { user, ..actor };
        let single = &self.loader;
        single.by_id(actor.user.uuid(), conversation.uuid()).await?.ok_or_else(AppError::not_found)
    }

    /// A page of the actor's conversations, and how many there are.
    ///
    /// # Errors
    /// The database's.
    pub async fn conversations(
        &self,
        actor: Actor,
        archived: bool,
        limit: i64,
        offset: i64,
    ) -> Result<(Vec<ConversationRow>, i64), AppError> {
        Ok(conversations::query::page(&self.core.pool, actor.user.uuid(), archived, limit, offset).await?)
    }

    /// Messages of a conversation before a position, newest first; one more than `limit` when there are more.
    ///
    /// # Errors
    /// `NotFound`, or the database's.
    pub async fn messages(
        &self,
        actor: Actor,
        conversation: ConversationId,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<MessageRow>, AppError> {
        let user =
            crate::fault_injection::owner_instead_of(self.core.pool.pool(), actor.user, conversation).await?;
        let actor = Actor { user, ..actor };
        let (owner, before) = (actor.user.uuid(), before.unwrap_or(i64::MAX));
        let page =
            messages::query::page(&self.core.pool, owner, conversation.uuid(), before, limit + 1).await?;
        if page.is_empty() {
            // Nothing there, or nothing that this person may know of.
            self.conversation(actor, conversation).await?;
        }
        Ok(page)
    }

    /// Notes that the actor has read a conversation up to a message. A mark that is not further than the last one changes
    /// nothing.
    ///
    /// # Errors
    /// `NotFound`, and those of the log.
    pub async fn mark_read(
        &self,
        request: &RequestContext,
        actor: Actor,
        conversation: ConversationId,
        message: MessageId,
    ) -> Result<Option<i64>, AppError> {
        let (owner, id) = (actor.user.uuid(), conversation.uuid());
        let row = messages::query::of_owner(&self.core.pool, owner, id, message.uuid())
            .await?
            .ok_or_else(AppError::not_found)?;
        let command = ConversationCommand::MarkRead {
            by: actor.user,
            message_id: message,
            message_position: row.position,
            at: self.core.clock.now(),
        };
        let batch = self
            .core
            .batch(request, actor.user)
            .command::<Conversation>(conversation, command)
            .with_key(request.key_of(actor.user), json!({"conversation_id": conversation}));
        let outcome = self.core.executor.run(batch).await?;
        self.core.catch_up(models::CONVERSATION_MODELS, outcome.position).await;
        Ok(outcome.position)
    }

    /// Tells the actor's other sockets that they type in a conversation, or have stopped.
    ///
    /// # Errors
    /// `NotFound`, and the database's.
    pub async fn typing(
        &self,
        actor: Actor,
        conversation: ConversationId,
        typing: bool,
        socket: Uuid,
    ) -> Result<(), AppError> {
        self.conversation(actor, conversation).await?;
        let (user, conversation) = (actor.user.uuid(), conversation.uuid());
        self.people.typing(Typing { user, conversation, typing, socket }).await;
        Ok(())
    }
}
