//! What the context of a reply is made from, as it is read: rows of the conversation, files that came with its messages.
//!
//! Only rows of the one conversation and files of its owner are ever asked for.

use std::sync::Arc;

use aggregates::ids::{FileId, UserId};
use event_store::fast_pool::WarmPool;
use projections::messages::thread::{self, Entry, ThreadRow};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use super::context::{Context, ContextInputs, rows_needed};
use super::settings::ReplySettings;
use crate::files::{Budget, ContentsError, FileStore, StoreError, bytes, contents};

/// Where it is read.
#[derive(Clone, Copy)]
pub struct ContextLoader<'a> {
    /// The read models.
    pub pool: &'a WarmPool,
    /// The bytes of files.
    pub files: &'a FileStore,
    /// How much of it may be sent.
    pub settings: &'a ReplySettings,
}

impl ContextLoader<'_> {
    /// What the reply to `asked` may be told of.
    ///
    /// # Errors
    /// The database or the file store does not answer.
    pub async fn load(
        &self,
        conversation: Uuid,
        owner: Uuid,
        asked: Uuid,
    ) -> Result<ContextInputs, ContentsError> {
        let limit = rows_needed(self.settings);
        let mut rows = thread::newest(self.pool, conversation, limit).await?;
        let said =
            rows.iter().filter(|row| matches!(row.entry, Entry::Message { .. } | Entry::Answer { .. }));
        let goes_on = i64::try_from(said.count()).unwrap_or(i64::MAX) >= limit;
        if rows.iter().all(|row| row.id != asked) {
            // An old question that was answered now.
            rows.extend(thread::by_ids(self.pool, conversation, &[asked]).await?);
        }
        let ids = self.files_of(&rows);
        let budget = Budget { each: self.settings.file_chars, all: self.settings.files_chars };
        let found = contents(self.pool, self.files, UserId::new(owner), &ids, budget).await?;
        let files = found.into_iter().map(|file| (file.file_id.uuid(), file)).collect();
        Ok(ContextInputs { rows, goes_on, files })
    }

    /// The files of the newest messages, the newest first.
    fn files_of(&self, rows: &[ThreadRow]) -> Vec<FileId> {
        let mut messages: Vec<(i64, &[Uuid])> = rows
            .iter()
            .filter_map(|row| match &row.entry {
                Entry::Message { files, .. } => Some((row.position, files.as_slice())),
                _ => None,
            })
            .collect();
        messages.sort_by_key(|(position, _)| std::cmp::Reverse(*position));
        let turns = self.settings.history_turns.saturating_add(1);
        messages.iter().take(turns).flat_map(|(_, files)| files.iter().copied().map(FileId::new)).collect()
    }

    /// Reads the bytes of images and documents into a context.
    ///
    /// # Errors
    /// The file store does not answer.
    pub async fn fill(&self, context: &mut Context) -> Result<(), StoreError> {
        for unread in std::mem::take(&mut context.unread) {
            let found = bytes(self.files, &unread.file).await?;
            if found.is_none() {
                context.file_hashes.retain(|hash| *hash != unread.file.sha256);
            }
            context.fill(&unread, found.as_deref());
        }
        Ok(())
    }
}

/// MemoryBudget in memory for the bytes of files that prompts hold, shared by all replies of a process. What is sent of a file takes about
/// four times its size until the provider has answered.
#[derive(Debug, Clone)]
pub(super) struct MemoryBudget {
    free: Arc<Semaphore>,
    /// All of it, in KiB.
    all: u32,
}

impl MemoryBudget {
    pub(super) fn new(bytes: u64) -> Self {
        let all = kib(bytes);
        Self { free: Arc::new(Semaphore::new(usize::try_from(all).unwrap_or(Semaphore::MAX_PERMITS))), all }
    }

    /// Waits for room for so many bytes, first come, first served; it is given back when what this gives is dropped. Who wants
    /// more than there is gets all of it.
    pub(super) async fn take(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        if bytes == 0 {
            return None;
        }
        // It is never closed.
        Arc::clone(&self.free).acquire_many_owned(kib(bytes).min(self.all)).await.ok()
    }
}

fn kib(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn who_finds_no_room_waits_until_there_is_some() {
        const MIB: u64 = 1024 * 1024;
        let room = MemoryBudget::new(2 * MIB);
        let first = room.take(MIB + 1).await;
        let mut second = Box::pin(room.take(MIB));
        assert!(second.as_mut().now_or_never().is_none(), "it does not fit beside the first");
        assert!(room.take(0).now_or_never().is_some(), "nothing needs no room");
        drop(first);
        let second = second.await;
        let mut large = Box::pin(room.take(100 * MIB));
        assert!(large.as_mut().now_or_never().is_none(), "it needs all of it");
        drop(second);
        assert!(large.now_or_never().is_some(), "what is larger than all of it goes alone");
    }
}
