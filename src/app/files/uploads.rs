//! A file on its way in: how much one person may bring, and what is looked at before it is kept.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aggregates::file::ImageSize;
use aggregates::ids::{FileId, UserId};
use bytes::Bytes;
use event_store::FastPool;
use parking_lot::Mutex;
use projections::files::query;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use super::FileService;
use crate::app::{AppError, Kind};
use crate::config::FilesConfig;
use crate::files::{Arrived, FileKind, Incoming, Key, StoreError, picture};
use crate::telemetry::panics::broken_off;

/// How many files one person may bring at the same moment.
const MAX_CONCURRENT_UPLOADS: u64 = 20;
/// How many files are held in memory at once, to be looked at and kept.
const MAX_FILES_IN_MEMORY: usize = 8;
/// How many images are decoded at once.
const MAX_DECODERS: usize = 2;

/// How much may be brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileLimits {
    /// Bytes of one file.
    pub file_bytes: u64,
    /// Files of one person.
    pub files: u64,
    /// Bytes of all files of one person.
    pub bytes: u64,
}

impl FileLimits {
    /// As configured.
    pub fn of(config: &FilesConfig) -> Self {
        Self { file_bytes: config.max_file_bytes, files: config.max_files, bytes: config.max_bytes }
    }
}

/// What a person brings right now, at this process: not in the read model yet, and to be counted all the same.
#[derive(Debug, Clone, Copy, Default)]
struct InProgress {
    files: u64,
    bytes: u64,
}

/// Uploads that are in progress at this process. Cheap to clone.
#[derive(Clone)]
pub struct Uploads {
    /// How much may be uploaded.
    pub limits: FileLimits,
    in_progress: Arc<Mutex<HashMap<Uuid, InProgress>>>,
    memory: Arc<Semaphore>,
    decoders: Arc<Semaphore>,
}

impl Uploads {
    /// No uploads yet, under these limits.
    pub fn new(limits: FileLimits) -> Self {
        Self {
            limits,
            in_progress: Arc::default(),
            memory: Arc::new(Semaphore::new(MAX_FILES_IN_MEMORY)),
            decoders: Arc::new(Semaphore::new(MAX_DECODERS)),
        }
    }

    fn with_in_progress<T>(&self, owner: Uuid, change: impl FnOnce(&mut InProgress) -> T) -> T {
        let mut all = self.in_progress.lock();
        let one = all.entry(owner).or_default();
        let changed = change(one);
        if one.files == 0 {
            all.remove(&owner);
        }
        changed
    }

    /// Takes a slot for one more file.
    pub(super) fn reserve(&self, owner: UserId) -> Result<UploadSlot, AppError> {
        let owner = owner.uuid();
        let taken = self.with_in_progress(owner, |one| {
            let free = one.files < MAX_CONCURRENT_UPLOADS;
            one.files += u64::from(free);
            free
        });
        if taken {
            return Ok(UploadSlot { uploads: self.clone(), owner, bytes: 0 });
        }
        Err(AppError::new(
            Kind::Throttled,
            "too_many_uploads",
            "Too many files at once; please wait a moment.",
        )
        .after(Duration::from_secs(1)))
    }
}

/// One of a person's files that is being brought; counts until it is dropped.
pub(super) struct UploadSlot {
    uploads: Uploads,
    owner: Uuid,
    bytes: u64,
}

impl UploadSlot {
    /// How many bytes it has, or will have.
    pub(super) fn set_size(&mut self, bytes: u64) {
        let before = std::mem::replace(&mut self.bytes, bytes);
        self.uploads.with_in_progress(self.owner, |one| one.bytes = one.bytes - before + bytes);
    }

    /// Checks that it still fits into what its owner may have. `announced` was counted already.
    pub(super) async fn fits(&self, pool: &FastPool, announced: Option<FileId>) -> Result<(), AppError> {
        let used = query::usage(pool, self.owner, announced.map(FileId::uuid)).await?;
        let in_progress = self.uploads.with_in_progress(self.owner, |one| *one);
        let sum = |stored: i64, more: u64| u64::try_from(stored).unwrap_or_default().saturating_add(more);
        let limits = self.uploads.limits;
        if sum(used.files, in_progress.files) > limits.files
            || sum(used.bytes, in_progress.bytes) > limits.bytes
        {
            return Err(AppError::new(
                Kind::TooLarge,
                "file_quota",
                format!("One person may have {} files with {} bytes in all.", limits.files, limits.bytes),
            ));
        }
        Ok(())
    }
}

impl Drop for UploadSlot {
    fn drop(&mut self) {
        self.set_size(0);
        self.uploads.with_in_progress(self.owner, |one| one.files = one.files.saturating_sub(1));
    }
}

/// A file that is on its way.
pub struct Upload {
    incoming: Incoming,
    staging: Option<PathBuf>,
    pub(super) slot: UploadSlot,
}

impl Upload {
    /// Takes one more piece of it.
    ///
    /// # Errors
    /// `TooLarge`, `StorageFull`, `Unavailable`.
    pub async fn push(&mut self, piece: &[u8]) -> Result<(), AppError> {
        self.incoming.push(self.staging.as_deref(), piece).await?;
        Ok(())
    }
}

/// A file that has come whole, and was not looked at yet.
pub(super) struct ReceivedFile {
    pub(super) arrived: Arrived,
    slot: UploadSlot,
    memory: OwnedSemaphorePermit,
}

impl ReceivedFile {
    /// Whose bytes are stored and were looked at then: there is nothing more to be seen.
    pub(super) fn known(self, kind: FileKind) -> InspectedFile {
        let Self { arrived, slot, memory } = self;
        InspectedFile { kind, arrived, image: None, preview: None, slot, _memory: memory }
    }
}

/// A file that has come whole and was looked at.
pub(super) struct InspectedFile {
    pub(super) kind: FileKind,
    pub(super) arrived: Arrived,
    pub(super) image: Option<ImageSize>,
    pub(super) slot: UploadSlot,
    preview: Option<Bytes>,
    _memory: OwnedSemaphorePermit,
}

impl InspectedFile {
    pub(super) fn size(&self) -> u64 {
        u64::try_from(self.arrived.bytes.len()).unwrap_or(u64::MAX)
    }
}

fn closed(_: AcquireError) -> AppError {
    AppError::shutting_down()
}

impl FileService {
    /// Begins to take a file of this person's, whose length is known when its sender has told it.
    ///
    /// # Errors
    /// `TooLarge` already by its length, and `Throttled`.
    pub fn upload(&self, owner: UserId, length: Option<u64>) -> Result<Upload, AppError> {
        let limit = self.uploads.limits.file_bytes;
        let slot = self.uploads.reserve(owner)?;
        if length.is_some_and(|length| length > limit) {
            return Err(crate::files::IncomingError::TooLarge { limit }.into());
        }
        let staging = self.store.staging().map(ToOwned::to_owned);
        Ok(Upload { incoming: Incoming::new(limit), staging, slot })
    }

    /// The largest file that is taken, in bytes.
    pub fn largest_file(&self) -> u64 {
        self.uploads.limits.file_bytes
    }

    /// Returns the error for a file that is larger than [`largest_file`](Self::largest_file).
    pub fn too_large(&self) -> AppError {
        crate::files::IncomingError::TooLarge { limit: self.largest_file() }.into()
    }

    /// Whether this person may bring one more file, before anything of it is read.
    ///
    /// # Errors
    /// `TooLarge` with the code `file_quota`, or the database's.
    pub(super) async fn has_room(&self, upload: &Upload, announced: Option<FileId>) -> Result<(), AppError> {
        upload.slot.fits(&self.core.pool, announced).await
    }

    /// Takes all of a file that has come into memory: there has to be something.
    pub(super) async fn whole(&self, upload: Upload) -> Result<ReceivedFile, AppError> {
        if upload.incoming.size() == 0 {
            return Err(AppError::new(Kind::Invalid, "file_empty", "The file is empty."));
        }
        let memory = Arc::clone(&self.uploads.memory).acquire_owned().await.map_err(closed)?;
        let Upload { incoming, staging: _, mut slot } = upload;
        let arrived = incoming.whole().await?;
        slot.set_size(u64::try_from(arrived.bytes.len()).unwrap_or(u64::MAX));
        Ok(ReceivedFile { arrived, slot, memory })
    }

    /// Looks at a file that has come: that it is what it should be.
    pub(super) async fn look(&self, whole: ReceivedFile, kind: FileKind) -> Result<InspectedFile, AppError> {
        let ReceivedFile { arrived, slot, memory } = whole;
        let _turn = self.uploads.decoders.acquire().await.map_err(closed)?;
        let bytes = arrived.bytes.clone();
        let seen = tokio::task::spawn_blocking(move || -> Result<_, AppError> {
            kind.check(&bytes)?;
            Ok(if kind.is_image() { Some(picture::look(kind, &bytes)?) } else { None })
        });
        let picture = seen.await.map_err(|error| AppError::internal(broken_off(&error)))??;
        let (image, preview) = match picture {
            Some(picture) => (Some(picture.size), Some(picture.preview.into())),
            None => (None, None),
        };
        Ok(InspectedFile { kind, arrived, image, preview, slot, _memory: memory })
    }

    /// Keeps the bytes of a file. From here to its event nothing but the sweep knows of them.
    pub(super) async fn keep(&self, file: FileId, looked: &InspectedFile) -> Result<(), StoreError> {
        let store = &self.store;
        let Arrived { bytes, sha256 } = &looked.arrived;
        // The preview first: an image whose bytes are there has one.
        if let Some(preview) = &looked.preview {
            store.put(&Key::preview(file, sha256), preview.clone()).await?;
        }
        store.put(&Key::bytes(file, sha256), bytes.clone()).await?;
        event_store::crash_point!("bytes-stored");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uploads() -> Uploads {
        Uploads::new(FileLimits { file_bytes: 10, files: 3, bytes: 20 })
    }

    #[test]
    fn what_is_in_progress_counts_until_it_is_dropped() {
        let uploads = uploads();
        let ada = UserId::new(Uuid::from_u128(1));
        let in_progress = || uploads.with_in_progress(ada.uuid(), |one| (one.files, one.bytes));
        let mut one = uploads.reserve(ada).unwrap();
        one.set_size(7);
        let mut two = uploads.reserve(ada).unwrap();
        two.set_size(5);
        two.set_size(4);
        assert_eq!(in_progress(), (2, 11));
        drop(one);
        assert_eq!(in_progress(), (1, 4));
        drop(two);
        assert!(uploads.in_progress.lock().is_empty());
    }

    #[test]
    fn one_person_brings_so_many_at_once_and_another_is_not_kept_from_it() {
        let uploads = uploads();
        let (ada, eve) = (UserId::new(Uuid::from_u128(1)), UserId::new(Uuid::from_u128(2)));
        let mut places: Vec<UploadSlot> =
            (0..MAX_CONCURRENT_UPLOADS).map(|_| uploads.reserve(ada).unwrap()).collect();
        let refused = uploads.reserve(ada).err().unwrap();
        assert_eq!((refused.kind, refused.code), (Kind::Throttled, "too_many_uploads"));
        uploads.reserve(eve).unwrap();
        places.pop();
        uploads.reserve(ada).unwrap();
    }
}
