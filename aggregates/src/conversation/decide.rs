//! The decisions of a conversation: one command against one state.
//!
//! The order of the questions is the same everywhere: does it exist, may this person, is it already so, is it
//! deleted, is it allowed. Somebody else learns nothing from the order, and a repeated command is never refused for
//! what it did itself.

use chrono::{DateTime, Utc};

use super::aggregate::Started;
use super::{
    Brought, Conversation, ConversationCommand as Command, ConversationError as Error,
    ConversationEvent as Event, Enclosed, EventBody, ItemEvent, LifecycleEvent, MessageEvent, OpenReply,
    ReplyEnding, ReplyEvent, ReplyState, SettingsEvent, WantedReply,
};
use crate::ids::{MessageId, ReplyId, UserId};
use crate::personal::Personal;
use crate::values::{MessageText, ReplyText};

/// How many replies may be owed at a time: the one worked on and those waiting for their turn.
pub const MAX_WAITING: usize = 8;

pub(super) type Decision = Result<Vec<Event>, Error>;

/// What `command` leads to in `state`. Pure: the same arguments give the same answer.
///
/// A repeated command gives no events, except [`Command::Rename`] and [`Command::GiveFeedback`]: the state keeps nothing to
/// compare them with, so each one is recorded; that a request counts once is the business of its idempotency key.
///
/// # Errors
/// The refusal, when the command is not allowed now.
pub fn decide(state: &Conversation, command: Command) -> Decision {
    let started = state.started();
    if let Command::Start { id, by, title, at } = command {
        let Some(started) = started else {
            let body = LifecycleEvent::ConversationStarted { title }.into();
            return Ok(vec![Event { conversation_id: id, owner: by, at, body }]);
        };
        started.alive_for(by)?;
        return if started.id == id { Ok(Vec::new()) } else { Err(Error::AlreadyStarted) };
    }
    let started = started.ok_or(Error::NotStarted)?;
    match command {
        // Answered above.
        Command::Start { .. } => Ok(Vec::new()),
        Command::Rename { by, title, at } => {
            started.alive_for(by)?;
            Ok(vec![started.event(SettingsEvent::ConversationRenamed { title }, at)])
        }
        Command::SetPinned { by, pinned, at } => {
            started.alive_for(by)?;
            Ok(match (started.settings.pinned, pinned) {
                (false, true) => vec![started.event(SettingsEvent::ConversationPinned {}, at)],
                (true, false) => vec![started.event(SettingsEvent::ConversationUnpinned {}, at)],
                (true, true) | (false, false) => Vec::new(),
            })
        }
        Command::SetArchived { by, archived, at } => {
            started.alive_for(by)?;
            Ok(match (started.settings.archived, archived) {
                (false, true) => vec![started.event(SettingsEvent::ConversationArchived {}, at)],
                (true, false) => vec![started.event(SettingsEvent::ConversationUnarchived {}, at)],
                (true, true) | (false, false) => Vec::new(),
            })
        }
        Command::MarkRead { by, message_id, message_position, at } => {
            started.alive_for(by)?;
            if message_position <= started.read_to {
                return Ok(Vec::new());
            }
            Ok(vec![started.event(MessageEvent::ConversationRead { message_id, message_position }, at)])
        }
        Command::Delete { by, at } => started.delete(by, at),
        Command::Send { message_id, by, text, enclosed, reply, at, deadline } => {
            started.send(message_id, by, text, enclosed, reply.map(|wanted| (wanted, deadline)), at)
        }
        Command::BeginReply { reply_id, attempt, plan, at } => {
            let open = started.owed(reply_id, |_, _| false)?.ok_or(Error::ReplyEnded)?;
            if started.queue.front().is_none_or(|first| first.reply_id != reply_id) {
                return Err(Error::NotYourTurn);
            }
            if open.attempt == attempt && open.worker.as_ref() == Some(&plan.worker) {
                return Ok(Vec::new());
            }
            if open.attempt.checked_add(1) != Some(attempt) {
                return Err(Error::StaleAttempt { current: open.attempt });
            }
            Ok(vec![started.reply_event(open, ReplyEvent::ReplyBegun { attempt, plan }, at)])
        }
        Command::RetryReply { reply_id, attempt, reason, not_before, at } => {
            let open = started.owed(reply_id, |_, _| false)?.ok_or(Error::ReplyEnded)?;
            if attempt == 0 || open.attempt != attempt {
                return Err(Error::StaleAttempt { current: open.attempt });
            }
            if open.worker.is_none() {
                return Ok(Vec::new());
            }
            let failed = ReplyEvent::ReplyAttemptFailed { attempt, reason, not_before };
            Ok(vec![started.reply_event(open, failed, at)])
        }
        Command::RecordReply {
            reply_id,
            attempt,
            text,
            brought,
            finish,
            usage,
            timings,
            model,
            provider_reply_id,
            at,
        } => {
            let same = |ending, last| ending == ReplyEnding::Completed && last == attempt;
            let Some(open) = started.owed(reply_id, same)? else { return Ok(Vec::new()) };
            // An attempt noted as failed is over, even while no other has begun: its answer comes too late.
            if open.attempt != attempt || open.worker.is_none() {
                return Err(Error::StaleAttempt { current: open.attempt });
            }
            started.free(&brought)?;
            let completed = ReplyEvent::ReplyCompleted {
                answer_id: MessageId::answering(reply_id),
                attempt,
                text,
                items: brought.iter().map(Brought::item_id).collect(),
                finish,
                usage,
                timings,
                model,
                provider_reply_id,
            };
            let mut events = vec![started.reply_event(open, completed, at)];
            events.extend(brought.into_iter().filter_map(|item| started.bring(reply_id, item, at)));
            Ok(events)
        }
        Command::FailReply { reply_id, attempt, reason, text, at } => {
            let same =
                |ending, last| ending == ReplyEnding::Failed && attempt.is_none_or(|attempt| attempt == last);
            let Some(open) = started.owed(reply_id, same)? else { return Ok(Vec::new()) };
            if attempt.is_some_and(|attempt| attempt != open.attempt) {
                return Err(Error::StaleAttempt { current: open.attempt });
            }
            let failed = ReplyEvent::ReplyFailed { attempt: open.attempt, reason, text };
            Ok(vec![started.reply_event(open, failed, at)])
        }
        Command::CancelReply { reply_id, by, text, note, at } => {
            started.owned_by(by)?;
            let same = |ending, _| ending == ReplyEnding::Cancelled;
            let Some(open) = started.owed(reply_id, same)? else { return Ok(Vec::new()) };
            let mut events = vec![started.cancelled(open, text, at)];
            // Where a message was edited meanwhile that came after this one, the note would say of the new one's answer what
            // was said of this one's.
            let told = started.ends_or_goes_on(open.message_id);
            let note = note.filter(|(item_id, _)| told && started.entry(*item_id).is_none());
            events.extend(
                note.map(|(item_id, note)| started.event(ItemEvent::NoteAdded { item_id, note }, at)),
            );
            Ok(events)
        }
        Command::AskAgain { by, place, so_far, reply, at, deadline } => {
            started.ask_again(by, place, so_far, (reply, deadline), at)
        }
        Command::EditMessage { by, place, message_id, text, enclosed, so_far, reply, at, deadline } => {
            started.edit(by, place, (message_id, text, enclosed), so_far, (reply, deadline), at)
        }
        Command::SwitchBranch { by, branch, at } => started.switch(by, branch, at),
        Command::AnswerClientTool { by, item_id, output, reply, at, deadline } => {
            started.answer_client_tool(by, item_id, output, (reply, deadline), at)
        }
        Command::AnswerInput { by, item_id, skipped, answers, reply, at, deadline } => {
            started.answer_input(by, item_id, (skipped, answers), (reply, deadline), at)
        }
        Command::AddNote { by, item_id, note, at } => {
            started.alive_for(by)?;
            if started.entry(item_id).is_some() {
                return Ok(Vec::new());
            }
            Ok(vec![started.event(ItemEvent::NoteAdded { item_id, note }, at)])
        }
        Command::GiveFeedback { by, item_ids, verdict, at } => {
            started.alive_for(by)?;
            if item_ids.is_empty() {
                return Ok(Vec::new());
            }
            Ok(vec![started.event(MessageEvent::FeedbackGiven { item_ids, verdict }, at)])
        }
        Command::SuggestTitle { title, at } => {
            started.alive_for(started.owner)?;
            if started.settings.titled {
                return Ok(Vec::new());
            }
            Ok(vec![started.event(SettingsEvent::ConversationRenamed { title }, at)])
        }
    }
}

impl Started {
    /// Makes an event of this conversation.
    pub(super) fn event(&self, body: impl Into<EventBody>, at: DateTime<Utc>) -> Event {
        Event { conversation_id: self.id, owner: self.owner, at, body: body.into() }
    }

    /// Makes an event of a pending reply.
    fn reply_event(&self, reply: &OpenReply, event: ReplyEvent, at: DateTime<Utc>) -> Event {
        let (message_id, reply_id) = (reply.message_id, reply.reply_id);
        self.event(EventBody::Reply { message_id, reply_id, event }, at)
    }

    fn owned_by(&self, person: UserId) -> Result<(), Error> {
        if self.owner == person { Ok(()) } else { Err(Error::NotOwner) }
    }

    pub(super) fn alive_for(&self, person: UserId) -> Result<(), Error> {
        self.owned_by(person)?;
        if self.deleted { Err(Error::Deleted) } else { Ok(()) }
    }

    /// The reply if it is still owed, or none if it has already ended in the way that `same` recognises.
    fn owed(
        &self,
        reply_id: ReplyId,
        same: impl FnOnce(ReplyEnding, u32) -> bool,
    ) -> Result<Option<&OpenReply>, Error> {
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
        open: &OpenReply,
        text: Option<Personal<ReplyText>>,
        at: DateTime<Utc>,
    ) -> Event {
        self.reply_event(open, ReplyEvent::ReplyCancelled { attempt: open.attempt, text }, at)
    }

    fn delete(&self, by: UserId, at: DateTime<Utc>) -> Decision {
        self.owned_by(by)?;
        if self.deleted {
            return Ok(Vec::new());
        }
        // First the ends of what is owed: after the deletion nothing may be pending.
        let mut events: Vec<Event> = self.queue.iter().map(|open| self.cancelled(open, None, at)).collect();
        events.push(self.event(LifecycleEvent::ConversationDeleted {}, at));
        Ok(events)
    }

    fn send(
        &self,
        message_id: MessageId,
        by: UserId,
        text: Personal<MessageText>,
        enclosed: Enclosed,
        reply: Option<(WantedReply, DateTime<Utc>)>,
        at: DateTime<Utc>,
    ) -> Decision {
        self.alive_for(by)?;
        if let Some(known) = self.entry(message_id) {
            // The text is not kept here, so the same id is the same message, as far as the rest agrees.
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

    /// The request for a reply, if not too many are owed.
    pub(super) fn request(
        &self,
        message_id: MessageId,
        reply_id: ReplyId,
        wanted: (WantedReply, DateTime<Utc>),
        at: DateTime<Utc>,
    ) -> Result<Event, Error> {
        if self.queue.len() >= MAX_WAITING {
            return Err(Error::TooManyWaiting { limit: MAX_WAITING });
        }
        Ok(self.requested_event(message_id, reply_id, wanted, at))
    }

    pub(super) fn requested_event(
        &self,
        message_id: MessageId,
        reply_id: ReplyId,
        (wanted, deadline): (WantedReply, DateTime<Utc>),
        at: DateTime<Utc>,
    ) -> Event {
        let WantedReply { model, interactive } = wanted;
        let event = ReplyEvent::ReplyRequested { model, interactive, deadline };
        self.event(EventBody::Reply { message_id, reply_id, event }, at)
    }
}
