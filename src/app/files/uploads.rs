//! Uploads: limits per user, and inspection before a file is stored.

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
use crate::files::{FileKind, Key, ReceivedBytes, StoreError, UploadBuffer, picture};
use crate::telemetry::panics::join_error;

/// Most concurrent uploads of one user.
const MAX_CONCURRENT_UPLOADS: u64 = 20;
/// Most files held in memory at once, for inspection and storing.
const MAX_FILES_IN_MEMORY: usize = 8;
/// Most images decoded at once.
const MAX_DECODERS: usize = 2;

/// Limits of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileLimits {
    /// Largest file, in bytes.
    pub file_bytes: u64,
    /// Most files of one user.
    pub files: u64,
    /// Most bytes of all files of one user.
    pub bytes: u64,
}

impl FileLimits {
    /// Takes the configured limits.
    pub fn of(config: &FilesConfig) -> Self {
        Self { file_bytes: config.max_file_bytes, files: config.max_files, bytes: config.max_bytes }
    }
}

/// Uploads of one user in progress at this process: not in the read model yet, but they count.
#[derive(Debug, Clone, Copy, Default)]
struct InProgress {
    files: u64,
    bytes: u64,
}

/// Uploads that are in progress at this process. Cheap to clone.
#[derive(Clone)]
pub struct Uploads {
    /// Limits of files.
    pub limits: FileLimits,
    in_progress: Arc<Mutex<HashMap<Uuid, InProgress>>>,
    memory: Arc<Semaphore>,
    decoders: Arc<Semaphore>,
}

impl Uploads {
    /// Starts without uploads.
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

    /// Reserves a slot for one more upload.
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
            "Too many concurrent uploads; please wait a moment.",
        )
        .after(Duration::from_secs(1)))
    }
}

/// One upload in progress; counts until it is dropped.
pub(super) struct UploadSlot {
    uploads: Uploads,
    owner: Uuid,
    bytes: u64,
}

impl UploadSlot {
    /// Sets the size in bytes, expected or actual.
    pub(super) fn set_size(&mut self, bytes: u64) {
        let before = std::mem::replace(&mut self.bytes, bytes);
        self.uploads.with_in_progress(self.owner, |one| one.bytes = one.bytes - before + bytes);
    }

    /// Checks the owner's storage limit, including this upload. `announced` is a file that the read model already counts.
    pub(super) async fn check_limit(
        &self,
        pool: &FastPool,
        announced: Option<FileId>,
    ) -> Result<(), AppError> {
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
                format!("Storage limit reached ({} files, {} bytes).", limits.files, limits.bytes),
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

/// An upload whose body is being received.
pub struct Upload {
    incoming: UploadBuffer,
    staging: Option<PathBuf>,
    pub(super) slot: UploadSlot,
}

impl Upload {
    /// Appends a piece of the body.
    ///
    /// # Errors
    /// `TooLarge`, `StorageFull`, `Unavailable`.
    pub async fn push(&mut self, piece: &[u8]) -> Result<(), AppError> {
        self.incoming.push(self.staging.as_deref(), piece).await?;
        Ok(())
    }
}

/// A completely received file, not inspected yet.
pub(super) struct ReceivedFile {
    pub(super) arrived: ReceivedBytes,
    slot: UploadSlot,
    memory: OwnedSemaphorePermit,
}

impl ReceivedFile {
    /// Skips the inspection of bytes that are stored, and were inspected then.
    pub(super) fn inspected_before(self, kind: FileKind) -> InspectedFile {
        let Self { arrived, slot, memory } = self;
        InspectedFile { kind, arrived, image: None, preview: None, slot, _memory: memory }
    }
}

/// A received and inspected file.
pub(super) struct InspectedFile {
    pub(super) kind: FileKind,
    pub(super) arrived: ReceivedBytes,
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
    /// Begins an upload; `length` is the declared length of the body, if any.
    ///
    /// # Errors
    /// `TooLarge` by the declared length, and `Throttled`.
    pub fn upload(&self, owner: UserId, length: Option<u64>) -> Result<Upload, AppError> {
        let limit = self.uploads.limits.file_bytes;
        let slot = self.uploads.reserve(owner)?;
        if length.is_some_and(|length| length > limit) {
            return Err(crate::files::UploadError::TooLarge { limit }.into());
        }
        let staging = self.store.staging().map(ToOwned::to_owned);
        Ok(Upload { incoming: UploadBuffer::new(limit), staging, slot })
    }

    /// Returns the largest allowed file, in bytes.
    pub fn max_file_bytes(&self) -> u64 {
        self.uploads.limits.file_bytes
    }

    /// Returns the error for a file that is larger than [`max_file_bytes`](Self::max_file_bytes).
    pub fn too_large(&self) -> AppError {
        crate::files::UploadError::TooLarge { limit: self.max_file_bytes() }.into()
    }

    /// Whether this person may bring one more file, before anything of it is read.
    ///
    /// # Errors
    /// `TooLarge` with the code `file_quota`, or the database's.
    pub(super) async fn check_storage_limit(
        &self,
        upload: &Upload,
        announced: Option<FileId>,
    ) -> Result<(), AppError> {
        upload.slot.check_limit(&self.core.pool, announced).await
    }

    /// Takes the received file into memory; it must not be empty.
    pub(super) async fn receive(&self, upload: Upload) -> Result<ReceivedFile, AppError> {
        if upload.incoming.size() == 0 {
            return Err(AppError::new(Kind::Invalid, "file_empty", "The file is empty."));
        }
        let memory = Arc::clone(&self.uploads.memory).acquire_owned().await.map_err(closed)?;
        let Upload { incoming, staging: _, mut slot } = upload;
        let arrived = incoming.finish().await?;
        slot.set_size(u64::try_from(arrived.bytes.len()).unwrap_or(u64::MAX));
        Ok(ReceivedFile { arrived, slot, memory })
    }

    /// Checks that the content matches its type, and makes the preview of an image.
    pub(super) async fn inspect(
        &self,
        received: ReceivedFile,
        kind: FileKind,
    ) -> Result<InspectedFile, AppError> {
        let ReceivedFile { arrived, slot, memory } = received;
        let _permit = self.uploads.decoders.acquire().await.map_err(closed)?;
        let bytes = arrived.bytes.clone();
        let seen = tokio::task::spawn_blocking(move || -> Result<_, AppError> {
            kind.check(&bytes)?;
            Ok(if kind.is_image() { Some(picture::inspect(kind, &bytes)?) } else { None })
        });
        let picture = seen.await.map_err(|error| AppError::internal(join_error(&error)))??;
        let (image, preview) = match picture {
            Some(picture) => (Some(picture.size), Some(picture.preview.into())),
            None => (None, None),
        };
        Ok(InspectedFile { kind, arrived, image, preview, slot, _memory: memory })
    }

    /// Stores the bytes of a file. Until its event is appended, only the sweep knows them.
    pub(super) async fn store_bytes(
        &self,
        file: FileId,
        file_content: &InspectedFile,
    ) -> Result<(), StoreError> {
        let store = &self.store;
        let ReceivedBytes { bytes, sha256 } = &file_content.arrived;
        // The preview first: an image whose bytes are stored must have one.
        if let Some(preview) = &file_content.preview {
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
    fn upload_counts_until_dropped() {
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
    fn concurrent_uploads_are_limited_per_user() {
        let uploads = uploads();
        let (ada, eve) = (UserId::new(Uuid::from_u128(1)), UserId::new(Uuid::from_u128(2)));
        let mut slots: Vec<UploadSlot> =
            (0..MAX_CONCURRENT_UPLOADS).map(|_| uploads.reserve(ada).unwrap()).collect();
        let rejected = uploads.reserve(ada).err().unwrap();
        assert_eq!((rejected.kind, rejected.code), (Kind::Throttled, "too_many_uploads"));
        uploads.reserve(eve).unwrap();
        slots.pop();
        uploads.reserve(ada).unwrap();
    }
}
