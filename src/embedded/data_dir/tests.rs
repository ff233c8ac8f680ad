use super::*;

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn secret_is_generated_once_and_private() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a/b/data");
    let dir = DataDir::open(&path).unwrap();
    assert!(dir.existing_secret(MASTER_KEY).unwrap().is_none());
    let made = dir.secret(MASTER_KEY).unwrap();
    assert_ne!(*made, [0; 32]);
    assert_eq!(*dir.secret(MASTER_KEY).unwrap(), *made);
    assert_ne!(*dir.secret(JWT_SECRET).unwrap(), *made);
    drop(dir);
    assert_eq!(*DataDir::open(&path).unwrap().secret(MASTER_KEY).unwrap(), *made);
    assert_eq!(mode(&path), 0o700);
    assert_eq!(mode(&path.join(MASTER_KEY)), 0o600);
    assert_eq!(mode(&path.join("lock")), 0o600);
}

#[test]
fn damaged_secret_is_rejected_and_kept() {
    let root = tempfile::tempdir().unwrap();
    let dir = DataDir::open(root.path()).unwrap();
    dir.secret(MASTER_KEY).unwrap();
    for damaged in ["", "abc", &"z".repeat(64), &"0".repeat(63)] {
        std::fs::write(root.path().join(MASTER_KEY), damaged).unwrap();
        assert!(matches!(dir.secret(MASTER_KEY), Err(EmbeddedError::KeyDamaged(_))), "{damaged:?}");
        assert_eq!(std::fs::read_to_string(root.path().join(MASTER_KEY)).unwrap(), damaged);
    }
}

#[test]
fn half_written_secret_of_a_crash_does_not_stop_the_next_run() {
    let root = tempfile::tempdir().unwrap();
    let dir = DataDir::open(root.path()).unwrap();
    std::fs::write(root.path().join("master-key.new"), "half").unwrap();
    let made = dir.secret(MASTER_KEY).unwrap();
    assert_eq!(*dir.secret(MASTER_KEY).unwrap(), *made);
}

#[test]
fn second_process_is_rejected_and_learns_the_holder() {
    let root = tempfile::tempdir().unwrap();
    let first = DataDir::open(root.path()).unwrap();
    let refused = DataDir::open(root.path()).unwrap_err();
    let EmbeddedError::InUse { holder, .. } = &refused else { panic!("{refused}") };
    assert_eq!(*holder, Some(std::process::id()));
    drop(first);
    DataDir::open(root.path()).unwrap();
}
