//! Where the bytes of files lie: a folder, or a bucket of an S3-compatible service.
//!
//! A file's bytes lie under its id *and* their hash, so that bytes are never written over: of two uploads that meet,
//! each has its own place, and the log decides which one counts. A write is whole or not there at all; what a crash
//! leaves without an event is removed by the [sweep](super::sweep).

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aggregates::ids::FileId;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt as _, TryStreamExt as _};
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, ObjectStoreExt as _, RetryConfig};
use tokio::sync::OnceCell;

use crate::config::{FilesPlace, S3Config};
use crate::telemetry::panics::broken_off;

/// How long one operation may take. A file is at most some megabytes.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often an operation is tried again at a service, and for how long in all.
const RETRIES: usize = 3;
const RETRY_PATIENCE: Duration = Duration::from_secs(10);
/// What the place of a preview ends with.
const PREVIEW: &str = ".preview";

/// Why the store did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no room left.
    #[error("the file store is full")]
    Full(#[source] anyhow::Error),
    /// There is nothing at that place.
    #[error("the file store does not have it")]
    Missing,
    /// Anything else: it does not answer, or refuses.
    #[error("the file store does not work")]
    Failed(#[source] anyhow::Error),
}

/// The place of one object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    file: FileId,
    sha256: String,
    preview: bool,
}

impl Key {
    /// The place of a file's bytes, which have this hash (64 hexadecimal digits).
    pub fn bytes(file: FileId, sha256: &str) -> Self {
        Self { file, sha256: sha256.to_owned(), preview: false }
    }

    /// The place of the preview of the image with these bytes.
    pub fn preview(file: FileId, sha256: &str) -> Self {
        Self { preview: true, ..Self::bytes(file, sha256) }
    }

    /// The file.
    pub fn file(&self) -> FileId {
        self.file
    }

    /// The hash of the file's bytes.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// None: nothing of ours lies there.
    fn parse(name: &str) -> Option<Self> {
        let (rest, preview) = match name.strip_suffix(PREVIEW) {
            Some(rest) => (rest, true),
            None => (name, false),
        };
        let (file, sha256) = rest.split_once('.')?;
        let is_hash =
            sha256.len() == 64 && sha256.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let key = Self { file: file.parse().ok()?, sha256: sha256.to_owned(), preview };
        (is_hash && key.to_string() == name).then_some(key)
    }

    fn path(&self) -> Path {
        Path::from(self.to_string())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}{}", self.file, self.sha256, if self.preview { PREVIEW } else { "" })
    }
}

/// An object that lies in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Where.
    pub key: Key,
    /// When it was written, by the store's clock.
    pub written: chrono::DateTime<chrono::Utc>,
}

/// The store. Cheap to clone.
#[derive(Clone)]
pub struct FileStore {
    inner: Arc<Inner>,
}

struct Inner {
    opened: OnceCell<Arc<dyn ObjectStore>>,
    /// The folder that is opened when it is first needed: a process without files need not be able to write one.
    folder: Option<PathBuf>,
    described: String,
}

impl FileStore {
    /// The configured store. A folder is made when it is first needed, or now when it was asked for by name.
    ///
    /// # Errors
    /// The folder cannot be made, or the service's settings cannot be used.
    pub async fn open(place: &FilesPlace) -> anyhow::Result<Self> {
        let described = place.to_string();
        match place {
            FilesPlace::Folder { path, asked_for } => {
                let folder = Some(path.clone());
                let store = Self { inner: Arc::new(Inner { opened: OnceCell::new(), folder, described }) };
                if *asked_for {
                    store.opened().await.map_err(|error| match error {
                        StoreError::Full(source) | StoreError::Failed(source) => source
                            .context(format!("The folder {} (FILES_URL) cannot be used", path.display())),
                        StoreError::Missing => anyhow::anyhow!("The folder {} is not there", path.display()),
                    })?;
                }
                Ok(store)
            }
            FilesPlace::S3(config) => Ok(Self::over(s3(config)?, described)),
        }
    }

    /// A store over any implementation.
    pub fn over(store: Arc<dyn ObjectStore>, described: impl Into<String>) -> Self {
        Self {
            inner: Arc::new(Inner {
                opened: OnceCell::new_with(Some(store)),
                folder: None,
                described: described.into(),
            }),
        }
    }

    /// Where it is, in words for the log.
    pub fn describe(&self) -> &str {
        &self.inner.described
    }

    /// Where uploads are gathered, on the same volume as the store; none: wherever the system has room for such.
    pub fn staging(&self) -> Option<&std::path::Path> {
        self.inner.folder.as_deref()
    }

    /// Keeps bytes; on return they are on the disk, or at the service.
    ///
    /// # Errors
    /// `Full`, or `Failed`; nothing is kept then.
    pub async fn put(&self, key: &Key, bytes: Bytes) -> Result<(), StoreError> {
        let store = self.opened().await?;
        within(store.put(&key.path(), bytes.into())).await.map(drop)
    }

    /// All bytes of an object.
    ///
    /// # Errors
    /// `Missing` or `Failed`.
    pub async fn get(&self, key: &Key) -> Result<Bytes, StoreError> {
        let store = self.opened().await?;
        within(async { store.get(&key.path()).await?.bytes().await }).await
    }

    /// The bytes of an object, piece by piece.
    ///
    /// # Errors
    /// `Missing` or `Failed`; the stream may fail half-way.
    pub async fn stream(
        &self,
        key: &Key,
    ) -> Result<BoxStream<'static, Result<Bytes, StoreError>>, StoreError> {
        let store = self.opened().await?;
        let found = within(store.get(&key.path())).await?;
        Ok(found.into_stream().map_err(StoreError::from).boxed())
    }

    /// Removes an object; one that is not there is removed already.
    ///
    /// # Errors
    /// `Failed`.
    pub async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        let store = self.opened().await?;
        match within(store.delete(&key.path())).await {
            Ok(()) | Err(StoreError::Missing) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Everything of ours that lies there. What is not named as ours is left out, and left alone.
    ///
    /// # Errors
    /// `Failed`; the stream may fail half-way.
    pub async fn list(&self) -> Result<BoxStream<'static, Result<Kept, StoreError>>, StoreError> {
        // A folder that nobody has needed yet is not made for looking into it.
        if self
            .inner
            .folder
            .as_deref()
            .is_some_and(|folder| !self.inner.opened.initialized() && !folder.is_dir())
        {
            return Ok(futures::stream::empty().boxed());
        }
        let store = self.opened().await?;
        let kept = |object: object_store::ObjectMeta| {
            let key = Key::parse(object.location.filename()?)?;
            Some(Kept { key, written: object.last_modified })
        };
        Ok(store
            .list(None)
            .map_err(StoreError::from)
            .try_filter_map(move |object| std::future::ready(Ok(kept(object))))
            .boxed())
    }

    /// The folder as a store, or what was opened at start.
    async fn opened(&self) -> Result<Arc<dyn ObjectStore>, StoreError> {
        let open = async || {
            let folder = self.inner.folder.clone().unwrap_or_default();
            let opened = tokio::task::spawn_blocking(move || folder_store(&folder)).await;
            opened.map_err(|error| StoreError::Failed(broken_off(&error)))?
        };
        self.inner.opened.get_or_try_init(open).await.cloned()
    }
}

impl fmt::Debug for FileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileStore({})", self.inner.described)
    }
}

fn folder_store(folder: &std::path::Path) -> Result<Arc<dyn ObjectStore>, StoreError> {
    use std::os::unix::fs::DirBuilderExt as _;
    // What people brought is nobody else's business on this machine.
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| StoreError::of(error.into()))?;
    let store = LocalFileSystem::new_with_prefix(folder)?.with_fsync(true);
    Ok(Arc::new(store))
}

fn s3(config: &S3Config) -> anyhow::Result<Arc<dyn ObjectStore>> {
    let plain = config.endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http://"));
    let retry = RetryConfig {
        backoff: BackoffConfig::default(),
        max_retries: RETRIES,
        retry_timeout: RETRY_PATIENCE,
    };
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&config.bucket)
        .with_region(&config.region)
        .with_retry(retry)
        // One request for each object is what every compatible service understands.
        .with_disable_bulk_delete(true)
        .with_client_options(ClientOptions::new().with_allow_http(plain).with_timeout(PATIENCE));
    if let Some(endpoint) = &config.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    if let Some((id, secret)) = &config.credentials {
        builder = builder.with_access_key_id(id.expose()).with_secret_access_key(secret.expose());
    }
    if let Some(token) = &config.session_token {
        builder = builder.with_token(token.expose());
    }
    let store = builder.build()?;
    Ok(match &config.prefix {
        Some(prefix) => Arc::new(PrefixStore::new(store, prefix.as_str())),
        None => Arc::new(store),
    })
}

/// Does it within the time that one operation may take.
async fn within<T>(operation: impl Future<Output = object_store::Result<T>>) -> Result<T, StoreError> {
    match tokio::time::timeout(PATIENCE, operation).await {
        Ok(done) => Ok(done?),
        Err(elapsed) => Err(StoreError::Failed(elapsed.into())),
    }
}

impl StoreError {
    /// From a failure whose cause may be that the disk is full.
    fn of(error: anyhow::Error) -> Self {
        let full = |cause: &(dyn std::error::Error + 'static)| {
            cause.downcast_ref::<io::Error>().is_some_and(|error| {
                matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            })
        };
        if error.chain().any(full) { Self::Full(error) } else { Self::Failed(error) }
    }
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        Self::of(error.into())
    }
}

impl From<object_store::Error> for StoreError {
    fn from(error: object_store::Error) -> Self {
        if matches!(error, object_store::Error::NotFound { .. }) {
            return Self::Missing;
        }
        Self::of(error.into())
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn key(n: u128) -> Key {
        Key::bytes(FileId::new(Uuid::from_u128(n)), &"0f".repeat(32))
    }

    async fn folder(path: &std::path::Path) -> FileStore {
        FileStore::open(&FilesPlace::Folder { path: path.to_owned(), asked_for: true }).await.unwrap()
    }

    #[tokio::test]
    async fn what_is_kept_is_there_until_it_is_removed() {
        let place = tempfile::tempdir().unwrap();
        let store = folder(&place.path().join("made/here")).await;
        let preview = Key::preview(key(1).file(), key(1).sha256());
        store.put(&key(1), Bytes::from_static(b"bytes")).await.unwrap();
        store.put(&preview, Bytes::from_static(b"small")).await.unwrap();
        std::fs::write(place.path().join("made/here/README"), "not ours").unwrap();
        assert_eq!(store.get(&key(1)).await.unwrap(), "bytes");
        let pieces: Vec<Bytes> = store.stream(&preview).await.unwrap().try_collect().await.unwrap();
        assert_eq!(pieces.concat(), b"small");
        let listed: Vec<Kept> = store.list().await.unwrap().try_collect().await.unwrap();
        let mut keys: Vec<Key> = listed.into_iter().map(|kept| kept.key).collect();
        keys.sort();
        assert_eq!(keys, [key(1), preview.clone()]);

        for _ in 0..2 {
            store.delete(&key(1)).await.unwrap();
        }
        assert!(matches!(store.get(&key(1)).await, Err(StoreError::Missing)));
        assert!(matches!(store.stream(&key(2)).await, Err(StoreError::Missing)));
        assert_eq!(store.get(&preview).await.unwrap(), "small");
    }

    #[test]
    fn names_are_read_back_and_others_are_not_ours() {
        let name = key(7).to_string();
        assert_eq!(Key::parse(&name), Some(key(7)));
        let preview = Key::preview(key(7).file(), key(7).sha256());
        assert_eq!(Key::parse(&preview.to_string()), Some(preview));
        for other in
            ["", "README", ".preview", &name[1..], &name[..90], &format!("{name}#1"), &name.to_uppercase()]
        {
            assert_eq!(Key::parse(other), None, "{other}");
        }
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_had_is_told_at_start_when_it_was_asked_for_and_later_otherwise() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("a-file");
        std::fs::write(&file, "in the way").unwrap();
        let path = file.join("files");
        let asked = FilesPlace::Folder { path: path.clone(), asked_for: true };
        assert!(FileStore::open(&asked).await.unwrap_err().to_string().contains("FILES_URL"));
        let store = FileStore::open(&FilesPlace::Folder { path, asked_for: false }).await.unwrap();
        assert!(matches!(store.put(&key(1), Bytes::new()).await, Err(StoreError::Failed(_))));
    }

    #[test]
    fn a_full_disk_is_told_from_other_failures() {
        let full = |kind: io::ErrorKind| object_store::Error::Generic {
            store: "test",
            source: Box::new(io::Error::from(kind)),
        };
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
            assert!(matches!(StoreError::from(full(kind)), StoreError::Full(_)));
        }
        assert!(matches!(StoreError::from(full(io::ErrorKind::PermissionDenied)), StoreError::Failed(_)));
    }
}
