//! Branches of a conversation: what each holds, and the decisions to begin a branch or to switch to one.
//!
//! Branch 0 is the first. Every other branch forks from an older one: it shares what comes before the fork, and owns what was
//! recorded while it was active. Nothing is ever removed from a branch.

use chrono::{DateTime, Utc};
use rpds::VectorSync;
use serde::{Deserialize, Serialize};

use super::aggregate::{ConversationState, Entry};
use super::decide::Decision;
use super::{
    BranchEvent, ConversationError as Error, ConversationEvent as Event, EventBody, MessageContext,
    MessageEvent, MessageRef, PartialText, ReplyEvent, ReplyOptions, ReplyState,
};
use crate::ids::{MessageId, ReplyId, UserId};
use crate::personal::Personal;
use crate::values::MessageText;

/// Maximum number of branches of a conversation.
pub const MAX_BRANCHES: usize = 1_000;

/// Options of a requested reply, and its deadline.
type Wanted = (ReplyOptions, DateTime<Utc>);

/// All branches and the active one. Clones share them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Branches {
    all: VectorSync<Branch>,
    active: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Branch {
    /// Where it forks; the first branch forks from itself.
    from: Fork,
    /// Number of the message or item that it begins with; `None` if it is empty or begins with something else.
    first: Option<u32>,
    /// Number of its newest message or item.
    newest: Option<u32>,
    /// Whether something else follows it: an answer or a widget.
    other_follows: bool,
}

/// Where a branch forks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fork {
    /// Branch that it forks from.
    parent: u32,
    /// It shares messages and items with lower numbers.
    kept: u32,
    /// It shares messages and items up to this position in the log.
    position: i64,
}

impl Default for Branches {
    fn default() -> Self {
        let mut all = VectorSync::new_sync();
        let from = Fork { parent: 0, kept: 0, position: 0 };
        all.push_back_mut(Branch { from, first: None, newest: None, other_follows: false });
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

    /// Number of the next branch.
    fn next(&self) -> u32 {
        u32::try_from(self.all.len()).unwrap_or(u32::MAX)
    }

    fn get(&self, branch: u32) -> Option<&Branch> {
        usize::try_from(branch).ok().and_then(|index| self.all.get(index))
    }

    /// Whether entry `number`, owned by `branch`, is on the path of the active branch.
    pub(super) fn shows(&self, branch: u32, number: u32) -> bool {
        let (mut at, mut kept) = (self.active, u32::MAX);
        loop {
            if at == branch {
                return number < kept;
            }
            // A branch forks from an older one, so the loop terminates.
            let Some(here) = self.get(at).filter(|_| at != 0) else { return false };
            kept = kept.min(here.from.kept);
            at = here.from.parent;
        }
    }

    /// Whether the message or item with that number is the last on the active path.
    pub(super) fn ends_with(&self, number: u32) -> bool {
        self.get(self.active).is_some_and(|branch| {
            // An empty branch ends with what it shares.
            let newest = branch.newest.or(branch.from.kept.checked_sub(1));
            newest == Some(number) && !branch.other_follows
        })
    }

    fn change(&mut self, change: impl FnOnce(&mut Branch)) {
        let active = self.active;
        if let Some(mut branch) = self.get(active).copied() {
            change(&mut branch);
            self.all.set_mut(usize::try_from(active).unwrap_or(usize::MAX), branch);
        }
    }

    /// Adds a message or item to the active branch.
    pub(super) fn add(&mut self, number: u32) {
        self.change(|branch| {
            if branch.newest.is_none() && !branch.other_follows {
                branch.first = Some(number);
            }
            branch.newest = Some(number);
            branch.other_follows = false;
        });
    }

    /// Records that an answer or a widget follows.
    pub(super) fn add_other(&mut self) {
        self.change(|branch| branch.other_follows = true);
    }

    /// Begins a branch and makes it active.
    pub(super) fn begin(&mut self, from: Fork) {
        let next = self.next();
        self.all.push_back_mut(Branch { from, first: None, newest: None, other_follows: false });
        self.active = next;
    }

    /// Makes a branch active.
    pub(super) const fn activate(&mut self, branch: u32) {
        self.active = branch;
    }

    /// Returns the fork after a message.
    pub(super) const fn behind(message: Entry, position: i64) -> Fork {
        Fork { parent: message.branch, kept: message.number.saturating_add(1), position }
    }

    /// Returns the fork before a message. If a branch begins with the message, the new branch is its sibling and shares its fork.
    pub(super) fn before(&self, message: Entry, position: i64) -> Fork {
        match self.get(message.branch) {
            Some(branch) if message.branch != 0 && branch.first == Some(message.number) => branch.from,
            _ => Fork { parent: message.branch, kept: message.number, position: position.saturating_sub(1) },
        }
    }

    /// Returns the approximate size in memory.
    pub(super) fn approximate_bytes(&self) -> usize {
        // Each leaf of the tree is a shared allocation with its counters.
        self.all.len() * (size_of::<Branch>() + 3 * size_of::<usize>())
    }
}

impl ConversationState {
    /// Returns a user's message on the active path.
    fn shown_message(&self, message: MessageId) -> Result<Entry, Error> {
        let entry = self.entry(message).filter(|entry| !entry.item).ok_or(Error::UnknownItem)?;
        if self.is_shown(entry) { Ok(entry) } else { Err(Error::OtherBranch) }
    }

    /// Whether a message or item is owned by the active branch, or is the last on its path.
    pub(super) fn is_on_active_branch_or_last(&self, asker: MessageId) -> bool {
        self.entry(asker).is_some_and(|entry| {
            entry.branch == self.branches.active() || self.branches.ends_with(entry.number)
        })
    }

    /// Regenerates the reply to a message. Later messages and partial replies stay on their branch.
    pub(super) fn regenerate(
        &self,
        by: UserId,
        place: MessageRef,
        partial_texts: Vec<PartialText>,
        wanted: Wanted,
        at: DateTime<Utc>,
    ) -> Decision {
        self.require_active_owner(by)?;
        let MessageRef { message_id, position, before } = place;
        let entry = self.shown_message(message_id)?;
        let newest = self.branches.ends_with(entry.number);
        let latest = ReplyId::again(message_id, entry.rounds);
        if newest && self.queue.iter().any(|open| open.reply_id == latest && open.attempt == 0) {
            return Ok(Vec::new());
        }
        let mut events = self.cancel_from_number(entry.number, partial_texts, at)?;
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
        events.push(self.request_event(message_id, ReplyId::again(message_id, round), wanted, at));
        Ok(events)
    }

    /// Replaces a message and asks for a reply. The old message and all after it stay on their branch.
    pub(super) fn edit(
        &self,
        by: UserId,
        place: MessageRef,
        (message_id, text, enclosed): (MessageId, Personal<MessageText>, MessageContext),
        partial_texts: Vec<PartialText>,
        wanted: Wanted,
        at: DateTime<Utc>,
    ) -> Decision {
        self.require_active_owner(by)?;
        if let Some(known) = self.entry(message_id) {
            // The state holds no text, so the same id counts as the same message.
            let asked = known.rounds > 0 || known.state != ReplyState::NotAsked;
            return if !known.item && asked { Ok(Vec::new()) } else { Err(Error::MessageIdTaken) };
        }
        if message_id.is_derived() {
            return Err(Error::MessageIdTaken);
        }
        let entry = self.shown_message(place.message_id)?;
        let mut events = self.cancel_from_number(entry.number, partial_texts, at)?;
        let from = self.branches.before(entry, place.position);
        events.push(self.begun(from, place.message_id, true, place.before, at)?);
        events.push(self.event(MessageEvent::MessageSent { message_id, text, enclosed }, at));
        events.push(self.request_event(message_id, ReplyId::of(message_id), wanted, at));
        Ok(events)
    }

    /// Switches to another branch.
    pub(super) fn switch(&self, by: UserId, branch: u32, at: DateTime<Utc>) -> Decision {
        self.require_active_owner(by)?;
        self.branches.get(branch).ok_or(Error::UnknownBranch)?;
        if branch == self.branches.active() {
            return Ok(Vec::new());
        }
        // A pending reply would be recorded on a branch that did not ask for it.
        if !self.queue.is_empty() {
            return Err(Error::RepliesPending);
        }
        Ok(vec![self.event(BranchEvent::BranchSwitched { branch }, at)])
    }

    /// Cancels the pending replies to the message with that number and to later ones, each with its partial text. Rejected if there
    /// would be no room for another reply.
    fn cancel_from_number(
        &self,
        number: u32,
        mut partial_texts: Vec<PartialText>,
        at: DateTime<Utc>,
    ) -> Decision {
        let of = |asker: MessageId| self.entry(asker).map_or(0, |entry| entry.number);
        let (after, before): (Vec<_>, Vec<_>) =
            self.queue.iter().partition(|open| of(open.message_id) >= number);
        if before.len() >= super::MAX_PENDING_REPLIES {
            return Err(Error::TooManyReplies { limit: super::MAX_PENDING_REPLIES });
        }
        let mut text = |reply_id: ReplyId| {
            let found = partial_texts.iter().position(|partial_texts| partial_texts.reply_id == reply_id)?;
            Some(partial_texts.swap_remove(found).text)
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
