//! Finds an installed Postgres server: `POSTGRES_BIN`, the search path, `pg_config`, the usual folders.
//!
//! Called once at start. The newest version wins, unless a cluster exists already: then its major version does.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::error::EmbeddedError;

/// The oldest major version that works.
pub const MINIMUM_MAJOR: u32 = 14;

/// Where packages and installers put the server's programs; `*` stands for any run of characters in a name.
const USUAL_FOLDERS: &[&str] = &[
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/lib64/pgsql*/bin",
    "/usr/libexec/postgresql*",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/opt/homebrew/opt/postgresql/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql/bin",
    "/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
    "/Library/PostgreSQL/*/bin",
    "/opt/local/lib/postgresql*/bin",
    "/usr/local/pgsql/bin",
    "/usr/bin",
    "/usr/local/bin",
];

/// A Postgres version as its program tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// 15 in 15.18.
    pub major: u32,
    /// 18 in 15.18; 0 for a beta.
    pub minor: u32,
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl Version {
    /// Reads `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`, also `17beta1` and `18devel`.
    fn parse(output: &str) -> Option<Self> {
        let number = output.split_once("(PostgreSQL)")?.1.split_whitespace().next()?;
        let mut parts = number.split('.');
        let digits = |part: &str| -> String { part.chars().take_while(char::is_ascii_digit).collect() };
        let major = digits(parts.next()?).parse().ok()?;
        let minor = parts.next().and_then(|part| digits(part).parse().ok()).unwrap_or(0);
        Some(Self { major, minor })
    }
}

/// One installed server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    /// The folder that holds `postgres` and `initdb`.
    pub bin: PathBuf,
    /// What it says it is.
    pub version: Version,
}

/// Where to look.
#[derive(Debug, Clone)]
pub struct Search {
    /// `POSTGRES_BIN`: when set, nothing else is looked at.
    pub bin: Option<PathBuf>,
    /// The value of `PATH`.
    pub path: Option<OsString>,
    /// Folder patterns, see [`Search::new`].
    pub folders: Vec<String>,
}

impl Search {
    /// A search of `bin` alone, or else of `path` and the usual folders.
    pub fn new(bin: Option<PathBuf>, path: Option<OsString>) -> Self {
        Self { bin, path, folders: USUAL_FOLDERS.iter().map(|&folder| folder.to_owned()).collect() }
    }

    /// The installation to use; `cluster` is an existing database folder and the major version that made it.
    ///
    /// # Errors
    /// [`EmbeddedError::BadBin`], [`NotFound`](EmbeddedError::NotFound), [`TooOld`](EmbeddedError::TooOld) and
    /// [`OtherMajor`](EmbeddedError::OtherMajor).
    pub fn pick(&self, cluster: Option<(&Path, u32)>) -> Result<Installation, EmbeddedError> {
        let found = match &self.bin {
            Some(bin) => vec![probe(bin).ok_or_else(|| EmbeddedError::BadBin(bin.clone()))?],
            None => self.all(),
        };
        choose(found, cluster)
    }

    /// Every installation, newest first, each folder once.
    fn all(&self) -> Vec<Installation> {
        let mut seen = BTreeSet::new();
        let mut found: Vec<Installation> = self
            .candidates()
            .into_iter()
            .filter(|bin| seen.insert(bin.clone()))
            .filter_map(|bin| probe(&bin))
            .collect();
        // A stable sort: of two equal versions the one found first stays first.
        found.sort_by_key(|installation| std::cmp::Reverse(installation.version));
        found
    }

    /// Real folders that hold both programs. A `postgres` on the search path is often a link into such a folder.
    fn candidates(&self) -> Vec<PathBuf> {
        let mut folders = Vec::new();
        for folder in self.path.iter().flat_map(std::env::split_paths) {
            if let Ok(program) = folder.join("postgres").canonicalize() {
                folders.extend(program.parent().map(Path::to_path_buf));
            }
            if folder.join("pg_config").is_file() {
                folders
                    .extend(output_of(&folder.join("pg_config"), "--bindir").map(|line| line.trim().into()));
            }
        }
        folders.extend(self.folders.iter().flat_map(|pattern| expand(pattern)));
        folders
            .into_iter()
            .filter_map(|folder| folder.canonicalize().ok())
            .filter(|folder| folder.join("postgres").is_file() && folder.join("initdb").is_file())
            .collect()
    }
}

fn choose(found: Vec<Installation>, cluster: Option<(&Path, u32)>) -> Result<Installation, EmbeddedError> {
    let Some(newest) = found.first().cloned() else {
        return Err(EmbeddedError::NotFound { hint: install_hint() });
    };
    if let Some((cluster, made_by)) = cluster {
        let majors: Vec<u32> = found.iter().map(|installation| installation.version.major).collect();
        return found.into_iter().find(|installation| installation.version.major == made_by).ok_or_else(
            || {
                let mut majors: Vec<String> = majors.iter().map(u32::to_string).collect();
                majors.dedup();
                EmbeddedError::OtherMajor {
                    cluster: cluster.to_path_buf(),
                    made_by,
                    found: majors.join(", "),
                }
            },
        );
    }
    if newest.version.major < MINIMUM_MAJOR {
        return Err(EmbeddedError::TooOld {
            found: newest.version.to_string(),
            bin: newest.bin,
            hint: install_hint(),
        });
    }
    Ok(newest)
}

/// Asks the `postgres` in `bin` for its version.
fn probe(bin: &Path) -> Option<Installation> {
    if !bin.join("initdb").is_file() {
        return None;
    }
    let version = Version::parse(&output_of(&bin.join("postgres"), "--version")?)?;
    Some(Installation { bin: bin.to_path_buf(), version })
}

fn output_of(program: &Path, argument: &str) -> Option<String> {
    let output = Command::new(program)
        .arg(argument)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}

/// The existing paths that `pattern` names; at most one `*` per path component.
fn expand(pattern: &str) -> Vec<PathBuf> {
    let mut paths = vec![PathBuf::from("/")];
    for component in pattern.split('/').filter(|component| !component.is_empty()) {
        paths = match component.split_once('*') {
            None => paths.into_iter().map(|path| path.join(component)).collect(),
            Some((before, after)) => paths
                .iter()
                .filter_map(|path| std::fs::read_dir(path).ok())
                .flat_map(|entries| entries.filter_map(Result::ok))
                .filter(|entry| {
                    entry.file_name().to_str().is_some_and(|name| {
                        name.len() >= before.len() + after.len()
                            && name.starts_with(before)
                            && name.ends_with(after)
                    })
                })
                .map(|entry| entry.path())
                .collect(),
        };
    }
    paths.retain(|path| path.is_dir());
    paths
}

/// What to type to install Postgres on this platform.
fn install_hint() -> String {
    let has = |program: &str| Path::new(program).is_file();
    if cfg!(target_os = "macos") {
        "run `brew install postgresql@17`".to_owned()
    } else if has("/usr/bin/apt-get") {
        "run `sudo apt-get install postgresql`".to_owned()
    } else if has("/usr/bin/dnf") {
        "run `sudo dnf install postgresql-server`".to_owned()
    } else {
        "install the Postgres server with your package manager".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A folder whose `postgres` says it is `version`.
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
    fn versions_are_read_from_every_spelling() {
        let parse = |text| Version::parse(text).map(|version| (version.major, version.minor));
        assert_eq!(parse("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"), Some((15, 18)));
        assert_eq!(parse("postgres (PostgreSQL) 14.2"), Some((14, 2)));
        assert_eq!(parse("postgres (PostgreSQL) 17beta1"), Some((17, 0)));
        assert_eq!(parse("postgres (PostgreSQL) 9.6.24"), Some((9, 6)));
        assert_eq!(parse("initdb: command not found"), None);
    }

    #[test]
    fn the_newest_wins_when_there_is_no_cluster_yet() {
        let root = tempfile::tempdir().unwrap();
        install(root.path(), "pg-9", "9.6.24");
        install(root.path(), "pg-14", "14.9");
        let newest = install(root.path(), "pg-16", "16.3");
        let picked = search_of(root.path()).pick(None).unwrap();
        assert_eq!(picked, Installation { bin: newest, version: Version { major: 16, minor: 3 } });
    }

    #[test]
    fn an_existing_cluster_decides_the_major_version() {
        let root = tempfile::tempdir().unwrap();
        let older = install(root.path(), "pg-14", "14.9");
        install(root.path(), "pg-16", "16.3");
        let picked = search_of(root.path()).pick(Some((Path::new("/data/postgres"), 14))).unwrap();
        assert_eq!(picked.bin, older);
    }

    #[test]
    fn a_cluster_of_a_version_that_is_not_installed_is_refused_with_what_to_do() {
        let root = tempfile::tempdir().unwrap();
        install(root.path(), "pg-14", "14.9");
        install(root.path(), "pg-16", "16.3");
        let refused = search_of(root.path()).pick(Some((Path::new("/data/postgres"), 15))).unwrap_err();
        let sentence = refused.to_string();
        assert!(sentence.contains("made by Postgres 15, and only Postgres 16, 14 was found"), "{sentence}");
        assert!(sentence.contains("pg_dumpall"), "{sentence}");
    }

    #[test]
    fn nothing_found_is_one_sentence_with_what_to_install() {
        let root = tempfile::tempdir().unwrap();
        let sentence = search_of(root.path()).pick(None).unwrap_err().to_string();
        assert!(sentence.starts_with("No Postgres 14 or newer was found: "), "{sentence}");
        assert!(sentence.contains(&install_hint()) && sentence.contains("POSTGRES_BIN"), "{sentence}");
        assert!(!sentence.contains('\n'), "{sentence}");
    }

    #[test]
    fn one_that_is_too_old_is_named() {
        let root = tempfile::tempdir().unwrap();
        install(root.path(), "pg-13", "13.11");
        let sentence = search_of(root.path()).pick(None).unwrap_err().to_string();
        assert!(sentence.contains("13.11") && sentence.contains("14 or newer"), "{sentence}");
    }

    #[test]
    fn a_wrong_postgres_bin_is_refused_and_nothing_else_is_tried() {
        let root = tempfile::tempdir().unwrap();
        install(root.path(), "pg-16", "16.3");
        let search = Search { bin: Some(root.path().join("nowhere")), ..search_of(root.path()) };
        assert!(matches!(search.pick(None), Err(EmbeddedError::BadBin(_))));
    }

    #[test]
    fn the_search_path_is_followed_through_links_and_pg_config() {
        let root = tempfile::tempdir().unwrap();
        let linked = install(root.path(), "linked", "15.1");
        let told = install(root.path(), "told", "16.1");
        let path = root.path().join("path");
        std::fs::create_dir(&path).unwrap();
        std::os::unix::fs::symlink(linked.join("postgres"), path.join("postgres")).unwrap();
        let pg_config = path.join("pg_config");
        std::fs::write(&pg_config, format!("#!/bin/sh\necho {}\n", told.display())).unwrap();
        std::fs::set_permissions(&pg_config, std::fs::Permissions::from_mode(0o755)).unwrap();
        let search = Search { bin: None, path: Some(path.into_os_string()), folders: Vec::new() };
        let bins: Vec<PathBuf> = search.all().into_iter().map(|installation| installation.bin).collect();
        assert_eq!(bins, [told, linked]);
    }
}
