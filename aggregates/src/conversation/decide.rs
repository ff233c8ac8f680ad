//! Decisions of a conversation: one command against one state.
//!
//! The checks have the same order everywhere: does it exist, may this user, is it so already, is it deleted, is it allowed.
//! Another user learns nothing from the order, and a repeated command is never rejected for what it did itself.

use chrono::{DateTime, Utc};

use super::aggregate::ConversationState;
use super::{
    Conversation, ConversationCommand as Command, ConversationError as Error, ConversationEvent as Event,
    EventBody, ItemEvent, LifecycleEvent, MessageContext, MessageEvent, PendingReply, ReplyEnding,
    ReplyEvent, ReplyItem, ReplyOptions, ReplyState, SettingsEvent,
};
use crate::ids::{MessageId, ReplyId, UserId};
use crate::personal::Personal;
use crate::values::{MessageText, ReplyText};

/// Maximum number of pending replies, including the one that is being worked on.
pub const MAX_PENDING_REPLIES: usize = 8;

pub(super) type Decision = Result<Vec<Event>, Error>;

/// Returns the events that `command` leads to in `state`. Pure: equal arguments give equal results.
///
/// A repeated command returns no events, except [`Command::Rename`] and [`Command::GiveFeedback`]: the state has nothing to
/// compare them with, so each is recorded. Idempotency keys make a request count once.
///
/// # Errors
/// Returns the rejection if the command is not allowed in this state.
pub fn decide(state: &Conversation, command: Command) -> Decision {
    let conversation = state.started();
    if let Command::Start { id, by, title, at } = command {
        let Some(conversation) = conversation else {
            let body = LifecycleEvent::ConversationStarted { title }.into();
            return Ok(vec![Event { conversation_id: id, owner: by, at, body }]);
        };
        conversation.require_active_owner(by)?;
        return if conversation.id == id { Ok(Vec::new()) } else { Err(Error::AlreadyStarted) };
    }
    let conversation = conversation.ok_or(Error::NotStarted)?;
    match command {
        // Handled above.
        Command::Start { .. } => Ok(Vec::new()),
        Command::Rename { by, title, at } => {
            conversation.require_active_owner(by)?;
            Ok(vec![conversation.event(SettingsEvent::ConversationRenamed { title }, at)])
        }
        Command::SetPinned { by, pinned, at } => {
            conversation.require_active_owner(by)?;
            Ok(match (conversation.settings.pinned, pinned) {
                (false, true) => vec![conversation.event(SettingsEvent::ConversationPinned {}, at)],
                (true, false) => vec![conversation.event(SettingsEvent::ConversationUnpinned {}, at)],
                (true, true) | (false, false) => Vec::new(),
            })
        }
        Command::SetArchived { by, archived, at } => {
            conversation.require_active_owner(by)?;
            Ok(match (conversation.settings.archived, archived) {
                (false, true) => vec![conversation.event(SettingsEvent::ConversationArchived {}, at)],
                (true, false) => vec![conversation.event(SettingsEvent::ConversationUnarchived {}, at)],
                (true, true) | (false, false) => Vec::new(),
            })
        }
        Command::MarkRead { by, message_id, message_position, at } => {
            conversation.require_active_owner(by)?;
            if message_position <= conversation.read_to {
                return Ok(Vec::new());
            }
            Ok(vec![conversation.event(MessageEvent::ConversationRead { message_id, message_position }, at)])
        }
        Command::Delete { by, at } => conversation.delete(by, at),
        Command::Send { message_id, by, text, enclosed, reply, at, deadline } => {
            conversation.send(message_id, by, text, enclosed, reply.map(|wanted| (wanted, deadline)), at)
        }
        Command::BeginReply { reply_id, attempt, plan, at } => {
            let open = conversation.pending_reply(reply_id, |_, _| false)?.ok_or(Error::ReplyEnded)?;
            if conversation.queue.front().is_none_or(|first| first.reply_id != reply_id) {
                return Err(Error::NotYourTurn);
            }
            if open.attempt == attempt && open.worker.as_ref() == Some(&plan.worker) {
                return Ok(Vec::new());
            }
            if open.attempt.checked_add(1) != Some(attempt) {
                return Err(Error::StaleAttempt { current: open.attempt });
            }
            Ok(vec![conversation.reply_event(open, ReplyEvent::ReplyBegun { attempt, plan }, at)])
        }
        Command::RetryReply { reply_id, attempt, reason, not_before, at } => {
            let open = conversation.pending_reply(reply_id, |_, _| false)?.ok_or(Error::ReplyEnded)?;
            if attempt == 0 || open.attempt != attempt {
                return Err(Error::StaleAttempt { current: open.attempt });
            }
            if open.worker.is_none() {
                return Ok(Vec::new());
            }
            let failed = ReplyEvent::ReplyAttemptFailed { attempt, reason, not_before };
            Ok(vec![conversation.reply_event(open, failed, at)])
        }
        Command::RecordReply {
            reply_id,
            attempt,
            text,
            items,
            finish,
            usage,
            timings,
            model,
            provider_reply_id,
            at,
        } => {
            let same = |ending, last| ending == ReplyEnding::Completed && last == attempt;
            let Some(open) = conversation.pending_reply(reply_id, same)? else { return Ok(Vec::new()) };
            // A failed attempt is over even if no other has begun: its answer is too late.
            if open.attempt != attempt || open.worker.is_none() {
                return Err(Error::StaleAttempt { current: open.attempt });
            }
            conversation.require_unused_ids(&items)?;
            let completed = ReplyEvent::ReplyCompleted {
                answer_id: MessageId::answering(reply_id),
                attempt,
                text,
                items: items.iter().map(ReplyItem::item_id).collect(),
                finish,
                usage,
                timings,
                model,
                provider_reply_id,
            };
            let mut events = vec![conversation.reply_event(open, completed, at)];
            events.extend(items.into_iter().filter_map(|item| conversation.item_event(reply_id, item, at)));
            Ok(events)
        }
        Command::FailReply { reply_id, attempt, reason, text, at } => {
            let same =
                |ending, last| ending == ReplyEnding::Failed && attempt.is_none_or(|attempt| attempt == last);
            let Some(open) = conversation.pending_reply(reply_id, same)? else { return Ok(Vec::new()) };
            if attempt.is_some_and(|attempt| attempt != open.attempt) {
                return Err(Error::StaleAttempt { current: open.attempt });
            }
            let failed = ReplyEvent::ReplyFailed { attempt: open.attempt, reason, text };
            Ok(vec![conversation.reply_event(open, failed, at)])
        }
        Command::CancelReply { reply_id, by, text, note, at } => {
            conversation.require_owner(by)?;
            let same = |ending, _| ending == ReplyEnding::Cancelled;
            let Some(open) = conversation.pending_reply(reply_id, same)? else { return Ok(Vec::new()) };
            let mut events = vec![conversation.cancelled(open, text, at)];
            // If a later message was edited meanwhile, the note would be read as a remark on the answer to the edited message.
            let told = conversation.is_on_active_branch_or_last(open.message_id);
            let note = note.filter(|(item_id, _)| told && conversation.entry(*item_id).is_none());
            events.extend(
                note.map(|(item_id, note)| conversation.event(ItemEvent::NoteAdded { item_id, note }, at)),
            );
            Ok(events)
        }
        Command::Regenerate { by, place, partial_texts, reply, at, deadline } => {
            conversation.regenerate(by, place, partial_texts, (reply, deadline), at)
        }
        Command::EditMessage {
            by,
            place,
            message_id,
            text,
            enclosed,
            partial_texts,
            reply,
            at,
            deadline,
        } => conversation.edit(by, place, (message_id, text, enclosed), partial_texts, (reply, deadline), at),
        Command::SwitchBranch { by, branch, at } => conversation.switch(by, branch, at),
        Command::AnswerClientTool { by, item_id, output, reply, at, deadline } => {
            conversation.answer_client_tool(by, item_id, output, (reply, deadline), at)
        }
        Command::AnswerInput { by, item_id, skipped, answers, reply, at, deadline } => {
            conversation.answer_input(by, item_id, (skipped, answers), (reply, deadline), at)
        }
        Command::AddNote { by, item_id, note, at } => {
            conversation.require_active_owner(by)?;
            if conversation.entry(item_id).is_some() {
                return Ok(Vec::new());
            }
            Ok(vec![conversation.event(ItemEvent::NoteAdded { item_id, note }, at)])
        }
        Command::GiveFeedback { by, item_ids, verdict, at } => {
            conversation.require_active_owner(by)?;
            if item_ids.is_empty() {
                return Ok(Vec::new());
            }
            Ok(vec![conversation.event(MessageEvent::FeedbackGiven { item_ids, verdict }, at)])
        }
        Command::SuggestTitle { title, at } => {
            conversation.require_active_owner(conversation.owner)?;
            if conversation.settings.titled {
                return Ok(Vec::new());
            }
            Ok(vec![conversation.event(SettingsEvent::ConversationRenamed { title }, at)])
        }
    }
}

impl ConversationState {
    /// Returns an event of this conversation.
    pub(super) fn event(&self, body: impl Into<EventBody>, at: DateTime<Utc>) -> Event {
        Event { conversation_id: self.id, owner: self.owner, at, body: body.into() }
    }

    /// Returns an event of a pending reply.
    fn reply_event(&self, reply: &PendingReply, event: ReplyEvent, at: DateTime<Utc>) -> Event {
        let (message_id, reply_id) = (reply.message_id, reply.reply_id);
        self.event(EventBody::Reply { message_id, reply_id, event }, at)
    }

    fn require_owner(&self, person: UserId) -> Result<(), Error> {
        if self.owner == person { Ok(()) } else { Err(Error::NotOwner) }
    }

    pub(super) fn require_active_owner(&self, person: UserId) -> Result<(), Error> {
        self.require_owner(person)?;
        if self.deleted { Err(Error::Deleted) } else { Ok(()) }
    }

    /// Returns the reply if it is pending, or `None` if it has already ended as `same` accepts.
    fn pending_reply(
        &self,
        reply_id: ReplyId,
        same: impl FnOnce(ReplyEnding, u32) -> bool,
    ) -> Result<Option<&PendingReply>, Error> {
        let state = self.replies.get(&reply_id).map(|entry| entry.state);
        if let Some(ReplyState::Ended { ending, attempt }) = state
            && same(ending, attempt)
        {
            return Ok(None);
        }
        if self.deleted {
            return Err(Error::Deleted);
        }
        match state {
            None | Some(ReplyState::NotAsked) => Err(Error::UnknownReply),
            Some(ReplyState::Ended { .. }) => Err(Error::ReplyEnded),
            Some(ReplyState::Open) => {
                let open = self.queue.iter().find(|open| open.reply_id == reply_id);
                open.map(Some).ok_or(Error::UnknownReply)
            }
        }
    }

    pub(super) fn cancelled(
        &self,
        open: &PendingReply,
        text: Option<Personal<ReplyText>>,
        at: DateTime<Utc>,
    ) -> Event {
        self.reply_event(open, ReplyEvent::ReplyCancelled { attempt: open.attempt, text }, at)
    }

    fn delete(&self, by: UserId, at: DateTime<Utc>) -> Decision {
        self.require_owner(by)?;
        if self.deleted {
            return Ok(Vec::new());
        }
        // Cancel pending replies first: nothing may be pending after the deletion.
        let mut events: Vec<Event> = self.queue.iter().map(|open| self.cancelled(open, None, at)).collect();
        events.push(self.event(LifecycleEvent::ConversationDeleted {}, at));
        Ok(events)
    }

    fn send(
        &self,
        message_id: MessageId,
        by: UserId,
        text: Personal<MessageText>,
        enclosed: MessageContext,
        reply: Option<(ReplyOptions, DateTime<Utc>)>,
        at: DateTime<Utc>,
    ) -> Decision {
        self.require_active_owner(by)?;
        if let Some(known) = self.entry(message_id) {
            // The state holds no text, so the same id counts as the same message if the rest agrees.
            let asked = known.rounds > 0 || known.state != ReplyState::NotAsked;
            let same = !known.item && asked == reply.is_some();
            return if same { Ok(Vec::new()) } else { Err(Error::MessageIdTaken) };
        }
        if message_id.is_derived() {
            return Err(Error::MessageIdTaken);
        }
        let mut events = vec![self.event(MessageEvent::MessageSent { message_id, text, enclosed }, at)];
        if let Some(wanted) = reply {
            events.push(self.request(message_id, ReplyId::of(message_id), wanted, at)?);
        }
        Ok(events)
    }

    /// Returns the request for a reply, unless too many replies are pending.
    pub(super) fn request(
        &self,
        message_id: MessageId,
        reply_id: ReplyId,
        wanted: (ReplyOptions, DateTime<Utc>),
        at: DateTime<Utc>,
    ) -> Result<Event, Error> {
        if self.queue.len() >= MAX_PENDING_REPLIES {
            return Err(Error::TooManyReplies { limit: MAX_PENDING_REPLIES });
        }
        Ok(self.request_event(message_id, reply_id, wanted, at))
    }

    pub(super) fn request_event(
        &self,
        message_id: MessageId,
        reply_id: ReplyId,
        (wanted, deadline): (ReplyOptions, DateTime<Utc>),
        at: DateTime<Utc>,
    ) -> Event {
        let ReplyOptions { model, interactive } = wanted;
        let event = ReplyEvent::ReplyRequested { model, interactive, deadline };
        self.event(EventBody::Reply { message_id, reply_id, event }, at)
    }
}
