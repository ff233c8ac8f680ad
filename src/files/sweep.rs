//! Removes orphaned bytes: left by a crash before the event, by deleted files, or by deleted conversations.
//!
//! Bytes of deleted files go within a minute. Once an hour, and at start, the whole store is checked. The read model only
//! proposes candidates: before bytes without a row are removed, the log itself is read, so a lagging model cannot cause
//! loss of a file. Sweeps may run concurrently.

use std::time::Duration;

use aggregates::file::{File, FileCommand};
use aggregates::ids::{FileId, UserId};
use chrono::{DateTime, Utc};
use event_store::{CommandBatch, ExecuteError, Executor, FastPool, Metadata};
use futures::TryStreamExt as _;
use projections::files::query::{self, Deleted, FileRow};
use tokio_util::sync::CancellationToken;

use super::store::{FileStore, Key, StoreError, StoredObject};
use crate::clock::Clock;

/// Time between two rounds.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);
/// Number of rounds between two checks of the whole store.
const ROUNDS_PER_FULL_SWEEP: u32 = 60;
/// Minimum age of bytes without an event before they are removed: an upload may be about to record them.
const MIN_ORPHAN_AGE: chrono::Duration = chrono::Duration::hours(1);
/// Most rows or objects handled together.
const MAX_BATCH: usize = 200;

/// Why a round was aborted.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// The database query failed.
    #[error("failed to query the files")]
    Database(#[from] sqlx::Error),
    /// The log failed.
    #[error("failed to read the log")]
    Log(#[from] ExecuteError),
    /// The store failed.
    #[error("the file store failed")]
    Store(#[from] StoreError),
}

/// Removes orphaned bytes in the background.
#[derive(Clone)]
pub struct FileSweep {
    /// Pool for the read model.
    pub pool: FastPool,
    /// Reads the log, and deletes files that were announced but never uploaded.
    pub executor: Executor,
    /// The store to sweep.
    pub store: FileStore,
    /// Clock for event times.
    pub clock: Clock,
}

impl FileSweep {
    /// Sweeps until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut round: u32 = 0;
        let mut seen = None;
        loop {
            let swept = tokio::select! {
                swept = self.round(round.is_multiple_of(ROUNDS_PER_FULL_SWEEP), &mut seen) => swept,
                () = stop.cancelled() => return,
            };
            if let Err(error) = swept {
                metrics::counter!("verbatim_file_sweep_failures_total").increment(1);
                tracing::warn!(
                    error = format!("{:#}", anyhow::Error::from(error)),
                    "failed to sweep the file store"
                );
            }
            round = round.wrapping_add(1);
            tokio::select! {
                () = tokio::time::sleep(SWEEP_INTERVAL) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Handles files deleted since the last round; with `full`, the whole store.
    async fn round(&self, full: bool, seen: &mut Option<Deleted>) -> Result<(), SweepError> {
        let after = match *seen {
            Some(seen) => seen,
            // Files deleted before this process started are found by the check of the whole store.
            None => query::last_deleted(&self.pool).await?,
        };
        *seen = Some(self.sweep_deleted(after).await?);
        if full {
            self.full_sweep().await?;
            self.delete_overdue_announcements().await?;
        }
        Ok(())
    }

    /// Removes the bytes of files deleted after this position; returns the position of the last one.
    ///
    /// # Errors
    /// If the database or the store fails.
    pub async fn sweep_deleted(&self, after: Deleted) -> Result<Deleted, SweepError> {
        let mut seen = after;
        loop {
            let rows =
                query::deleted_since(&self.pool, seen, i64::try_from(MAX_BATCH).unwrap_or(i64::MAX)).await?;
            let Some(last) = rows.last() else { return Ok(seen) };
            seen = (last.position, last.file_id);
            for row in &rows {
                self.remove_file(row).await?;
            }
        }
    }

    /// Checks the whole store and removes objects that belong to no stored file; returns how many.
    ///
    /// # Errors
    /// If the database, the log or the store fails.
    pub async fn full_sweep(&self) -> Result<u64, SweepError> {
        let mut object = self.store.list().await?.try_chunks(MAX_BATCH);
        let mut removed = 0;
        while let Some(batch) = object.try_next().await.map_err(|failed| failed.1)? {
            let ids: Vec<uuid::Uuid> = batch.iter().map(|object| object.key.file().uuid()).collect();
            let rows = query::known(&self.pool, &ids).await?;
            for object in &batch {
                let row = rows.iter().find(|row| row.file_id == object.key.file().uuid());
                if self.is_orphan(object, row, self.clock.now()).await? {
                    self.remove(&object.key).await?;
                    removed += 1;
                }
            }
        }
        Ok(removed)
    }

    /// Deletes files that were announced but not uploaded in time; returns how many.
    ///
    /// # Errors
    /// If the database or the log fails.
    pub async fn delete_overdue_announcements(&self) -> Result<usize, SweepError> {
        let now = self.clock.now();
        let limit = i64::try_from(MAX_BATCH).unwrap_or(i64::MAX);
        let mut deleted = 0;
        for row in query::overdue(&self.pool, now - MIN_ORPHAN_AGE, limit).await? {
            let metadata = Metadata {
                surface: "sweep".to_owned(),
                occurred_at: Some(now),
                app_version: crate::VERSION.to_owned(),
                ..Metadata::default()
            };
            // The upload may have completed a moment ago.
            if self.executor.state::<File>(&row.file_id.to_string()).await?.is_stored() {
                continue;
            }
            let command = FileCommand::Delete { by: UserId::new(row.owner), at: now };
            let batch =
                CommandBatch::new(row.owner, metadata).command::<File>(FileId::new(row.file_id), command);
            match self.executor.run(batch).await {
                Ok(_) => deleted += 1,
                Err(ExecuteError::Rejected(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(deleted)
    }

    /// Returns whether an object is orphaned.
    async fn is_orphan(
        &self,
        object: &StoredObject,
        row: Option<&FileRow>,
        now: DateTime<Utc>,
    ) -> Result<bool, SweepError> {
        match row {
            Some(row) if row.is_deleted() => return Ok(true),
            Some(row) if row.is_stored() && row.sha256.as_deref() == Some(object.key.sha256()) => {
                return Ok(false);
            }
            Some(_) | None => {}
        }
        if now - object.written < MIN_ORPHAN_AGE {
            return Ok(false);
        }
        let file: File = self.executor.state(&object.key.file().to_string()).await?;
        Ok(!file.is_stored() || file.sha256() != Some(object.key.sha256()))
    }

    /// Removes all objects of a file.
    async fn remove_file(&self, row: &FileRow) -> Result<(), SweepError> {
        let Some(sha256) = &row.sha256 else { return Ok(()) };
        let file = FileId::new(row.file_id);
        for key in [Key::bytes(file, sha256), Key::preview(file, sha256)] {
            self.remove(&key).await?;
        }
        Ok(())
    }

    async fn remove(&self, key: &Key) -> Result<(), SweepError> {
        self.store.delete(key).await?;
        metrics::counter!("verbatim_file_objects_swept_total").increment(1);
        Ok(())
    }
}
