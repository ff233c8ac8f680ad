//! The branches of a conversation: what stands on which, and the decisions to begin another one or to go to one.
//!
//! Branch 0 is the first. Every other one forks from a branch: it shares what stands there before its fork, and has of its own
//! what was recorded while it was the active one. Nothing is ever taken off a branch.

use chrono::{DateTime, Utc};
use rpds::VectorSync;
use serde::{Deserialize, Serialize};

use super::aggregate::{Entry, Started};
use super::decide::Decision;
use super::{
    BranchEvent, ConversationError as Error, ConversationEvent as Event, Enclosed, EventBody, MessageEvent,
    Place, ReplyEvent, ReplyState, SoFar, WantedReply,
};
use crate::ids::{MessageId, ReplyId, UserId};
use crate::personal::Personal;
use crate::values::MessageText;

/// How many branches a conversation may have.
pub const MAX_BRANCHES: usize = 1_000;

/// A reply that is wished for, and until when it must have ended.
type Wanted = (WantedReply, DateTime<Utc>);

/// The branches, and which of them is active. Clones share them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Branches {
    all: VectorSync<Branch>,
    active: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Branch {
    /// What it forks from; the first one from itself.
    from: Fork,
    /// Number of the message or item that it begins with; none as long as nothing, or something else, stands there.
    first: Option<u32>,
    /// Number of its newest message or item.
    newest: Option<u32>,
    /// Whether something else stands behind that: an answer, a widget.
    followed: bool,
}

/// Where a branch forks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fork {
    /// The branch it forks from.
    parent: u32,
    /// It shares what has a number below this.
    kept: u32,
    /// It shares what stands up to this position in the log.
    position: i64,
}

impl Default for Branches {
    fn default() -> Self {
        let mut all = VectorSync::new_sync();
        let from = Fork { parent: 0, kept: 0, position: 0 };
        all.push_back_mut(Branch { from, first: None, newest: None, followed: false });
        Self { all, active: 0 }
    }
}

impl Branches {
    pub(super) const fn active(&self) -> u32 {
        self.active
    }

    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    /// The number that the next branch gets.
    fn next(&self) -> u32 {
        u32::try_from(self.all.len()).unwrap_or(u32::MAX)
    }

    fn get(&self, branch: u32) -> Option<&Branch> {
        usize::try_from(branch).ok().and_then(|index| self.all.get(index))
    }

    /// Whether what has that number and stands on that branch of its own is on the path of the active one.
    pub(super) fn shows(&self, branch: u32, number: u32) -> bool {
        let (mut at, mut kept) = (self.active, u32::MAX);
        loop {
            if at == branch {
                return number < kept;
            }
            // A branch forks from an older one, so this comes to an end.
            let Some(here) = self.get(at).filter(|_| at != 0) else { return false };
            kept = kept.min(here.from.kept);
            at = here.from.parent;
        }
    }

    /// Whether nothing stands on the active path behind the message or item with that number.
    pub(super) fn ends_with(&self, number: u32) -> bool {
        self.get(self.active).is_some_and(|branch| {
            // Right after its fork a branch ends with what it shares.
            let newest = branch.newest.or(branch.from.kept.checked_sub(1));
            newest == Some(number) && !branch.followed
        })
    }

    fn change(&mut self, change: impl FnOnce(&mut Branch)) {
        let active = self.active;
        if let Some(mut branch) = self.get(active).copied() {
            change(&mut branch);
            self.all.set_mut(usize::try_from(active).unwrap_or(usize::MAX), branch);
        }
    }

    /// A message or item came.
    pub(super) fn enter(&mut self, number: u32) {
        self.change(|branch| {
            if branch.newest.is_none() && !branch.followed {
                branch.first = Some(number);
            }
            branch.newest = Some(number);
            branch.followed = false;
        });
    }

    /// Something else came.
    pub(super) fn follow(&mut self) {
        self.change(|branch| branch.followed = true);
    }

    /// Another branch begins, and is the active one.
    pub(super) fn begin(&mut self, from: Fork) {
        let next = self.next();
        self.all.push_back_mut(Branch { from, first: None, newest: None, followed: false });
        self.active = next;
    }

    /// Goes to a branch.
    pub(super) const fn go_to(&mut self, branch: u32) {
        self.active = branch;
    }

    /// The fork behind a message.
    pub(super) const fn behind(message: Entry, position: i64) -> Fork {
        Fork { parent: message.branch, kept: message.number.saturating_add(1), position }
    }

    /// The fork before a message. Where a branch begins with it, that is the fork of this branch: the new one stands beside it.
    pub(super) fn before(&self, message: Entry, position: i64) -> Fork {
        match self.get(message.branch) {
            Some(branch) if message.branch != 0 && branch.first == Some(message.number) => branch.from,
            _ => Fork { parent: message.branch, kept: message.number, position: position.saturating_sub(1) },
        }
    }

    /// About how much memory they take.
    pub(super) fn approximate_bytes(&self) -> usize {
        // A leaf of the tree is shared, with its counters.
        self.all.len() * (size_of::<Branch>() + 3 * size_of::<usize>())
    }
}

impl Started {
    /// A person's message on the active path.
    fn shown_message(&self, message: MessageId) -> Result<Entry, Error> {
        let entry = self.entry(message).filter(|entry| !entry.item).ok_or(Error::UnknownItem)?;
        if self.is_shown(entry) { Ok(entry) } else { Err(Error::OtherBranch) }
    }

    /// Whether a message or item stands on the active branch itself, or is the last one on its path.
    pub(super) fn ends_or_goes_on(&self, asker: MessageId) -> bool {
        self.entry(asker).is_some_and(|entry| {
            entry.branch == self.branches.active() || self.branches.ends_with(entry.number)
        })
    }

    /// Another reply to a message. What stands behind it stays on its branch, and so does what had come of replies that are owed.
    pub(super) fn ask_again(
        &self,
        by: UserId,
        place: Place,
        so_far: Vec<SoFar>,
        wanted: Wanted,
        at: DateTime<Utc>,
    ) -> Decision {
        self.alive_for(by)?;
        let Place { message_id, position, before } = place;
        let entry = self.shown_message(message_id)?;
        let newest = self.branches.ends_with(entry.number);
        let latest = ReplyId::again(message_id, entry.rounds);
        if newest && self.queue.iter().any(|open| open.reply_id == latest && open.attempt == 0) {
            return Ok(Vec::new());
        }
        let mut events = self.cancel_from(entry.number, so_far, at)?;
        let said = events.iter().any(|event| {
            matches!(
                event.body,
                EventBody::Reply { event: ReplyEvent::ReplyCancelled { text: Some(_), .. }, .. }
            )
        });
        if !newest || said {
            let from = Branches::behind(entry, position);
            let messages = before.saturating_add(1);
            events.push(self.begun(from, message_id, false, messages, at)?);
        }
        let asked = entry.rounds > 0 || entry.state != ReplyState::NotAsked;
        let round = if asked { entry.rounds.saturating_add(1) } else { 0 };
        events.push(self.requested_event(message_id, ReplyId::again(message_id, round), wanted, at));
        Ok(events)
    }

    /// Another message in the place of one, and a reply to it. The old one stays on its branch, with all behind it.
    pub(super) fn edit(
        &self,
        by: UserId,
        place: Place,
        (message_id, text, enclosed): (MessageId, Personal<MessageText>, Enclosed),
        so_far: Vec<SoFar>,
        wanted: Wanted,
        at: DateTime<Utc>,
    ) -> Decision {
        self.alive_for(by)?;
        if let Some(known) = self.entry(message_id) {
            // The text is not kept here, so the same id is the same message.
            let asked = known.rounds > 0 || known.state != ReplyState::NotAsked;
            return if !known.item && asked { Ok(Vec::new()) } else { Err(Error::MessageIdTaken) };
        }
        if message_id.is_derived() {
            return Err(Error::MessageIdTaken);
        }
        let entry = self.shown_message(place.message_id)?;
        let mut events = self.cancel_from(entry.number, so_far, at)?;
        let from = self.branches.before(entry, place.position);
        events.push(self.begun(from, place.message_id, true, place.before, at)?);
        events.push(self.event(MessageEvent::MessageSent { message_id, text, enclosed }, at));
        events.push(self.requested_event(message_id, ReplyId::of(message_id), wanted, at));
        Ok(events)
    }

    /// Goes on with another branch, as it is.
    pub(super) fn switch(&self, by: UserId, branch: u32, at: DateTime<Utc>) -> Decision {
        self.alive_for(by)?;
        self.branches.get(branch).ok_or(Error::UnknownBranch)?;
        if branch == self.branches.active() {
            return Ok(Vec::new());
        }
        // What is owed would be recorded on a branch where nobody asked for it.
        if !self.queue.is_empty() {
            return Err(Error::RepliesOwed);
        }
        Ok(vec![self.event(BranchEvent::BranchSwitched { branch }, at)])
    }

    /// The ends of what is owed to the message with that number and to what stands behind it, each with what had come of it, if
    /// there is room for a reply then.
    fn cancel_from(&self, number: u32, mut so_far: Vec<SoFar>, at: DateTime<Utc>) -> Decision {
        let of = |asker: MessageId| self.entry(asker).map_or(0, |entry| entry.number);
        let (after, before): (Vec<_>, Vec<_>) =
            self.queue.iter().partition(|open| of(open.message_id) >= number);
        if before.len() >= super::MAX_WAITING {
            return Err(Error::TooManyWaiting { limit: super::MAX_WAITING });
        }
        let mut text = |reply_id: ReplyId| {
            let found = so_far.iter().position(|so_far| so_far.reply_id == reply_id)?;
            Some(so_far.swap_remove(found).text)
        };
        Ok(after.into_iter().map(|open| self.cancelled(open, text(open.reply_id), at)).collect())
    }

    fn begun(
        &self,
        from: Fork,
        message_id: MessageId,
        edited: bool,
        messages: u32,
        at: DateTime<Utc>,
    ) -> Result<Event, Error> {
        if self.branches.count() >= MAX_BRANCHES {
            return Err(Error::TooManyBranches { limit: MAX_BRANCHES });
        }
        let begun = BranchEvent::BranchBegun {
            branch: self.branches.next(),
            parent: from.parent,
            message_id,
            edited,
            fork_position: from.position,
            messages,
        };
        Ok(self.event(begun, at))
    }
}
