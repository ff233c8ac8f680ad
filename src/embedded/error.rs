//! Errors of the embedded database: each text is one sentence for the person who started the program.

use std::io;
use std::path::{Path, PathBuf};

/// Why the private Postgres server or its data folder could not be prepared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbeddedError {
    /// No installed Postgres was found.
    #[error(
        "No Postgres {minimum} or newer was found: {hint}, set POSTGRES_BIN to the folder that holds \
         `postgres` and `initdb`, or set DATABASE_URL to use a server that runs elsewhere.",
        minimum = super::discovery::MIN_MAJOR
    )]
    NotFound {
        /// Command that installs Postgres on this platform.
        hint: String,
    },
    /// The installed Postgres is too old.
    #[error(
        "The newest Postgres found is {found} in {bin}, and {minimum} or newer is needed: {hint}.",
        minimum = super::discovery::MIN_MAJOR,
        bin = .bin.display()
    )]
    TooOld {
        /// Newest version found.
        found: String,
        /// Folder of that version.
        bin: PathBuf,
        /// Command that installs Postgres on this platform.
        hint: String,
    },
    /// `POSTGRES_BIN` names a folder without a Postgres server.
    #[error("POSTGRES_BIN is {}, which holds no working `postgres` and `initdb`.", .0.display())]
    BadBin(PathBuf),
    /// The major version that created the cluster is not installed.
    #[error(
        "The database in {cluster} was made by Postgres {made_by}, and only Postgres {found} was found: install \
         Postgres {made_by} again, or move the data over (with Postgres {made_by}, run `verbatim postgres` and \
         `pg_dumpall`; then start with a new DATA_DIR and load the dump there).",
        cluster = .cluster.display()
    )]
    OtherMajor {
        /// Folder of the cluster.
        cluster: PathBuf,
        /// Major version in its `PG_VERSION`.
        made_by: u32,
        /// Major versions found, newest first, comma-separated.
        found: String,
    },
    /// The cluster's folder has other content.
    #[error("{} exists but holds no database: remove it, or set DATA_DIR to another folder.", .0.display())]
    NotACluster(PathBuf),
    /// Another process holds the data folder.
    #[error("Another verbatim process{} is using the data folder {}: stop it, or set DATA_DIR to another folder.",
        .holder.map(|pid| format!(" (pid {pid})")).unwrap_or_default(), .dir.display())]
    InUse {
        /// Path of the data folder.
        dir: PathBuf,
        /// Process id in the lock file, if readable.
        holder: Option<u32>,
    },
    /// A key that is needed to read stored text is missing.
    #[error(
        "The data folder {} holds a database but not its key `{name}`: restore {} from the backup, for without it \
         the stored text cannot be read.", .dir.display(), .dir.join(.name).display()
    )]
    KeyMissing {
        /// Path of the data folder.
        dir: PathBuf,
        /// File name of the key.
        name: String,
    },
    /// A key file has unexpected content.
    #[error("The key file {} is damaged: restore it from the backup.", .0.display())]
    KeyDamaged(PathBuf),
    /// A folder that must be private belongs to another user.
    #[error("The folder {} belongs to another user: remove it, or set DATA_DIR to another folder.", .0.display())]
    ForeignFolder(PathBuf),
    /// A server of an earlier run still holds the cluster and does not stop.
    #[error("The Postgres server of an earlier run (pid {pid}) holds {} and does not stop: stop it by hand.", .cluster.display())]
    OrphanedServer {
        /// Folder of the cluster.
        cluster: PathBuf,
        /// Process id of the server.
        pid: i32,
    },
    /// `initdb` failed.
    #[error("Postgres could not make its database in {}: {reason} (see {}).", .cluster.display(), .log.display())]
    InitFailed {
        /// Folder of the cluster.
        cluster: PathBuf,
        /// Last line of its log.
        reason: String,
        /// Path of the log.
        log: PathBuf,
    },
    /// The server ended, at start or later.
    #[error("The private Postgres server has ended: {reason} (see {}).", .log.display())]
    ServerEnded {
        /// Last line of its log.
        reason: String,
        /// Path of the log.
        log: PathBuf,
    },
    /// The server runs but did not accept a connection in time.
    #[error("The private Postgres server did not get ready within {seconds} s (see {}).", .log.display())]
    NotReady {
        /// Time waited.
        seconds: u64,
        /// Path of the log.
        log: PathBuf,
    },
    /// The server refused a connection for a permanent reason.
    #[error("The private Postgres server refused a connection: {0}.")]
    Connect(#[source] sqlx::Error),
    /// The system's random generator failed.
    #[error("The system's random generator failed, so no key could be made.")]
    Randomness,
    /// A file or folder could not be used.
    #[error("Could not {what} {}: {source}.", .path.display())]
    Io {
        /// The attempted operation: a verb.
        what: &'static str,
        /// Path of the file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

impl EmbeddedError {
    /// Returns a converter for `map_err` that names the operation and the file.
    pub(super) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { what, path, source }
    }
}
