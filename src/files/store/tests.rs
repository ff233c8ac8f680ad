use uuid::Uuid;

use super::*;

fn key(n: u128) -> Key {
    Key::bytes(FileId::new(Uuid::from_u128(n)), &"0f".repeat(32))
}

async fn folder(path: &std::path::Path) -> FileStore {
    FileStore::open(&FileStoreLocation::Folder { path: path.to_owned(), is_configured: true }).await.unwrap()
}

#[tokio::test]
async fn stored_object_exists_until_deleted() {
    let folder_path = tempfile::tempdir().unwrap();
    let store = folder(&folder_path.path().join("made/here")).await;
    let preview = Key::preview(key(1).file(), key(1).sha256());
    store.put(&key(1), Bytes::from_static(b"bytes")).await.unwrap();
    store.put(&preview, Bytes::from_static(b"small")).await.unwrap();
    std::fs::write(folder_path.path().join("made/here/README"), "not ours").unwrap();
    assert_eq!(store.get(&key(1)).await.unwrap(), "bytes");
    let pieces: Vec<Bytes> = store.stream(&preview).await.unwrap().try_collect().await.unwrap();
    assert_eq!(pieces.concat(), b"small");
    let listed: Vec<StoredObject> = store.list().await.unwrap().try_collect().await.unwrap();
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
fn own_keys_parse_and_other_names_do_not() {
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
async fn unusable_folder_fails_at_start_only_when_configured() {
    let folder_path = tempfile::tempdir().unwrap();
    let file = folder_path.path().join("a-file");
    std::fs::write(&file, "in the way").unwrap();
    let path = file.join("files");
    let asked = FileStoreLocation::Folder { path: path.clone(), is_configured: true };
    assert!(FileStore::open(&asked).await.unwrap_err().to_string().contains("FILES_URL"));
    let store = FileStore::open(&FileStoreLocation::Folder { path, is_configured: false }).await.unwrap();
    assert!(matches!(store.put(&key(1), Bytes::new()).await, Err(StoreError::Failed(_))));
}

#[test]
fn full_disk_is_distinguished_from_other_failures() {
    let full = |kind: io::ErrorKind| object_store::Error::Generic {
        store: "test",
        source: Box::new(io::Error::from(kind)),
    };
    for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
        assert!(matches!(StoreError::from(full(kind)), StoreError::Full(_)));
    }
    assert!(matches!(StoreError::from(full(io::ErrorKind::PermissionDenied)), StoreError::Failed(_)));
}
