//! Branches of a conversation: another reply, an edited message, going from one branch to another, and what stands on each.

use aggregates::Personal;
use aggregates::conversation::{Conversation, ConversationCommand, Place, SoFar};
use aggregates::ids::{ConversationId, MessageId};
use aggregates::values::{MessageText, ReplyText};
use projections::messages::query::MessageRow;
use projections::messages::thread::{self, Entry, ThreadRow};
use projections::messages::tree::{self, BranchRow};
use projections::models;
use serde_json::json;

use super::interactions::Asking;
use super::items::{Composed, Enclosed, Part, WantedReply};
use super::{ConversationService, Sent};
use crate::app::files::attaching;
use crate::app::{Actor, AppError, Kind, RequestContext};

/// A branch of a conversation, as it is shown.
pub type Branch = BranchRow;

/// Which message is to be asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// This message of the actor's. For doors that know of no branches: what stands on another one is not found.
    Message(MessageId),
    /// This one, or the one that this answer answers.
    MessageOrAnswer(MessageId),
}

impl ConversationService {
    /// Asks for another reply to a message of the actor's. What stands after it stays on its branch; where nothing does, no
    /// branch begins.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` when it is no message of a person's, or for the model; `Conflict` when it stands on another branch,
    /// or there are too many; `Throttled`; those of the log.
    pub async fn ask_again(
        &self,
        request: &RequestContext,
        actor: Actor,
        conversation: ConversationId,
        message: Again,
        reply: WantedReply,
    ) -> Result<Sent, AppError> {
        if let Some(sent) = self.asked_before(request, actor, conversation).await? {
            return Ok(sent);
        }
        self.models.check_model(reply.model.as_deref())?;
        let mut row = match message {
            Again::Message(named) => self.item(actor, conversation, named).await?,
            Again::MessageOrAnswer(named) => self.on_path(actor, conversation, named).await?,
        };
        if let (Again::MessageOrAnswer(_), Entry::Answer { in_reply_to: Some(asker), .. }) =
            (message, &row.entry)
        {
            row = self.on_path(actor, conversation, MessageId::new(*asker)).await?;
        }
        let Entry::Message { model, .. } = &row.entry else {
            return Err(AppError::new(
                Kind::Invalid,
                "not_a_message",
                "Only one's own message can be asked again.",
            ));
        };
        let (at, deadline) = self.now_and_deadline();
        let place = self.place(&row).await?;
        let reply =
            WantedReply { model: reply.model.or_else(|| self.models.still_offered(model.clone())), ..reply };
        let so_far = self.so_far(conversation).await?;
        let command = ConversationCommand::AskAgain { by: actor.user, place, so_far, reply, at, deadline };
        self.ask(request, actor, conversation, place.message_id, Asking::of(command)).await
    }

    /// Puts another text in the place of a message of the actor's, on a branch that begins with it, and asks for a reply. What was
    /// sent with the old one, files, a quote, the tool that was chosen, goes with the new one.
    ///
    /// # Errors
    /// As for [`ConversationService::ask_again`], and `Invalid` text.
    pub async fn edit(
        &self,
        request: &RequestContext,
        actor: Actor,
        conversation: ConversationId,
        message: MessageId,
        text: &str,
        reply: WantedReply,
    ) -> Result<Sent, AppError> {
        if let Some(sent) = self.asked_before(request, actor, conversation).await? {
            return Ok(sent);
        }
        self.models.check_model(reply.model.as_deref())?;
        let row = self.on_path(actor, conversation, message).await?;
        let place = self.place(&row).await?;
        let Entry::Message { composed, files, tool_choice, model, .. } = row.entry else {
            return Err(AppError::new(
                Kind::Invalid,
                "not_a_message",
                "Only one's own message can be edited.",
            ));
        };
        let parsed = match text {
            "" if !files.is_empty() => MessageText::none(),
            text => MessageText::parse(text)?,
        };
        self.models.check_room(parsed.as_str()).await?;
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
            enclosed: Enclosed { files, composed, tool_choice },
            so_far: self.so_far(conversation).await?,
            reply: WantedReply { model: reply.model.or_else(|| self.models.still_offered(model)), ..reply },
            at,
            deadline,
        };
        let beside = move |batch| attaching(batch, &attached, actor.user, conversation, new, at);
        self.ask(request, actor, conversation, new, Asking::with(command, beside)).await
    }

    /// Goes on with another branch. Counts like a message among the person's, because all that is shown changes; it asks for no
    /// reply, so no quota counts it.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` while replies are owed; `Throttled`; those of the log.
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
        self.core.catch_up(models::THREAD_MODELS, outcome.position).await;
        let found = self.branches(actor, conversation).await;
        let found = found.map_err(|error| self.core.unseen(error, outcome.position))?;
        let shown = found.into_iter().find(|row| u32::try_from(row.branch) == Ok(branch));
        let row = shown.ok_or_else(|| self.core.unseen(AppError::not_found(), outcome.position))?;
        Ok((row, outcome.position))
    }

    /// The branches of a conversation of the actor's, the oldest first; at least one.
    ///
    /// # Errors
    /// `NotFound`; the database's.
    pub async fn branches(
        &self,
        actor: Actor,
        conversation: ConversationId,
    ) -> Result<Vec<Branch>, AppError> {
        let row = self.conversation(actor, conversation).await?;
        let mut branches = tree::branches(&self.core.pool, conversation.uuid()).await?;
        if let Some(first) = branches.first_mut() {
            first.created_at.get_or_insert(row.created_at);
        }
        Ok(branches)
    }

    /// Messages on the path of a branch before a position, newest first; one more than `limit` when there are more.
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
        if tree::is_active(pool, id, branch).await? {
            let page = self.messages(actor, conversation, Some(before), limit).await?;
            // Somebody may have switched to another one meanwhile, and the page be of that.
            if tree::is_active(pool, id, branch).await? {
                return Ok(page);
            }
        }
        let page = tree::page(pool, owner, (id, branch), before, limit + 1).await?;
        if page.is_empty() {
            // Nothing there, or nothing that this person may know of.
            self.conversation(actor, conversation).await?;
            if !tree::is_known(pool, id, branch).await? {
                return Err(AppError::not_found());
            }
        }
        Ok(page)
    }

    /// What has been written of the replies that a conversation owes: whoever asks for something else has read it.
    async fn so_far(&self, conversation: ConversationId) -> Result<Vec<SoFar>, AppError> {
        let state: Conversation = self.core.executor.state(&conversation.to_string()).await?;
        let begun: Vec<_> = state.owed().filter(|open| open.attempt > 0).map(|open| open.reply_id).collect();
        let mut so_far = Vec::new();
        // One is written at a time; the others wait.
        for reply_id in begun {
            let text = self.hub.text(reply_id).await;
            if let Ok(text) = ReplyText::parse(&text)
                && !text.as_str().trim().is_empty()
            {
                so_far.push(SoFar { reply_id, text: Personal::Known(text) });
            }
        }
        Ok(so_far)
    }

    /// Something that stands on the path of the active branch.
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
        Err(if tree::stands_elsewhere(pool, conversation.uuid(), id.uuid()).await? {
            AppError::other_branch()
        } else {
            AppError::not_found()
        })
    }

    /// Where a message stands.
    async fn place(&self, row: &ThreadRow) -> Result<Place, AppError> {
        let found = tree::place(&self.core.pool, row.conversation_id, row.id).await?;
        let (position, before) = found.ok_or_else(AppError::other_branch)?;
        let before = u32::try_from(before).unwrap_or(u32::MAX);
        Ok(Place { message_id: MessageId::new(row.id), position, before })
    }
}
