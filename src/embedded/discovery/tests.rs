use std::os::unix::fs::PermissionsExt;

use super::*;

/// Makes a folder whose `postgres` reports `version`.
fn install(root: &Path, name: &str, version: &str) -> PathBuf {
    let bin = root.join(name).join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    for program in ["postgres", "initdb"] {
        let path = bin.join(program);
        std::fs::write(&path, format!("#!/bin/sh\necho \"{program} (PostgreSQL) {version}\"\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    bin.canonicalize().unwrap()
}

fn search_of(root: &Path) -> Search {
    Search { bin: None, path: None, folders: vec![format!("{}/pg-*/bin", root.display())] }
}

#[test]
fn versions_are_parsed_in_all_notations() {
    let parse = |text| Version::parse(text).map(|version| (version.major, version.minor));
    assert_eq!(parse("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"), Some((15, 18)));
    assert_eq!(parse("postgres (PostgreSQL) 14.2"), Some((14, 2)));
    assert_eq!(parse("postgres (PostgreSQL) 17beta1"), Some((17, 0)));
    assert_eq!(parse("postgres (PostgreSQL) 9.6.24"), Some((9, 6)));
    assert_eq!(parse("initdb: command not found"), None);
}

#[test]
fn newest_version_wins_without_a_cluster() {
    let root = tempfile::tempdir().unwrap();
    install(root.path(), "pg-9", "9.6.24");
    install(root.path(), "pg-14", "14.9");
    let newest = install(root.path(), "pg-16", "16.3");
    let picked = search_of(root.path()).pick(None).unwrap();
    assert_eq!(picked, Installation { bin: newest, version: Version { major: 16, minor: 3 } });
}

#[test]
fn existing_cluster_decides_the_major_version() {
    let root = tempfile::tempdir().unwrap();
    let older = install(root.path(), "pg-14", "14.9");
    install(root.path(), "pg-16", "16.3");
    let picked = search_of(root.path()).pick(Some((Path::new("/data/postgres"), 14))).unwrap();
    assert_eq!(picked.bin, older);
}

#[test]
fn cluster_of_a_missing_version_is_rejected_with_a_remedy() {
    let root = tempfile::tempdir().unwrap();
    install(root.path(), "pg-14", "14.9");
    install(root.path(), "pg-16", "16.3");
    let refused = search_of(root.path()).pick(Some((Path::new("/data/postgres"), 15))).unwrap_err();
    let sentence = refused.to_string();
    assert!(sentence.contains("made by Postgres 15, and only Postgres 16, 14 was found"), "{sentence}");
    assert!(sentence.contains("pg_dumpall"), "{sentence}");
}

#[test]
fn missing_postgres_gives_one_sentence_with_a_remedy() {
    let root = tempfile::tempdir().unwrap();
    let sentence = search_of(root.path()).pick(None).unwrap_err().to_string();
    assert!(sentence.starts_with("No Postgres 14 or newer was found: "), "{sentence}");
    assert!(sentence.contains(&install_hint()) && sentence.contains("POSTGRES_BIN"), "{sentence}");
    assert!(!sentence.contains('\n'), "{sentence}");
}

#[test]
fn outdated_postgres_is_named() {
    let root = tempfile::tempdir().unwrap();
    install(root.path(), "pg-13", "13.11");
    let sentence = search_of(root.path()).pick(None).unwrap_err().to_string();
    assert!(sentence.contains("13.11") && sentence.contains("14 or newer"), "{sentence}");
}

#[test]
fn wrong_postgres_bin_is_rejected_without_fallback() {
    let root = tempfile::tempdir().unwrap();
    install(root.path(), "pg-16", "16.3");
    let search = Search { bin: Some(root.path().join("nowhere")), ..search_of(root.path()) };
    assert!(matches!(search.pick(None), Err(EmbeddedError::BadBin(_))));
}

#[test]
fn search_follows_links_and_pg_config() {
    let root = tempfile::tempdir().unwrap();
    let linked = install(root.path(), "linked", "15.1");
    let written = install(root.path(), "written", "16.1");
    let path = root.path().join("path");
    std::fs::create_dir(&path).unwrap();
    std::os::unix::fs::symlink(linked.join("postgres"), path.join("postgres")).unwrap();
    let pg_config = path.join("pg_config");
    std::fs::write(&pg_config, format!("#!/bin/sh\necho {}\n", written.display())).unwrap();
    std::fs::set_permissions(&pg_config, std::fs::Permissions::from_mode(0o755)).unwrap();
    let search = Search { bin: None, path: Some(path.into_os_string()), folders: Vec::new() };
    let bins: Vec<PathBuf> = search.all().into_iter().map(|installation| installation.bin).collect();
    assert_eq!(bins, [written, linked]);
}
