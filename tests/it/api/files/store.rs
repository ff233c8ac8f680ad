//! The store: when it is full or away, and what is swept out of it.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use sqlx::PgPool;
use uuid::Uuid;
use verbatim::bootstrap::database::MIGRATOR;
use verbatim::files::{FileStore, Key};

use super::{bring, file_events, note, objects, png, uuid};
use crate::support::app::TestApp;

/// A store with room for so many bytes; fewer than none: it does not answer at all.
#[derive(Debug)]
struct Narrow {
    inner: InMemory,
    room: Arc<AtomicI64>,
}

impl fmt::Display for Narrow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Narrow")
    }
}

impl Narrow {
    fn spend(&self, bytes: usize) -> Result<()> {
        let bytes = i64::try_from(bytes).unwrap();
        let room = self.room.load(Ordering::Relaxed);
        let kind = match room {
            room if room < 0 => io::ErrorKind::ConnectionRefused,
            room if room < bytes => io::ErrorKind::StorageFull,
            _ => {
                self.room.store(room - bytes, Ordering::Relaxed);
                return Ok(());
            }
        };
        Err(object_store::Error::Generic { store: "narrow", source: Box::new(io::Error::from(kind)) })
    }
}

#[async_trait]
impl ObjectStore for Narrow {
    async fn put_opts(&self, at: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.spend(payload.content_length())?;
        self.inner.put_opts(at, payload, options).await
    }
    async fn put_multipart_opts(
        &self,
        at: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, options).await
    }
    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        self.spend(0)?;
        self.inner.get_opts(at, options).await
    }
    fn delete_stream(&self, at: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(at)
    }
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }
    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }
    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_store_that_is_full_or_away_takes_nothing_and_recovers(db: PgPool) {
    let room = Arc::new(AtomicI64::new(1000));
    let narrow = Narrow { inner: InMemory::new(), room: Arc::clone(&room) };
    let app = TestApp::with_files(&db, &[], FileStore::over(Arc::new(narrow), "narrow")).await;
    let person = app.person().await;
    let id = note(&app, &person, &"x".repeat(800)).await;
    let text = "y".repeat(300);
    bring(&app, &person, "a.txt", None, text.as_bytes()).await.assert_error(507, "storage_full");
    assert_eq!((file_events(&app).await, objects(&app).await), (1, 1), "no half file, no event");
    // Room for the preview and not for the image: the sweep takes the preview away later, nobody sees it before.
    room.store(800, Ordering::Relaxed);
    let image = noise();
    bring(&app, &person, "a.png", None, &image).await.assert_error(507, "storage_full");
    assert_eq!(file_events(&app).await, 1);

    room.store(-1, Ordering::Relaxed);
    let away = bring(&app, &person, "a.txt", None, text.as_bytes()).await;
    away.assert_error(503, "unavailable");
    assert!(!away.header("retry-after").is_empty());
    app.get(&format!("/files/{id}")).by(&person).send().await.assert_error(503, "unavailable");
    assert_eq!(file_events(&app).await, 1);

    room.store(1_000_000, Ordering::Relaxed);
    app.get(&format!("/files/{id}")).by(&person).send().await.is(200);
    bring(&app, &person, "a.txt", None, text.as_bytes()).await.is(200);
    bring(&app, &person, "a.png", None, &image).await.is(200);
    app.end().await;
}

/// A PNG that is larger than its preview.
fn noise() -> Vec<u8> {
    let mut image = png(16, 16);
    // What stands behind the end of a PNG is no part of the picture.
    image.extend(vec![b'.'; 2000]);
    image
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn the_sweep_takes_what_no_file_has_and_nothing_else(db: PgPool) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}", folder.path().display());
    let app = TestApp::with(&db, &[("FILES_URL", &url)]).await;
    let person = app.person().await;
    let kept = note(&app, &person, "kept").await;
    bring(&app, &person, "a.png", None, &png(30, 30)).await.is(200);
    let gone = note(&app, &person, "gone").await;
    app.delete(&format!("/files/{gone}")).by(&person).send().await.is(204);
    // As crashes leave them: of no file, and other bytes of a file that has its own.
    let sha256 = "0f".repeat(32);
    let lost =
        [Key::bytes(Uuid::from_u128(1).into(), &sha256), Key::preview(Uuid::from_u128(1).into(), &sha256)];
    let other = Key::bytes(uuid(&kept).into(), &sha256);
    for key in lost.iter().chain([&other]) {
        app.files().put(key, "lost".into()).await.unwrap();
    }
    let fresh = Key::bytes(Uuid::from_u128(2).into(), &sha256);
    app.files().put(&fresh, "an upload is about to record it".into()).await.unwrap();
    std::fs::write(folder.path().join("README"), "not ours").unwrap();
    assert_eq!(objects(&app).await, 8);
    let hours_ago = SystemTime::UNIX_EPOCH
        + Duration::from_secs(u64::try_from(app.services().core.clock.now().timestamp()).unwrap() - 2 * 3600);
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        if !path.ends_with(fresh.to_string()) {
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(hours_ago).unwrap();
        }
    }
    // A read model that is behind costs nobody a file: the log is asked.
    app.wait_for_projections().await;
    sqlx::query("DELETE FROM files WHERE file_id = $1").bind(uuid(&kept)).execute(&db).await.unwrap();
    assert_eq!(app.sweep().whole().await.unwrap(), 4);
    assert_eq!(app.sweep().whole().await.unwrap(), 0);
    assert_eq!(objects(&app).await, 4);
    assert!(folder.path().join("README").exists());
    app.files().get(&fresh).await.unwrap();
    app.stop(Duration::from_secs(10)).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn what_was_announced_and_never_came_is_deleted(db: PgPool) {
    use aggregates::ids::{LoginId, UserId};
    use verbatim::app::{Actor, RequestContext};
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let request = RequestContext { request_id: "test".to_owned(), surface: "test", key: None };
    let actor = Actor { user: UserId::new(person.id), login: LoginId::new(Uuid::nil()) };
    app.services().files.announce_file(&request, actor, "a.txt", None, 5).await.unwrap();
    assert_eq!(app.sweep().announced().await.unwrap(), 0, "it may still come");
    let late = verbatim::clock::Clock::fixed(app.services().core.clock.now() + chrono::TimeDelta::hours(2));
    let sweep = verbatim::files::FileSweep { clock: late, ..app.sweep().clone() };
    assert_eq!(sweep.announced().await.unwrap(), 1);
    app.wait_for_projections().await;
    assert_eq!(sweep.announced().await.unwrap(), 0);
    assert_eq!(file_events(&app).await, 2);
    app.end().await;
}
