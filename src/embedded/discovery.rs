//! Finds an installed Postgres server: `POSTGRES_BIN`, the search path, `pg_config`, the usual folders.
//!
//! Runs once at start. The newest version wins, unless a cluster exists: then its major version decides.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::error::EmbeddedError;

/// Oldest supported major version.
pub const MIN_MAJOR: u32 = 14;

/// Where packages and installers put the server's programs; `*` matches any characters within a name.
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

/// A Postgres version as reported by the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Major version: 15 in 15.18.
    pub major: u32,
    /// Minor version: 18 in 15.18; 0 for a beta.
    pub minor: u32,
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl Version {
    /// Parses `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`, also `17beta1` and `18devel`.
    fn parse(output: &str) -> Option<Self> {
        let number = output.split_once("(PostgreSQL)")?.1.split_whitespace().next()?;
        let mut parts = number.split('.');
        let digits = |part: &str| -> String { part.chars().take_while(char::is_ascii_digit).collect() };
        let major = digits(parts.next()?).parse().ok()?;
        let minor = parts.next().and_then(|part| digits(part).parse().ok()).unwrap_or(0);
        Some(Self { major, minor })
    }
}

/// An installed server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    /// Folder with `postgres` and `initdb`.
    pub bin: PathBuf,
    /// Reported version.
    pub version: Version,
}

/// Where to search for Postgres.
#[derive(Debug, Clone)]
pub struct Search {
    /// `POSTGRES_BIN`: if set, the only folder to check.
    pub bin: Option<PathBuf>,
    /// The value of `PATH`.
    pub path: Option<OsString>,
    /// Folder patterns, see [`Search::new`].
    pub folders: Vec<String>,
}

impl Search {
    /// Creates a search of `bin` alone, or else of `path` and the usual folders.
    pub fn new(bin: Option<PathBuf>, path: Option<OsString>) -> Self {
        Self { bin, path, folders: USUAL_FOLDERS.iter().map(|&folder| folder.to_owned()).collect() }
    }

    /// Returns the installation to use; `cluster` is an existing database folder and the major version that created it.
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

    /// Returns all installations, newest first, each folder once.
    fn all(&self) -> Vec<Installation> {
        let mut seen = BTreeSet::new();
        let mut found: Vec<Installation> = self
            .candidates()
            .into_iter()
            .filter(|bin| seen.insert(bin.clone()))
            .filter_map(|bin| probe(&bin))
            .collect();
        // The sort is stable: of two equal versions the first one found wins.
        found.sort_by_key(|installation| std::cmp::Reverse(installation.version));
        found
    }

    /// Returns real folders with both programs. A `postgres` on the search path is often a link into such a folder.
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
    if newest.version.major < MIN_MAJOR {
        return Err(EmbeddedError::TooOld {
            found: newest.version.to_string(),
            bin: newest.bin,
            hint: install_hint(),
        });
    }
    Ok(newest)
}

/// Runs the `postgres` in `bin` to get its version.
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

/// Returns the existing paths that match `pattern`; at most one `*` per path component.
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

/// Returns the command that installs Postgres on this platform.
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
mod tests;
