//! A file on its way in: how much one person may bring, and what is looked at before it is kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aggregates::file::ImageSize;
use aggregates::ids::{FileId, UserId};
use bytes::Bytes;
use projections::files::query;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use super::error::{AppError, Kind};
use super::{App, Parts};
use crate::auth::LinkKey;
use crate::config::FilesConfig;
use crate::files::{Arrived, FileKind, FileStore, Incoming, Key, StoreError, picture};
use crate::telemetry::panics::broken_off;

/// How many files one person may bring at the same moment.
const AT_ONCE: u64 = 20;
/// How many files are held in memory at once, to be looked at and kept.
const IN_MEMORY: usize = 8;
/// How many images are decoded at once.
const LOOKS: usize = 2;

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

/// What use cases of files work with. Cheap to clone.
#[derive(Clone)]
pub struct FileParts {
    /// Where bytes lie.
    pub store: FileStore,
    /// Signs links.
    pub(super) links: LinkKey,
    /// How much may be brought.
    pub limits: FileLimits,
    in_hand: Arc<Mutex<HashMap<Uuid, InHand>>>,
    memory: Arc<Semaphore>,
    looks: Arc<Semaphore>,
}

/// What a person brings right now, at this process: not in the read model yet, and to be counted all the same.
#[derive(Debug, Clone, Copy, Default)]
struct InHand {
    files: u64,
    bytes: u64,
}

impl FileParts {
    /// Parts over this store.
    pub fn new(store: FileStore, links: LinkKey, limits: FileLimits) -> Self {
        Self {
            store,
            links,
            limits,
            in_hand: Arc::default(),
            memory: Arc::new(Semaphore::new(IN_MEMORY)),
            looks: Arc::new(Semaphore::new(LOOKS)),
        }
    }

    fn with_in_hand<T>(&self, owner: Uuid, change: impl FnOnce(&mut InHand) -> T) -> T {
        let mut all = self.in_hand.lock().unwrap_or_else(PoisonError::into_inner);
        let one = all.entry(owner).or_default();
        let changed = change(one);
        if one.files == 0 {
            all.remove(&owner);
        }
        changed
    }

    /// Takes a place for one more file.
    pub(super) fn place(&self, owner: UserId) -> Result<Place, AppError> {
        let owner = owner.uuid();
        let taken = self.with_in_hand(owner, |one| {
            let free = one.files < AT_ONCE;
            one.files += u64::from(free);
            free
        });
        if taken {
            return Ok(Place { parts: self.clone(), owner, bytes: 0 });
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
pub(super) struct Place {
    parts: FileParts,
    owner: Uuid,
    bytes: u64,
}

impl Place {
    /// How many bytes it has, or will have.
    pub(super) fn weighs(&mut self, bytes: u64) {
        let before = std::mem::replace(&mut self.bytes, bytes);
        self.parts.with_in_hand(self.owner, |one| one.bytes = one.bytes - before + bytes);
    }

    /// Checks that it still fits into what its owner may have. `announced` was counted already.
    pub(super) async fn fits(&self, parts: &Parts, announced: Option<FileId>) -> Result<(), AppError> {
        let used = query::usage(&parts.pool, self.owner, announced.map(FileId::uuid)).await?;
        let in_hand = self.parts.with_in_hand(self.owner, |one| *one);
        let sum = |stored: i64, more: u64| u64::try_from(stored).unwrap_or_default().saturating_add(more);
        let limits = self.parts.limits;
        if sum(used.files, in_hand.files) > limits.files || sum(used.bytes, in_hand.bytes) > limits.bytes {
            return Err(AppError::new(
                Kind::TooLarge,
                "file_quota",
                format!("One person may have {} files with {} bytes in all.", limits.files, limits.bytes),
            ));
        }
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.weighs(0);
        self.parts.with_in_hand(self.owner, |one| one.files = one.files.saturating_sub(1));
    }
}

/// A file that is on its way.
pub struct Upload {
    incoming: Incoming,
    pub(super) place: Place,
}

impl Upload {
    /// Takes one more piece of it.
    ///
    /// # Errors
    /// `TooLarge`, `StorageFull`, `Unavailable`.
    pub async fn push(&mut self, piece: &[u8]) -> Result<(), AppError> {
        let folder = self.place.parts.store.staging().map(ToOwned::to_owned);
        self.incoming.push(folder.as_deref(), piece).await?;
        Ok(())
    }
}

/// A file that has come whole, and was not looked at yet.
pub(super) struct Whole {
    pub(super) arrived: Arrived,
    place: Place,
    memory: OwnedSemaphorePermit,
}

impl Whole {
    /// Whose bytes are stored and were looked at then: there is nothing more to be seen.
    pub(super) fn known(self, kind: FileKind) -> Looked {
        let Self { arrived, place, memory } = self;
        Looked { kind, arrived, image: None, preview: None, place, _memory: memory }
    }
}

/// A file that has come whole and was looked at.
pub(super) struct Looked {
    pub(super) kind: FileKind,
    pub(super) arrived: Arrived,
    pub(super) image: Option<ImageSize>,
    pub(super) place: Place,
    preview: Option<Bytes>,
    _memory: OwnedSemaphorePermit,
}

impl Looked {
    pub(super) fn size(&self) -> u64 {
        u64::try_from(self.arrived.bytes.len()).unwrap_or(u64::MAX)
    }
}

fn closed(_: AcquireError) -> AppError {
    AppError::shutting_down()
}

impl App {
    /// Begins to take a file of this person's, whose length is known when its sender has told it.
    ///
    /// # Errors
    /// `TooLarge` already by its length, and `Throttled`.
    pub fn upload(&self, owner: UserId, length: Option<u64>) -> Result<Upload, AppError> {
        let files = &self.parts.files;
        let limit = files.limits.file_bytes;
        let place = files.place(owner)?;
        if length.is_some_and(|length| length > limit) {
            return Err(crate::files::IncomingError::TooLarge { limit }.into());
        }
        Ok(Upload { incoming: Incoming::new(limit), place })
    }

    /// The largest file that is taken, in bytes.
    pub fn largest_file(&self) -> u64 {
        self.parts.files.limits.file_bytes
    }

    /// Whether this person may bring one more file, before anything of it is read.
    ///
    /// # Errors
    /// `TooLarge` with the code `file_quota`, or the database's.
    pub(super) async fn has_room(&self, upload: &Upload, announced: Option<FileId>) -> Result<(), AppError> {
        upload.place.fits(&self.parts, announced).await
    }

    /// Takes all of a file that has come into memory: there has to be something.
    pub(super) async fn whole(&self, upload: Upload) -> Result<Whole, AppError> {
        if upload.incoming.size() == 0 {
            return Err(AppError::new(Kind::Invalid, "file_empty", "The file is empty."));
        }
        let memory = Arc::clone(&self.parts.files.memory).acquire_owned().await.map_err(closed)?;
        let Upload { incoming, mut place } = upload;
        let arrived = incoming.whole().await?;
        place.weighs(u64::try_from(arrived.bytes.len()).unwrap_or(u64::MAX));
        Ok(Whole { arrived, place, memory })
    }

    /// Looks at a file that has come: that it is what it should be.
    pub(super) async fn look(&self, whole: Whole, kind: FileKind) -> Result<Looked, AppError> {
        let Whole { arrived, place, memory } = whole;
        let _turn = self.parts.files.looks.acquire().await.map_err(closed)?;
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
        Ok(Looked { kind, arrived, image, preview, place, _memory: memory })
    }

    /// Keeps the bytes of a file. From here to its event nothing but the sweep knows of them.
    pub(super) async fn keep(&self, file: FileId, looked: &Looked) -> Result<(), StoreError> {
        let store = &self.parts.files.store;
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
    use object_store::memory::InMemory;

    use super::*;

    fn parts() -> FileParts {
        let store = FileStore::over(Arc::new(InMemory::new()), "memory");
        let limits = FileLimits { file_bytes: 10, files: 3, bytes: 20 };
        FileParts::new(store, LinkKey::new(&[7; 32]).unwrap(), limits)
    }

    #[test]
    fn what_is_in_hand_counts_until_it_is_dropped() {
        let parts = parts();
        let ada = UserId::new(Uuid::from_u128(1));
        let in_hand = || parts.with_in_hand(ada.uuid(), |one| (one.files, one.bytes));
        let mut one = parts.place(ada).unwrap();
        one.weighs(7);
        let mut two = parts.place(ada).unwrap();
        two.weighs(5);
        two.weighs(4);
        assert_eq!(in_hand(), (2, 11));
        drop(one);
        assert_eq!(in_hand(), (1, 4));
        drop(two);
        assert!(parts.in_hand.lock().unwrap().is_empty());
    }

    #[test]
    fn one_person_brings_so_many_at_once_and_another_is_not_kept_from_it() {
        let parts = parts();
        let (ada, eve) = (UserId::new(Uuid::from_u128(1)), UserId::new(Uuid::from_u128(2)));
        let mut places: Vec<Place> = (0..AT_ONCE).map(|_| parts.place(ada).unwrap()).collect();
        let refused = parts.place(ada).err().unwrap();
        assert_eq!((refused.kind, refused.code), (Kind::Throttled, "too_many_uploads"));
        parts.place(eve).unwrap();
        places.pop();
        parts.place(ada).unwrap();
    }
}
