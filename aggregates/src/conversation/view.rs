//! Queries on the state of a conversation.

use super::aggregate::{Conversation, ConversationState, Entry, Pending, PendingReply, ReplyState};
use crate::ids::{ConversationId, MessageId, ReplyId, UserId};

impl Conversation {
    /// Returns the id, once started.
    #[must_use]
    pub fn id(&self) -> Option<ConversationId> {
        self.started.as_ref().map(|started| started.id)
    }

    /// Returns the owner, once started, also after the deletion.
    #[must_use]
    pub fn owner(&self) -> Option<UserId> {
        self.started.as_ref().map(|started| started.owner)
    }

    /// Whether the conversation was started, deleted or not.
    #[must_use]
    pub const fn is_started(&self) -> bool {
        self.started.is_some()
    }

    /// Whether the conversation was deleted.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.started.as_ref().is_some_and(|started| started.deleted)
    }

    /// Whether the conversation is pinned.
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        self.started.as_ref().is_some_and(|started| started.settings.pinned)
    }

    /// Whether the conversation is archived.
    #[must_use]
    pub fn is_archived(&self) -> bool {
        self.started.as_ref().is_some_and(|started| started.settings.archived)
    }

    /// Position of the last message that the owner has read; 0 if there is none.
    #[must_use]
    pub fn read_to(&self) -> i64 {
        self.started.as_ref().map_or(0, |started| started.read_to)
    }

    /// Returns the pending reply that is next in turn.
    #[must_use]
    pub fn next_reply(&self) -> Option<&PendingReply> {
        self.pending_replies().next()
    }

    /// Returns all pending replies, the next in turn first.
    pub fn pending_replies(&self) -> impl Iterator<Item = &PendingReply> {
        self.started.iter().flat_map(|started| &started.queue)
    }

    /// Returns the state of a reply; `None` if it does not belong to a message of this conversation.
    #[must_use]
    pub fn reply(&self, reply: ReplyId) -> Option<ReplyState> {
        self.started.as_ref().and_then(|started| started.replies.get(&reply)).map(|entry| entry.state)
    }

    /// Whether the conversation has a user's message with that id.
    #[must_use]
    pub fn has_message(&self, message: MessageId) -> bool {
        let entry = |started: &ConversationState| started.entry(message).is_some_and(|entry| !entry.item);
        self.started.as_ref().is_some_and(entry)
    }

    /// Returns the latest reply requested for a message or item; `None` if there is none.
    #[must_use]
    pub fn latest_reply(&self, asker: MessageId) -> Option<ReplyId> {
        let entry = self.started.as_ref().and_then(|started| started.entry(asker))?;
        let asked = entry.rounds > 0 || entry.state != ReplyState::NotAsked;
        asked.then(|| ReplyId::again(asker, entry.rounds))
    }

    /// Returns the active branch.
    #[must_use]
    pub fn active_branch(&self) -> u32 {
        self.started.as_ref().map_or(0, |started| started.branches.active())
    }

    /// Returns the number of branches.
    #[must_use]
    pub fn branches(&self) -> usize {
        self.started.as_ref().map_or(0, |started| started.branches.count())
    }

    /// Whether a message or answerable item is on the path of the active branch.
    #[must_use]
    pub fn shows(&self, asker: MessageId) -> bool {
        let shown =
            |started: &ConversationState| started.entry(asker).is_some_and(|entry| started.is_shown(entry));
        self.started.as_ref().is_some_and(shown)
    }

    /// Whether the conversation has a title.
    #[must_use]
    pub fn is_titled(&self) -> bool {
        self.started.as_ref().is_some_and(|started| started.settings.titled)
    }

    /// Returns the number of messages and answerable items.
    #[must_use]
    pub fn askers(&self) -> u32 {
        self.started.as_ref().map_or(0, |started| started.next)
    }

    /// Returns the approximate size of the state in memory, for a cache bounded by bytes. Clones share most of it, so the sum
    /// over clones errs on the high side.
    #[must_use]
    pub fn approximate_bytes(&self) -> usize {
        // An entry is two shared allocations: the pair with its counters, and the tree node with two children.
        const ENTRY: usize = size_of::<(ReplyId, Entry)>() + 2 * size_of::<usize>();
        const NODE: usize = 6 * size_of::<usize>();
        let started = |started: &ConversationState| {
            let texts = |open: &PendingReply| {
                open.model.as_ref().map_or(0, String::capacity)
                    + open.worker.as_ref().map_or(0, String::capacity)
            };
            started.replies.size() * (ENTRY + NODE)
                + started.queue.capacity() * size_of::<PendingReply>()
                + started.pending.size() * (size_of::<(u32, Pending)>() + 2 * size_of::<usize>() + NODE)
                + started.branches.approximate_bytes()
                + started.queue.iter().map(texts).sum::<usize>()
        };
        size_of::<Self>() + self.started.as_ref().map_or(0, started)
    }

    pub(super) const fn started(&self) -> Option<&ConversationState> {
        self.started.as_ref()
    }
}
