use super::*;

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().mode() & 0o777
}

#[test]
fn socket_folder_moves_to_tmp_if_the_path_is_too_long() {
    let root = tempfile::tempdir().unwrap();
    let long = root.path().join("x".repeat(90));
    std::fs::create_dir(&long).unwrap();
    let socket = socket_folder(&long, None).unwrap();
    assert!(socket.join(SOCKET_NAME).as_os_str().len() <= MAX_SOCKET_PATH);
    assert_eq!(mode(&socket), 0o700);
    std::fs::remove_dir(&socket).unwrap();
    assert_eq!(socket_folder(root.path(), None).unwrap(), root.path().join("socket"));
    assert_eq!(mode(&root.path().join("socket")), 0o700);
}

#[test]
fn link_in_place_of_the_socket_folder_is_rejected() {
    let root = tempfile::tempdir().unwrap();
    symlink("/tmp", root.path().join("socket")).unwrap();
    assert!(matches!(socket_folder(root.path(), None), Err(EmbeddedError::ForeignFolder(_))));
}

#[test]
fn folder_with_other_content_keeps_its_permissions() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("another-file"), "file").unwrap();
    set_mode(root.path(), 0o755).unwrap();
    let data = DataDir::open(root.path()).unwrap();
    Layout::resolve_under(&data, &root.path().join("system")).unwrap();
    assert_eq!(mode(root.path()), 0o755);
}

#[test]
fn empty_folder_is_made_private() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("data");
    std::fs::create_dir(&dir).unwrap();
    set_mode(&dir, 0o755).unwrap();
    set_mode(root.path(), 0o755).unwrap();
    let data = DataDir::open(&dir).unwrap();
    let layout = Layout::resolve_under(&data, &root.path().join("system")).unwrap();
    assert_eq!(layout.base, data.path());
    assert_eq!(mode(&dir), if geteuid().is_root() { 0o710 } else { 0o700 });
}

#[test]
fn base_with_the_cluster_of_a_deleted_data_folder_is_not_touched() {
    let root = tempfile::tempdir().unwrap();
    let (first, lock) = make_base(Path::new("/root/data"), root.path()).unwrap();
    std::fs::create_dir(first.join("postgres")).unwrap();
    drop(lock);
    let (second, _lock) = make_base(Path::new("/root/data"), root.path()).unwrap();
    assert_ne!(first, second);
    assert!(first.join("postgres").is_dir());
}
