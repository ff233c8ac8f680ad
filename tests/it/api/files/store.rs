//! Tests the file store when it is full or unreachable, and the sweeper.

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
use verbatim::files::{FileStore, Key};
use verbatim::schema::MIGRATOR;

use super::{file_events, png, stored_objects, upload, upload_text, uuid};
use crate::support::app::TestApp;

/// A store with limited capacity in bytes; if negative, the store is unreachable.
#[derive(Debug)]
struct LimitedStore {
    inner: InMemory,
    room: Arc<AtomicI64>,
}

impl fmt::Display for LimitedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LimitedStore")
    }
}

impl LimitedStore {
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
        Err(object_store::Error::Generic { store: "limited", source: Box::new(io::Error::from(kind)) })
    }
}

#[async_trait]
impl ObjectStore for LimitedStore {
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
async fn full_or_unreachable_store_rejects_uploads_and_recovers(db: PgPool) {
    let room = Arc::new(AtomicI64::new(1000));
    let limited = LimitedStore { inner: InMemory::new(), room: Arc::clone(&room) };
    let app = TestApp::with_files(&db, &[], FileStore::over(Arc::new(limited), "limited")).await;
    let person = app.person().await;
    let id = upload_text(&app, &person, &"x".repeat(800)).await;
    let text = "y".repeat(300);
    upload(&app, &person, "a.txt", None, text.as_bytes()).await.assert_error(507, "storage_full");
    assert_eq!((file_events(&app).await, stored_objects(&app).await), (1, 1), "no half file, no event");
    // Room for the preview but not for the image: the sweeper removes the preview later, and no response shows it.
    room.store(800, Ordering::Relaxed);
    let image = padded_png();
    upload(&app, &person, "a.png", None, &image).await.assert_error(507, "storage_full");
    assert_eq!(file_events(&app).await, 1);

    room.store(-1, Ordering::Relaxed);
    let away = upload(&app, &person, "a.txt", None, text.as_bytes()).await;
    away.assert_error(503, "unavailable");
    assert!(!away.header("retry-after").is_empty());
    app.get(&format!("/files/{id}")).by(&person).send().await.assert_error(503, "unavailable");
    assert_eq!(file_events(&app).await, 1);

    room.store(1_000_000, Ordering::Relaxed);
    app.get(&format!("/files/{id}")).by(&person).send().await.is(200);
    upload(&app, &person, "a.txt", None, text.as_bytes()).await.is(200);
    upload(&app, &person, "a.png", None, &image).await.is(200);
    app.end().await;
}

/// Returns a PNG that is larger than its preview.
fn padded_png() -> Vec<u8> {
    let mut image = png(16, 16);
    // Bytes after the end of a PNG are not part of the image.
    image.extend(vec![b'.'; 2000]);
    image
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn sweep_removes_only_orphaned_objects(db: PgPool) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}", folder.path().display());
    let app = TestApp::with(&db, &[("FILES_URL", &url)]).await;
    let person = app.person().await;
    let kept = upload_text(&app, &person, "kept").await;
    upload(&app, &person, "a.png", None, &png(30, 30)).await.is(200);
    let gone = upload_text(&app, &person, "gone").await;
    app.delete(&format!("/files/{gone}")).by(&person).send().await.is(204);
    // Orphans that a crash leaves: objects without a file, and a second object of a file.
    let sha256 = "0f".repeat(32);
    let orphans =
        [Key::bytes(Uuid::from_u128(1).into(), &sha256), Key::preview(Uuid::from_u128(1).into(), &sha256)];
    let other = Key::bytes(uuid(&kept).into(), &sha256);
    for key in orphans.iter().chain([&other]) {
        app.files().put(key, "orphan".into()).await.unwrap();
    }
    let fresh = Key::bytes(Uuid::from_u128(2).into(), &sha256);
    app.files().put(&fresh, "an upload is about to record it".into()).await.unwrap();
    std::fs::write(folder.path().join("README"), "not ours").unwrap();
    assert_eq!(stored_objects(&app).await, 8);
    let hours_ago = SystemTime::UNIX_EPOCH
        + Duration::from_secs(u64::try_from(app.services().core.clock.now().timestamp()).unwrap() - 2 * 3600);
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        if !path.ends_with(fresh.to_string()) {
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(hours_ago).unwrap();
        }
    }
    // A lagging read model must not cause a deletion: the sweeper consults the log.
    app.wait_for_projections().await;
    sqlx::query("DELETE FROM files WHERE file_id = $1").bind(uuid(&kept)).execute(&db).await.unwrap();
    assert_eq!(app.sweep().full_sweep().await.unwrap(), 4);
    assert_eq!(app.sweep().full_sweep().await.unwrap(), 0);
    assert_eq!(stored_objects(&app).await, 4);
    assert!(folder.path().join("README").exists());
    app.files().get(&fresh).await.unwrap();
    app.stop(Duration::from_secs(10)).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn announced_file_never_uploaded_is_deleted(db: PgPool) {
    use aggregates::ids::{LoginId, UserId};
    use verbatim::app::{Actor, RequestContext};
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let request = RequestContext { request_id: "test".to_owned(), surface: "test", key: None };
    let actor = Actor { user: UserId::new(person.id), login: LoginId::new(Uuid::nil()) };
    app.services().files.announce_file(&request, actor, "a.txt", None, 5).await.unwrap();
    assert_eq!(app.sweep().delete_overdue_announcements().await.unwrap(), 0, "the upload may still arrive");
    let late = verbatim::clock::Clock::fixed(app.services().core.clock.now() + chrono::TimeDelta::hours(2));
    let sweep = verbatim::files::FileSweep { clock: late, ..app.sweep().clone() };
    assert_eq!(sweep.delete_overdue_announcements().await.unwrap(), 1);
    app.wait_for_projections().await;
    assert_eq!(sweep.delete_overdue_announcements().await.unwrap(), 0);
    assert_eq!(file_events(&app).await, 2);
    app.end().await;
}
