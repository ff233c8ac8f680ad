//! What may be asked of a conversation's state.

use super::aggregate::{Conversation, Entry, OpenReply, Pending, ReplyState, Started};
use crate::ids::{ConversationId, MessageId, ReplyId, UserId};

impl Conversation {
    /// Its id, once started.
    #[must_use]
    pub fn id(&self) -> Option<ConversationId> {
        self.started.as_ref().map(|started| started.id)
    }

    /// Its owner, once started; known also after the deletion.
    #[must_use]
    pub fn owner(&self) -> Option<UserId> {
        self.started.as_ref().map(|started| started.owner)
    }

    /// Whether it was started, deleted or not.
    #[must_use]
    pub const fn is_started(&self) -> bool {
        self.started.is_some()
    }

    /// Whether it was deleted.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.started.as_ref().is_some_and(|started| started.deleted)
    }

    /// Whether it is pinned.
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        self.started.as_ref().is_some_and(|started| started.settings.pinned)
    }

    /// Whether it is in the archive.
    #[must_use]
    pub fn is_archived(&self) -> bool {
        self.started.as_ref().is_some_and(|started| started.settings.archived)
    }

    /// Position of the last message that its owner has read; 0 when there is none.
    #[must_use]
    pub fn read_to(&self) -> i64 {
        self.started.as_ref().map_or(0, |started| started.read_to)
    }

    /// The reply whose turn it is.
    #[must_use]
    pub fn open_reply(&self) -> Option<&OpenReply> {
        self.owed().next()
    }

    /// All replies owed, the one whose turn it is first.
    pub fn owed(&self) -> impl Iterator<Item = &OpenReply> {
        self.started.iter().flat_map(|started| &started.queue)
    }

    /// How it stands with the reply to a message; none when no message of this conversation belongs to it.
    #[must_use]
    pub fn reply(&self, reply: ReplyId) -> Option<ReplyState> {
        self.started.as_ref().and_then(|started| started.replies.get(&reply)).map(|entry| entry.state)
    }

    /// Whether a person's message with that id is in the conversation.
    #[must_use]
    pub fn has_message(&self, message: MessageId) -> bool {
        let entry = |started: &Started| started.entry(message).is_some_and(|entry| !entry.item);
        self.started.as_ref().is_some_and(entry)
    }

    /// The reply that was asked for last to a message or item; none when none was, or it is not known.
    #[must_use]
    pub fn latest_reply(&self, asker: MessageId) -> Option<ReplyId> {
        let entry = self.started.as_ref().and_then(|started| started.entry(asker))?;
        let asked = entry.rounds > 0 || entry.state != ReplyState::NotAsked;
        asked.then(|| ReplyId::again(asker, entry.rounds))
    }

    /// The branch that it goes on with.
    #[must_use]
    pub fn active_branch(&self) -> u32 {
        self.started.as_ref().map_or(0, |started| started.branches.active())
    }

    /// How many branches it has.
    #[must_use]
    pub fn branches(&self) -> usize {
        self.started.as_ref().map_or(0, |started| started.branches.count())
    }

    /// Whether a message, or an item that a reply can be asked for, stands on the path of the active branch.
    #[must_use]
    pub fn shows(&self, asker: MessageId) -> bool {
        let shown = |started: &Started| started.entry(asker).is_some_and(|entry| started.is_shown(entry));
        self.started.as_ref().is_some_and(shown)
    }

    /// Whether it has a title.
    #[must_use]
    pub fn is_titled(&self) -> bool {
        self.started.as_ref().is_some_and(|started| started.settings.titled)
    }

    /// How many messages and items there are that a reply can be asked for.
    #[must_use]
    pub fn askers(&self) -> u32 {
        self.started.as_ref().map_or(0, |started| started.next)
    }

    /// About how much memory the state takes, for a cache bounded by bytes. Clones share most of it, so the sum
    /// over clones counts too much rather than too little.
    #[must_use]
    pub fn approximate_bytes(&self) -> usize {
        // One entry is two shared allocations: the pair with its counters, and the tree's node with two children.
        const ENTRY: usize = size_of::<(ReplyId, Entry)>() + 2 * size_of::<usize>();
        const NODE: usize = 6 * size_of::<usize>();
        let started = |started: &Started| {
            let texts = |open: &OpenReply| {
                open.model.as_ref().map_or(0, String::capacity)
                    + open.worker.as_ref().map_or(0, String::capacity)
            };
            started.replies.size() * (ENTRY + NODE)
                + started.queue.capacity() * size_of::<OpenReply>()
                + started.pending.size() * (size_of::<(u32, Pending)>() + 2 * size_of::<usize>() + NODE)
                + started.branches.approximate_bytes()
                + started.queue.iter().map(texts).sum::<usize>()
        };
        size_of::<Self>() + self.started.as_ref().map_or(0, started)
    }

    pub(super) const fn started(&self) -> Option<&Started> {
        self.started.as_ref()
    }
}
