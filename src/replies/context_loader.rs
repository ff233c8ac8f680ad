//! Loads the inputs of a reply's context: rows of the conversation, and the files attached to its messages.
//!
//! It queries rows of this one conversation and files of its owner only.

use std::sync::Arc;

use aggregates::ids::{FileId, UserId};
use event_store::FastPool;
use projections::messages::thread::{self, Entry, ThreadRow};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use super::context::{Context, ContextInputs, rows_needed};
use super::settings::ReplySettings;
use crate::files::{Budget, ContentsError, FileStore, StoreError, bytes, contents};

/// Loads context inputs.
#[derive(Clone, Copy)]
pub struct ContextLoader<'a> {
    /// Pool for the read models.
    pub pool: &'a FastPool,
    /// Store of the attachments' bytes.
    pub files: &'a FileStore,
    /// Limits of the context.
    pub settings: &'a ReplySettings,
}

impl ContextLoader<'_> {
    /// Loads the inputs for the reply to `asked`.
    ///
    /// # Errors
    /// The database or the file store is unavailable.
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
            // An old question that was answered only now.
            rows.extend(thread::by_ids(self.pool, conversation, &[asked]).await?);
        }
        let ids = self.files_of(&rows);
        let budget = Budget { each: self.settings.file_chars, all: self.settings.files_chars };
        let found = contents(self.pool, self.files, UserId::new(owner), &ids, budget).await?;
        let files = found.into_iter().map(|file| (file.file_id.uuid(), file)).collect();
        Ok(ContextInputs { rows, goes_on, files })
    }

    /// Returns the files of the latest messages, newest first.
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

    /// Loads the bytes of images and documents into a context.
    ///
    /// # Errors
    /// The file store is unavailable.
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

/// Memory for the bytes of attachments in prompts, shared by all replies of a process. Sending a file takes about four times
/// its size until the provider has answered.
#[derive(Debug, Clone)]
pub(super) struct MemoryBudget {
    free: Arc<Semaphore>,
    /// The whole budget, in KiB.
    all: u32,
}

impl MemoryBudget {
    pub(super) fn new(bytes: u64) -> Self {
        let all = kib(bytes);
        Self { free: Arc::new(Semaphore::new(usize::try_from(all).unwrap_or(Semaphore::MAX_PERMITS))), all }
    }

    /// Reserves memory, first come, first served, until the permit is dropped. A request larger than the budget reserves all
    /// of it.
    pub(super) async fn reserve(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        if bytes == 0 {
            return None;
        }
        // The semaphore is never closed.
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
    async fn reservation_waits_until_memory_is_free() {
        const MIB: u64 = 1024 * 1024;
        let budget = MemoryBudget::new(2 * MIB);
        let first = budget.reserve(MIB + 1).await;
        let mut second = Box::pin(budget.reserve(MIB));
        assert!(second.as_mut().now_or_never().is_none(), "it does not fit beside the first");
        assert!(budget.reserve(0).now_or_never().is_some(), "zero bytes need no budget");
        drop(first);
        let second = second.await;
        let mut large = Box::pin(budget.reserve(100 * MIB));
        assert!(large.as_mut().now_or_never().is_none(), "it needs the whole budget");
        drop(second);
        assert!(large.now_or_never().is_some(), "a request larger than the budget runs alone");
    }
}
