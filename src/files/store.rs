//! The store of file bytes: a folder, or a bucket of an S3-compatible service.
//!
//! The key is the file's id *and* the hash of its bytes, so bytes are never overwritten: two concurrent uploads have
//! different keys, and the log decides which one counts. Writes are atomic; the [sweep](super::sweep) removes bytes that
//! a crash left without an event.

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

use crate::config::{FileStoreLocation, S3Config};
use crate::telemetry::panics::join_error;

/// Time limit of one operation. A file is at most a few megabytes.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(20);
/// Retries of an operation at a service, and the time limit for all of them.
const MAX_RETRIES: usize = 3;
const RETRIES_TIMEOUT: Duration = Duration::from_secs(10);
/// Suffix of a preview's key.
const PREVIEW_SUFFIX: &str = ".preview";

/// Why a store operation failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk is full.
    #[error("the file store is full")]
    Full(#[source] anyhow::Error),
    /// There is no object with this key.
    #[error("the file store does not have the object")]
    Missing,
    /// Any other failure, e.g. a timeout or missing permissions.
    #[error("the file store failed")]
    Failed(#[source] anyhow::Error),
}

/// Key of one object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    file: FileId,
    sha256: String,
    preview: bool,
}

impl Key {
    /// Returns the key of a file's bytes with this hash (64 hexadecimal digits).
    pub fn bytes(file: FileId, sha256: &str) -> Self {
        Self { file, sha256: sha256.to_owned(), preview: false }
    }

    /// Returns the key of the preview of the image with this hash.
    pub fn preview(file: FileId, sha256: &str) -> Self {
        Self { preview: true, ..Self::bytes(file, sha256) }
    }

    /// Returns the file's id.
    pub fn file(&self) -> FileId {
        self.file
    }

    /// Returns the hash of the file's bytes.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Parses a key; `None` for objects that are not ours.
    fn parse(name: &str) -> Option<Self> {
        let (rest, preview) = match name.strip_suffix(PREVIEW_SUFFIX) {
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
        write!(f, "{}.{}{}", self.file, self.sha256, if self.preview { PREVIEW_SUFFIX } else { "" })
    }
}

/// An object in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredObject {
    /// Key of the object.
    pub key: Key,
    /// Time of the write, by the store's clock.
    pub written: chrono::DateTime<chrono::Utc>,
}

/// The file store. Cheap to clone.
#[derive(Clone)]
pub struct FileStore {
    inner: Arc<Inner>,
}

struct Inner {
    opened: OnceCell<Arc<dyn ObjectStore>>,
    /// The folder is opened on first use: a process that handles no files needs no write access.
    folder: Option<PathBuf>,
    described: String,
}

impl FileStore {
    /// Opens the configured store. A folder is created on first use, or now if the configuration names it.
    ///
    /// # Errors
    /// If the folder cannot be created, or the service's settings are invalid.
    pub async fn open(location: &FileStoreLocation) -> anyhow::Result<Self> {
        let described = location.to_string();
        match location {
            FileStoreLocation::Folder { path, is_configured } => {
                let folder = Some(path.clone());
                let store = Self { inner: Arc::new(Inner { opened: OnceCell::new(), folder, described }) };
                if *is_configured {
                    store.opened().await.map_err(|error| match error {
                        StoreError::Full(source) | StoreError::Failed(source) => source
                            .context(format!("The folder {} (FILES_URL) cannot be used", path.display())),
                        StoreError::Missing => anyhow::anyhow!("The folder {} is not there", path.display()),
                    })?;
                }
                Ok(store)
            }
            FileStoreLocation::S3(config) => Ok(Self::over(s3(config)?, described)),
        }
    }

    /// Creates a store from any implementation.
    pub fn over(store: Arc<dyn ObjectStore>, described: impl Into<String>) -> Self {
        Self {
            inner: Arc::new(Inner {
                opened: OnceCell::new_with(Some(store)),
                folder: None,
                described: described.into(),
            }),
        }
    }

    /// Returns a description of the location for log lines.
    pub fn describe(&self) -> &str {
        &self.inner.described
    }

    /// Returns the folder for spooling uploads, on the same volume as the store; `None` for the system's temp folder.
    pub fn staging(&self) -> Option<&std::path::Path> {
        self.inner.folder.as_deref()
    }

    /// Stores bytes durably.
    ///
    /// # Errors
    /// `Full` or `Failed`; nothing is stored then.
    pub async fn put(&self, key: &Key, bytes: Bytes) -> Result<(), StoreError> {
        let store = self.opened().await?;
        with_timeout(store.put(&key.path(), bytes.into())).await.map(drop)
    }

    /// Returns all bytes of an object.
    ///
    /// # Errors
    /// `Missing` or `Failed`.
    pub async fn get(&self, key: &Key) -> Result<Bytes, StoreError> {
        let store = self.opened().await?;
        with_timeout(async { store.get(&key.path()).await?.bytes().await }).await
    }

    /// Streams the bytes of an object.
    ///
    /// # Errors
    /// `Missing` or `Failed`; the stream may fail midway.
    pub async fn stream(
        &self,
        key: &Key,
    ) -> Result<BoxStream<'static, Result<Bytes, StoreError>>, StoreError> {
        let store = self.opened().await?;
        let found = with_timeout(store.get(&key.path())).await?;
        Ok(found.into_stream().map_err(StoreError::from).boxed())
    }

    /// Deletes an object; a missing one counts as deleted.
    ///
    /// # Errors
    /// `Failed`.
    pub async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        let store = self.opened().await?;
        match with_timeout(store.delete(&key.path())).await {
            Ok(()) | Err(StoreError::Missing) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Lists all of our objects; objects of others are ignored.
    ///
    /// # Errors
    /// `Failed`; the stream may fail midway.
    pub async fn list(&self) -> Result<BoxStream<'static, Result<StoredObject, StoreError>>, StoreError> {
        // Listing must not create the folder.
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
            Some(StoredObject { key, written: object.last_modified })
        };
        Ok(store
            .list(None)
            .map_err(StoreError::from)
            .try_filter_map(move |object| std::future::ready(Ok(kept(object))))
            .boxed())
    }

    /// Returns the store, opening the folder on first use.
    async fn opened(&self) -> Result<Arc<dyn ObjectStore>, StoreError> {
        let open = async || {
            let folder = self.inner.folder.clone().unwrap_or_default();
            let opened = tokio::task::spawn_blocking(move || folder_store(&folder)).await;
            opened.map_err(|error| StoreError::Failed(join_error(&error)))?
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
    // Only this system user may read uploaded files.
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
        max_retries: MAX_RETRIES,
        retry_timeout: RETRIES_TIMEOUT,
    };
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&config.bucket)
        .with_region(&config.region)
        .with_retry(retry)
        // Every compatible service supports one request per object.
        .with_disable_bulk_delete(true)
        .with_client_options(ClientOptions::new().with_allow_http(plain).with_timeout(OPERATION_TIMEOUT));
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

/// Runs an operation with [`OPERATION_TIMEOUT`].
async fn with_timeout<T>(operation: impl Future<Output = object_store::Result<T>>) -> Result<T, StoreError> {
    match tokio::time::timeout(OPERATION_TIMEOUT, operation).await {
        Ok(done) => Ok(done?),
        Err(elapsed) => Err(StoreError::Failed(elapsed.into())),
    }
}

impl StoreError {
    /// Converts a failure whose cause may be a full disk.
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
mod tests;
