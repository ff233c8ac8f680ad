//! Branches of a conversation: regenerating a reply, editing a message, switching, and the messages of each branch.

use aggregates::Personal;
use aggregates::conversation::{Conversation, ConversationCommand, MessageRef, PartialText};
use aggregates::ids::{ConversationId, MessageId};
use aggregates::values::{MessageText, ReplyText};
use projections::messages::branch_queries::{self, BranchRow};
use projections::messages::query::MessageRow;
use projections::messages::thread::{self, Entry, ThreadRow};
use projections::registry;
use serde_json::json;

use super::interactions::ReplyCommand;
use super::items::{Composed, MessageContext, Part, ReplyOptions};
use super::{ConversationService, Sent};
use crate::app::files::with_attachments;
use crate::app::{Actor, AppError, Kind, RequestContext};

/// A branch of a conversation.
pub type Branch = BranchRow;

/// The message whose reply is regenerated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegenerateTarget {
    /// This message of the actor. For surfaces without branches: a message on an inactive branch is not found.
    Message(MessageId),
    /// This message, or the one that this answer replies to.
    MessageOrAnswer(MessageId),
}

impl ConversationService {
    /// Requests another reply to a message of the actor. Later messages stay on their branch; without later messages no
    /// branch starts.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` if it is not a message of the user, or for the model; `Conflict` if it is on an inactive branch or
    /// there are too many branches; `Throttled`; those of the log.
    pub async fn regenerate(
        &self,
        request: &RequestContext,
        actor: Actor,
        conversation: ConversationId,
        message: RegenerateTarget,
        reply: ReplyOptions,
    ) -> Result<Sent, AppError> {
        if let Some(sent) = self.repeated_request(request, actor, conversation).await? {
            return Ok(sent);
        }
        self.models.check_model(reply.model.as_deref())?;
        let mut row = match message {
            RegenerateTarget::Message(named) => self.item(actor, conversation, named).await?,
            RegenerateTarget::MessageOrAnswer(named) => self.on_path(actor, conversation, named).await?,
        };
        if let (RegenerateTarget::MessageOrAnswer(_), Entry::Answer { in_reply_to: Some(asker), .. }) =
            (message, &row.entry)
        {
            row = self.on_path(actor, conversation, MessageId::new(*asker)).await?;
        }
        let Entry::Message { model, .. } = &row.entry else {
            return Err(AppError::new(
                Kind::Invalid,
                "not_a_message",
                "You can only regenerate replies to your own messages.",
            ));
        };
        let (at, deadline) = self.now_and_deadline();
        let place = self.place(&row).await?;
        let reply =
            ReplyOptions { model: reply.model.or_else(|| self.models.still_offered(model.clone())), ..reply };
        let partial_texts = self.partial_texts(conversation).await?;
        let command =
            ConversationCommand::Regenerate { by: actor.user, place, partial_texts, reply, at, deadline };
        self.ask(request, actor, conversation, place.message_id, ReplyCommand::of(command)).await
    }

    /// Edits a message of the actor on a new branch and requests a reply. Files, quote and chosen tool of the old message go
    /// with the new one.
    ///
    /// # Errors
    /// As for [`ConversationService::regenerate`], and `Invalid` text.
    pub async fn edit(
        &self,
        request: &RequestContext,
        actor: Actor,
        conversation: ConversationId,
        message: MessageId,
        text: &str,
        reply: ReplyOptions,
    ) -> Result<Sent, AppError> {
        if let Some(sent) = self.repeated_request(request, actor, conversation).await? {
            return Ok(sent);
        }
        self.models.check_model(reply.model.as_deref())?;
        let row = self.on_path(actor, conversation, message).await?;
        let place = self.place(&row).await?;
        let Entry::Message { composed, files, tool_choice, model, .. } = row.entry else {
            return Err(AppError::new(
                Kind::Invalid,
                "not_a_message",
                "You can only edit your own messages.",
            ));
        };
        let parsed = match text {
            "" if !files.is_empty() => MessageText::none(),
            text => MessageText::parse(text)?,
        };
        self.models.check_length(parsed.as_str()).await?;
        let composed = composed.and_then(|composed| composed.quoted).map(|quoted| {
            let parts = vec![Part::Text { text: text.to_owned() }];
            Personal::Known(Composed { parts, quoted: Some(quoted) })
        });
        let files: Vec<_> = files.into_iter().map(Into::into).collect();
        let new = MessageId::new(self.core.clock.id());
        let (at, deadline) = self.now_and_deadline();
        let attached = files.clone();
        let command = ConversationCommand::EditMessage {
            by: actor.user,
            place,
            message_id: new,
            text: Personal::Known(parsed),
            enclosed: MessageContext { files, composed, tool_choice },
            partial_texts: self.partial_texts(conversation).await?,
            reply: ReplyOptions { model: reply.model.or_else(|| self.models.still_offered(model)), ..reply },
            at,
            deadline,
        };
        let beside = move |batch| with_attachments(batch, &attached, actor.user, conversation, new, at);
        self.ask(request, actor, conversation, new, ReplyCommand::with(command, beside)).await
    }

    /// Switches to another branch. Counts towards the user's rate, because everything shown changes; it requests no reply, so
    /// it counts towards no quota.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` while replies are pending; `Throttled`; those of the log.
    pub async fn switch_branch(
        &self,
        request: &RequestContext,
        actor: Actor,
        conversation: ConversationId,
        branch: u32,
    ) -> Result<(Branch, Option<i64>), AppError> {
        let command = ConversationCommand::SwitchBranch { by: actor.user, branch, at: self.core.clock.now() };
        let batch = self
            .core
            .batch(request, actor.user)
            .command::<Conversation>(conversation, command)
            .with_key(request.key_of(actor.user), json!({"conversation_id": conversation}));
        let outcome = self.quotas.run_as_work(request, actor, batch).await?;
        self.core.catch_up(registry::THREAD_MODELS, outcome.position).await;
        let found = self.branches(actor, conversation).await;
        let found = found.map_err(|error| self.core.unseen(error, outcome.position))?;
        let shown = found.into_iter().find(|row| u32::try_from(row.branch) == Ok(branch));
        let row = shown.ok_or_else(|| self.core.unseen(AppError::not_found(), outcome.position))?;
        Ok((row, outcome.position))
    }

    /// Returns the branches of a conversation, oldest first; there is at least one.
    ///
    /// # Errors
    /// `NotFound`; the database's.
    pub async fn branches(
        &self,
        actor: Actor,
        conversation: ConversationId,
    ) -> Result<Vec<Branch>, AppError> {
        let row = self.conversation(actor, conversation).await?;
        let mut branches = branch_queries::branches(&self.core.pool, conversation.uuid()).await?;
        if let Some(first) = branches.first_mut() {
            first.created_at.get_or_insert(row.created_at);
        }
        Ok(branches)
    }

    /// Returns messages of a branch before a position, newest first; one more than `limit` if there are more.
    ///
    /// # Errors
    /// `NotFound` for the conversation or the branch; the database's.
    pub async fn messages_of_branch(
        &self,
        actor: Actor,
        conversation: ConversationId,
        branch: u32,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<MessageRow>, AppError> {
        let user =
            crate::fault_injection::owner_instead_of(self.core.pool.pool(), actor.user, conversation).await?;
        let actor = Actor { user, ..actor };
        let (owner, id, before) = (actor.user.uuid(), conversation.uuid(), before.unwrap_or(i64::MAX));
        let pool = &self.core.pool;
        if branch_queries::is_active(pool, id, branch).await? {
            let page = self.messages(actor, conversation, Some(before), limit).await?;
            // A concurrent switch may have made the page one of another branch.
            if branch_queries::is_active(pool, id, branch).await? {
                return Ok(page);
            }
        }
        let page = branch_queries::page(pool, owner, (id, branch), before, limit + 1).await?;
        if page.is_empty() {
            // Empty, or not visible to this user.
            self.conversation(actor, conversation).await?;
            if !branch_queries::is_known(pool, id, branch).await? {
                return Err(AppError::not_found());
            }
        }
        Ok(page)
    }

    /// Returns the partial texts of the conversation's pending replies, which the user has seen.
    async fn partial_texts(&self, conversation: ConversationId) -> Result<Vec<PartialText>, AppError> {
        let state: Conversation = self.core.executor.state(&conversation.to_string()).await?;
        let begun: Vec<_> =
            state.pending_replies().filter(|open| open.attempt > 0).map(|open| open.reply_id).collect();
        let mut partial_texts = Vec::new();
        // Only one is running; the others are queued.
        for reply_id in begun {
            let text = self.live_replies.text(reply_id).await;
            if let Ok(text) = ReplyText::parse(&text)
                && !text.as_str().trim().is_empty()
            {
                partial_texts.push(PartialText { reply_id, text: Personal::Known(text) });
            }
        }
        Ok(partial_texts)
    }

    /// Returns a visible item on the active branch.
    async fn on_path(
        &self,
        actor: Actor,
        conversation: ConversationId,
        id: MessageId,
    ) -> Result<ThreadRow, AppError> {
        self.conversation(actor, conversation).await?;
        let pool = &self.core.pool;
        let rows = thread::by_ids(pool, conversation.uuid(), &[id.uuid()]).await?;
        if let Some(row) = rows.into_iter().find(|row| !row.is_hidden()) {
            return Ok(row);
        }
        Err(if branch_queries::is_on_inactive_branch(pool, conversation.uuid(), id.uuid()).await? {
            AppError::other_branch()
        } else {
            AppError::not_found()
        })
    }

    /// Returns the place of a message on the active branch.
    async fn place(&self, row: &ThreadRow) -> Result<MessageRef, AppError> {
        let found = branch_queries::place(&self.core.pool, row.conversation_id, row.id).await?;
        let (position, before) = found.ok_or_else(AppError::other_branch)?;
        let before = u32::try_from(before).unwrap_or(u32::MAX);
        Ok(MessageRef { message_id: MessageId::new(row.id), position, before })
    }
}
