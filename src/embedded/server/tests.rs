use std::io::Write;

use super::*;

#[test]
fn reason_is_the_first_error_of_this_start() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("postgres.log"), "FATAL:  of an earlier run\n").unwrap();
    let log = Log::open(root.path()).unwrap();
    assert_eq!(log.last_log_line(), "the log is empty");
    let mut file = &log.file;
    file.write_all(b"2025-01-01 00:00:00 UTC [7] LOG:  starting\n").unwrap();
    assert!(log.last_log_line().ends_with("starting"));
    file.write_all(b"2025-01-01 00:00:00 UTC [8] FATAL:  the database system is starting up\n").unwrap();
    file.write_all(b"2025-01-01 00:00:00 UTC [7] FATAL:  no room.\n[7] LOG:  shut down\n").unwrap();
    assert_eq!(log.last_log_line(), "no room");
}

#[test]
fn oversized_log_is_truncated() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("postgres.log");
    File::create(&path).unwrap().set_len(MAX_LOG_BYTES).unwrap();
    Log::open(root.path()).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().len(), MAX_LOG_BYTES);
    File::create(&path).unwrap().set_len(MAX_LOG_BYTES + 1).unwrap();
    Log::open(root.path()).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
}

#[test]
fn only_partial_clusters_are_removed() {
    let root = tempfile::tempdir().unwrap();
    for name in ["postgres.new-0badcafe/base", "postgres/base"] {
        std::fs::create_dir_all(root.path().join(name)).unwrap();
    }
    remove_partial_clusters(root.path());
    assert!(root.path().join("postgres/base").exists());
    assert!(!root.path().join("postgres.new-0badcafe").exists());
}
