//! Conversations: messages, titles, marks, history, read marks, typing.

pub mod branches;
pub mod interactions;
pub mod items;

use std::sync::Arc;
use std::time::Duration;

use aggregates::Personal;
use aggregates::conversation::{Conversation, ConversationCommand, MessageContext, ReplyOptions};
use aggregates::ids::{ConversationId, MessageId, ReplyId};
use aggregates::values::{MessageText, Title};
use projections::conversations::query::{ConversationLoader, ConversationRow};
use projections::messages::query::MessageRow;
use projections::{conversations, messages, registry};
use serde_json::json;
use uuid::Uuid;

use super::core::stored_id;
use super::files::with_attachments;
use super::models::ModelCatalogue;
use super::quotas::QuotaService;
use super::{Actor, AppError, Core, RequestContext};
use crate::live::envelope::Typing;
use crate::live::{LiveReplies, UserChannels};

/// An accepted message, with the ids of the reply it requested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Conversation of the message.
    pub conversation: ConversationId,
    /// The message.
    pub message: MessageId,
    /// The requested reply.
    pub reply: ReplyId,
    /// Id of the reply's message.
    pub answer: MessageId,
    /// Position of the command's last event.
    pub position: Option<i64>,
    /// Whether this was a repetition, which returns the first outcome.
    pub replayed: bool,
}

/// A message to be sent, and options of the reply.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewMessage {
    /// Text; may be empty if there are files.
    pub text: String,
    /// Attachments, quote and chosen tool.
    pub enclosed: MessageContext,
    /// Options of the reply.
    pub reply: ReplyOptions,
}

impl NewMessage {
    /// Makes a message of plain text.
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// Requests a model.
    #[must_use]
    pub fn with_model(mut self, model: Option<String>) -> Self {
        self.reply.model = model;
        self
    }
}

/// A change of a conversation's title or marks; `None` leaves a field unchanged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// New title.
    pub title: Option<String>,
    /// Whether an empty title is allowed, to remove it.
    pub may_be_empty: bool,
    /// Whether it is pinned to the top of the list.
    pub pinned: Option<bool>,
    /// Whether it is archived.
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
    pub loader: ConversationLoader,
    /// Replies that are being written.
    pub live_replies: LiveReplies,
    /// Feeds of users' sockets.
    pub user_channels: UserChannels,
    /// From the request for a reply to its end, at most.
    pub reply_deadline: Duration,
    /// Whether conversations get generated titles.
    pub titles: bool,
}

impl ConversationService {
    /// Sends a message, in a new conversation if none is given, and requests a reply.
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
        // A message may consist of attachments only.
        let text = match text.as_str() {
            "" if !enclosed.files.is_empty() => MessageText::none(),
            text => MessageText::parse(text)?,
        };
        self.models.check_length(text.as_str()).await?;
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
        batch = with_attachments(batch, &enclosed.files, actor.user, target, message, now);
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
        self.core.catch_up(registry::CONVERSATION_MODELS, outcome.position).await;
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

    /// Changes a conversation's title and marks, all or nothing.
    ///
    /// # Errors
    /// `Invalid` title, `NotFound`, `Conflict` if it was changed and then deleted, and those of the log.
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
        self.core.catch_up(registry::CONVERSATION_MODELS, outcome.position).await;
        match self.conversation(actor, conversation).await {
            Ok(row) => Ok((row, outcome.position)),
            Err(error) => Err(self.core.unseen(error, outcome.position)),
        }
    }

    /// Deletes a conversation and cancels its pending replies.
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
        self.core.catch_up(registry::CONVERSATION_MODELS, outcome.position).await;
        Ok(outcome.position)
    }

    /// Returns a conversation of the actor.
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

    /// Returns a page of the actor's conversations, and their total number.
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

    /// Returns messages of a conversation before a position, newest first; one more than `limit` if there are more.
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
            // Empty, or not visible to this user.
            self.conversation(actor, conversation).await?;
        }
        Ok(page)
    }

    /// Marks a conversation as read up to a message. An older mark changes nothing.
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
        self.core.catch_up(registry::CONVERSATION_MODELS, outcome.position).await;
        Ok(outcome.position)
    }

    /// Tells the actor's other sockets that the actor is typing in a conversation, or has stopped.
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
        self.user_channels.typing(Typing { user, conversation, typing, socket }).await;
        Ok(())
    }
}
