//! Why the embedded default could not start: each variant's text is the one sentence the person who started
//! the program reads.

use std::io;
use std::path::{Path, PathBuf};

/// Why the private Postgres server, or the data folder it stands in, could not be made ready.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbeddedError {
    /// No Postgres is installed where it could be found.
    #[error(
        "No Postgres {minimum} or newer was found: {hint}, set POSTGRES_BIN to the folder that holds \
         `postgres` and `initdb`, or set DATABASE_URL to use a server that runs elsewhere.",
        minimum = super::find::MINIMUM_MAJOR
    )]
    NotFound {
        /// What to type on this platform.
        hint: String,
    },
    /// Postgres is installed, but too old.
    #[error(
        "The newest Postgres found is {found} in {bin}, and {minimum} or newer is needed: {hint}.",
        minimum = super::find::MINIMUM_MAJOR,
        bin = .bin.display()
    )]
    TooOld {
        /// The newest version found.
        found: String,
        /// Where it was found.
        bin: PathBuf,
        /// What to type on this platform.
        hint: String,
    },
    /// `POSTGRES_BIN` names a folder without a Postgres server.
    #[error("POSTGRES_BIN is {}, which holds no working `postgres` and `initdb`.", .0.display())]
    BadBin(PathBuf),
    /// The cluster was made by a major version that is not installed.
    #[error(
        "The database in {cluster} was made by Postgres {made_by}, and only Postgres {found} was found: install \
         Postgres {made_by} again, or move the data over (with Postgres {made_by}, run `verbatim postgres` and \
         `pg_dumpall`; then start with a new DATA_DIR and load the dump there).",
        cluster = .cluster.display()
    )]
    OtherMajor {
        /// The cluster's folder.
        cluster: PathBuf,
        /// The major version in its `PG_VERSION`.
        made_by: u32,
        /// The major versions found, newest first, comma separated.
        found: String,
    },
    /// The cluster's folder exists and holds something else.
    #[error("{} exists but holds no database: remove it, or set DATA_DIR to another folder.", .0.display())]
    NotACluster(PathBuf),
    /// Another process holds the data folder.
    #[error("Another verbatim process{} is using the data folder {}: stop it, or set DATA_DIR to another folder.",
        .holder.map(|pid| format!(" (pid {pid})")).unwrap_or_default(), .dir.display())]
    InUse {
        /// The data folder.
        dir: PathBuf,
        /// The process that wrote its number into the lock file, when it can be read.
        holder: Option<u32>,
    },
    /// A key without which the stored text cannot be read has gone.
    #[error(
        "The data folder {} holds a database but not its key `{name}`: restore {} from the backup, for without it \
         the stored text cannot be read.", .dir.display(), .dir.join(.name).display()
    )]
    KeyMissing {
        /// The data folder.
        dir: PathBuf,
        /// The key's file name.
        name: String,
    },
    /// A key file does not hold what was written there.
    #[error("The key file {} is damaged: restore it from the backup.", .0.display())]
    KeyDamaged(PathBuf),
    /// A folder that must be private belongs to somebody else.
    #[error("The folder {} belongs to another user: remove it, or set DATA_DIR to another folder.", .0.display())]
    ForeignFolder(PathBuf),
    /// A server of an earlier run still holds the cluster and does not stop.
    #[error("The Postgres server of an earlier run (pid {pid}) holds {} and does not stop: stop it by hand.", .cluster.display())]
    StaleServer {
        /// The cluster's folder.
        cluster: PathBuf,
        /// The server's process.
        pid: i32,
    },
    /// `initdb` failed.
    #[error("Postgres could not make its database in {}: {reason} (see {}).", .cluster.display(), .log.display())]
    InitFailed {
        /// The cluster's folder.
        cluster: PathBuf,
        /// Its last words.
        reason: String,
        /// Where the rest is.
        log: PathBuf,
    },
    /// The server ended, at start or later.
    #[error("The private Postgres server has ended: {reason} (see {}).", .log.display())]
    ServerEnded {
        /// Its last words.
        reason: String,
        /// Where the rest is.
        log: PathBuf,
    },
    /// The server runs but did not accept a connection in time.
    #[error("The private Postgres server did not get ready within {seconds} s (see {}).", .log.display())]
    NotReady {
        /// How long was waited.
        seconds: u64,
        /// Where the server's log is.
        log: PathBuf,
    },
    /// The server refused a connection for a reason that waiting does not cure.
    #[error("The private Postgres server refused a connection: {0}.")]
    Connect(#[source] sqlx::Error),
    /// No randomness could be had for a key.
    #[error("The system gave no randomness for a new key.")]
    Randomness,
    /// A file or folder could not be used.
    #[error("Could not {what} {}: {source}.", .path.display())]
    Io {
        /// What was tried: a verb.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl EmbeddedError {
    /// For `map_err`: names what was tried and on which file.
    pub(super) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { what, path, source }
    }
}
