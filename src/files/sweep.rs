//! Removes bytes that no file has: what a crash left before the event, what was deleted, what a conversation took along.
//!
//! What was deleted goes within a minute. Once an hour, and at start, everything in the store is looked at. The read
//! model only says what to look at: before bytes go that have no row, the log itself is asked, so that a model that is
//! behind costs nobody a file. Any number of sweeps may run at once.

use std::time::Duration;

use aggregates::file::{File, FileCommand};
use aggregates::ids::{FileId, UserId};
use chrono::{DateTime, Utc};
use event_store::{CommandBatch, ExecuteError, Executor, FastPool, Metadata};
use futures::TryStreamExt as _;
use projections::files::query::{self, Deleted, FileRow};
use tokio_util::sync::CancellationToken;

use super::store::{FileStore, Kept, Key, StoreError};
use crate::clock::Clock;

/// How often deleted files are looked for.
const EVERY: Duration = Duration::from_secs(60);
/// Every so many rounds, the whole store is looked at.
const WHOLE_EVERY: u32 = 60;
/// How old bytes without an event are before they go: an upload may still be about to record them.
const GRACE: chrono::Duration = chrono::Duration::hours(1);
/// How many rows or objects are looked at together.
const BATCH: usize = 200;

/// Why a round was broken off.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// The database does not answer.
    #[error("the files cannot be looked up")]
    Database(#[from] sqlx::Error),
    /// The log does not.
    #[error("the log cannot be read")]
    Log(#[from] ExecuteError),
    /// The store does not.
    #[error("the file store does not work")]
    Store(#[from] StoreError),
}

/// The sweep.
#[derive(Clone)]
pub struct FileSweep {
    /// Reads the read model.
    pub pool: FastPool,
    /// Reads the log, and deletes what was announced and never came.
    pub executor: Executor,
    /// What is swept.
    pub store: FileStore,
    /// Time of the events.
    pub clock: Clock,
}

impl FileSweep {
    /// Sweeps until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut round: u32 = 0;
        let mut seen = None;
        loop {
            let swept = tokio::select! {
                swept = self.round(round.is_multiple_of(WHOLE_EVERY), &mut seen) => swept,
                () = stop.cancelled() => return,
            };
            if let Err(error) = swept {
                metrics::counter!("verbatim_file_sweep_failures_total").increment(1);
                tracing::warn!(
                    error = format!("{:#}", anyhow::Error::from(error)),
                    "the file store was not swept"
                );
            }
            round = round.wrapping_add(1);
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// What was deleted since the last round; with `whole`, everything.
    async fn round(&self, whole: bool, seen: &mut Option<Deleted>) -> Result<(), SweepError> {
        let after = match *seen {
            Some(seen) => seen,
            // What was deleted before this process began is found by looking at everything.
            None => query::last_deleted(&self.pool).await?,
        };
        *seen = Some(self.deleted(after).await?);
        if whole {
            self.whole().await?;
            self.announced().await?;
        }
        Ok(())
    }

    /// Removes the bytes of files that were deleted after this place; gives the place of the last one.
    ///
    /// # Errors
    /// The database or the store does not answer.
    pub async fn deleted(&self, after: Deleted) -> Result<Deleted, SweepError> {
        let mut seen = after;
        loop {
            let rows =
                query::deleted_since(&self.pool, seen, i64::try_from(BATCH).unwrap_or(i64::MAX)).await?;
            let Some(last) = rows.last() else { return Ok(seen) };
            seen = (last.position, last.file_id);
            for row in &rows {
                self.remove_file(row).await?;
            }
        }
    }

    /// Looks at everything in the store, and removes what no stored file has; gives how many objects went.
    ///
    /// # Errors
    /// The database, the log or the store does not answer.
    pub async fn whole(&self) -> Result<u64, SweepError> {
        let mut kept = self.store.list().await?.try_chunks(BATCH);
        let mut removed = 0;
        while let Some(batch) = kept.try_next().await.map_err(|failed| failed.1)? {
            let ids: Vec<uuid::Uuid> = batch.iter().map(|kept| kept.key.file().uuid()).collect();
            let rows = query::known(&self.pool, &ids).await?;
            for kept in &batch {
                let row = rows.iter().find(|row| row.file_id == kept.key.file().uuid());
                if self.is_refuse(kept, row, self.clock.now()).await? {
                    self.remove(&kept.key).await?;
                    removed += 1;
                }
            }
        }
        Ok(removed)
    }

    /// Deletes files that were announced and whose bytes never came; gives how many.
    ///
    /// # Errors
    /// The database or the log does not answer.
    pub async fn announced(&self) -> Result<usize, SweepError> {
        let now = self.clock.now();
        let limit = i64::try_from(BATCH).unwrap_or(i64::MAX);
        let mut deleted = 0;
        for row in query::overdue(&self.pool, now - GRACE, limit).await? {
            let metadata = Metadata {
                surface: "sweep".to_owned(),
                occurred_at: Some(now),
                app_version: crate::VERSION.to_owned(),
                ..Metadata::default()
            };
            // The bytes may have come a moment ago.
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

    /// Whether nothing needs this object any more.
    async fn is_refuse(
        &self,
        kept: &Kept,
        row: Option<&FileRow>,
        now: DateTime<Utc>,
    ) -> Result<bool, SweepError> {
        match row {
            Some(row) if row.is_deleted() => return Ok(true),
            Some(row) if row.is_stored() && row.sha256.as_deref() == Some(kept.key.sha256()) => {
                return Ok(false);
            }
            Some(_) | None => {}
        }
        if now - kept.written < GRACE {
            return Ok(false);
        }
        let file: File = self.executor.state(&kept.key.file().to_string()).await?;
        Ok(!file.is_stored() || file.sha256() != Some(kept.key.sha256()))
    }

    /// Removes what a file has in the store.
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
