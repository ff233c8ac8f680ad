//! Creates the cluster, starts the server on it, and connects.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{Connection, Executor};

use super::data_dir::sync_folder;
use super::discovery::Installation;
use super::error::EmbeddedError;
use super::layout::{Layout, own_private_folder};
use super::supervisor::SupervisedProcess;

/// Name of the application's superuser and database.
pub(super) const NAME: &str = "verbatim";
/// Size beyond which the log is truncated at the next start, in bytes.
const MAX_LOG_BYTES: u64 = 10 * 1024 * 1024;
/// How long the server may take to accept connections; after a crash it first replays its log.
const READY_TIMEOUT: Duration = Duration::from_secs(300);
/// How long to wait for processes of a killed server to release the cluster.
const ORPHAN_TIMEOUT: Duration = Duration::from_secs(10);
/// Time between two connection attempts during the start.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Server settings, given on its command line so that they apply to clusters of every age.
const SETTINGS: &[(&str, &str)] = &[
    ("listen_addresses", ""),
    ("port", "5432"),
    ("unix_socket_permissions", "0700"),
    // Acknowledged commits are durable.
    ("fsync", "on"),
    ("full_page_writes", "on"),
    ("synchronous_commit", "on"),
    // A small server for one program, without replication.
    ("wal_level", "minimal"),
    ("max_wal_senders", "0"),
    ("max_connections", "60"),
    ("shared_buffers", "64MB"),
    ("max_prepared_transactions", "0"),
    ("autovacuum", "on"),
    ("restart_after_crash", "on"),
    ("jit", "off"),
    ("timezone", "UTC"),
    // The log never contains user text: neither statements nor the rows that an error names.
    ("logging_collector", "off"),
    ("log_destination", "stderr"),
    ("log_timezone", "UTC"),
    ("log_line_prefix", "%m [%p] "),
    ("log_error_verbosity", "terse"),
    ("log_min_error_statement", "panic"),
    ("log_statement", "none"),
    ("log_checkpoints", "off"),
];

/// The server's log file, opened for appending, its size bounded at each start.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) path: PathBuf,
    file: File,
    /// Offset of this start's output.
    begin: u64,
}

impl Log {
    pub(super) fn open(folder: &Path) -> Result<Self, EmbeddedError> {
        let path = folder.join("postgres.log");
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)
            .map_err(EmbeddedError::io("open the log", &path))?;
        let length = file.metadata().map_err(EmbeddedError::io("look at", &path))?.len();
        if length <= MAX_LOG_BYTES {
            return Ok(Self { path, file, begin: length });
        }
        file.set_len(0).map_err(EmbeddedError::io("empty the log", &path))?;
        Ok(Self { path, file, begin: 0 })
    }

    /// Marks the current end as the beginning for [`Log::last_log_line`].
    fn mark(&mut self) {
        if let Ok(found) = self.file.metadata() {
            self.begin = found.len();
        }
    }

    fn text(&self) -> String {
        let read = || {
            let mut file = File::open(&self.path)?;
            file.seek(SeekFrom::Start(self.begin))?;
            let mut bytes = Vec::new();
            file.take(256 * 1024).read_to_end(&mut bytes)?;
            Ok::<_, std::io::Error>(String::from_utf8_lossy(&bytes).into_owned())
        };
        read().unwrap_or_default()
    }

    /// Returns the first error since the mark (later ones are its consequences), or else the last line.
    pub(super) fn last_log_line(&self) -> String {
        const ERROR_MARKERS: [&str; 4] = ["PANIC:", "FATAL:", "initdb: error:", "error:"];
        let text = self.text();
        // Logged for every connection that is too early; not an error.
        let not_about_starting = |line: &&str| !line.ends_with("FATAL:  the database system is starting up");
        let error = text.lines().filter(not_about_starting).find_map(|line| {
            ERROR_MARKERS.iter().find_map(|word| line.split_once(word)).map(|(_, rest)| rest.trim())
        });
        let last = || text.lines().rev().map(str::trim).find(|line| !line.is_empty());
        error.or_else(last).unwrap_or("the log is empty").trim_end_matches('.').to_owned()
    }

    /// Returns whether the log reports that processes of an earlier server are still running.
    fn reports_orphan(&self) -> bool {
        let text = self.text();
        text.contains("pre-existing shared memory block")
            || text.contains("lock file \"postmaster.pid\" already")
    }
}

/// Parameters of a start.
#[derive(Debug)]
pub(super) struct Server<'a> {
    pub(super) layout: &'a Layout,
    pub(super) installation: &'a Installation,
    /// The program that is started as the supervisor.
    pub(super) supervisor: &'a Path,
}

impl Server<'_> {
    /// Creates the cluster in a temporary folder, synced to disk, and renames it into place.
    pub(super) async fn create_cluster(&self, log: &mut Log) -> Result<(), EmbeddedError> {
        let base = &self.layout.base;
        let cluster = &self.layout.cluster;
        remove_partial_clusters(base);
        let half = base.join(partial_name()?);
        // C.UTF-8 handles letters beyond ASCII and sorts like C; some systems lack it, then C is used.
        for locale in ["C.UTF-8", "C"] {
            own_private_folder(&half, self.layout.account.as_ref())?;
            log.mark();
            let mut supervised = self.supervised("initdb", init_arguments(&half, locale), log)?;
            let status = supervised.ended().await.map_err(EmbeddedError::io("wait for initdb in", &half))?;
            if status.success() {
                std::fs::rename(&half, cluster).map_err(EmbeddedError::io("make", cluster))?;
                return sync_folder(base).map_err(EmbeddedError::io("sync", base));
            }
            // initdb removes its own files but not the folder it was given.
            remove_partial_clusters(base);
            if !log.last_log_line().contains("locale") {
                break;
            }
        }
        Err(EmbeddedError::InitFailed {
            cluster: cluster.clone(),
            reason: log.last_log_line(),
            log: log.path.clone(),
        })
    }

    /// Starts the server and waits until the application's database is ready.
    pub(super) async fn start(&self, log: &mut Log) -> Result<SupervisedProcess, EmbeddedError> {
        let begin = Instant::now();
        loop {
            super::orphan::stop_server_of(&self.layout.cluster).await?;
            log.mark();
            let mut supervised = self.supervised("postgres", self.server_arguments(), log)?;
            tokio::select! {
                ready = self.ready() => match ready {
                    Ok(()) => {
                        // From here on the log is about serving.
                        log.mark();
                        return Ok(supervised);
                    }
                    Err(NotReady::Late) => {
                        return Err(EmbeddedError::NotReady {
                            seconds: READY_TIMEOUT.as_secs(),
                            log: log.path.clone(),
                        });
                    }
                    Err(NotReady::Refused(error)) => return Err(EmbeddedError::Connect(error)),
                },
                _ = supervised.ended() => {
                    if !log.reports_orphan() || begin.elapsed() >= ORPHAN_TIMEOUT {
                        return Err(EmbeddedError::ServerEnded {
                            reason: log.last_log_line(),
                            log: log.path.clone(),
                        });
                    }
                    tokio::time::sleep(POLL_INTERVAL * 10).await;
                }
            }
        }
    }

    fn supervised(
        &self,
        program: &str,
        arguments: Vec<OsString>,
        log: &Log,
    ) -> Result<SupervisedProcess, EmbeddedError> {
        let program = self.installation.bin.join(program);
        SupervisedProcess::start(
            self.supervisor,
            self.layout.account.as_ref(),
            &program,
            arguments,
            &log.file,
        )
    }

    fn server_arguments(&self) -> Vec<OsString> {
        let mut arguments = vec!["-D".into(), self.layout.cluster.clone().into_os_string()];
        let mut set = |name: &str, value: &OsString| {
            let mut setting = OsString::from(format!("{name}="));
            setting.push(value);
            arguments.extend(["-c".into(), setting]);
        };
        for (name, value) in SETTINGS {
            set(name, &value.into());
        }
        // The setting is a list: quoting keeps commas in the path.
        let mut folder = OsString::from("\"");
        folder.push(&self.layout.socket);
        folder.push("\"");
        set("unix_socket_directories", &folder);
        arguments
    }

    /// Connects, with retries, and creates the application's database if missing.
    async fn ready(&self) -> Result<(), NotReady> {
        let end = Instant::now() + READY_TIMEOUT;
        loop {
            match PgConnection::connect_with(&connect_options(&self.layout.socket, NAME)).await {
                Ok(connection) => {
                    // A failed close does not matter: the server notices the closed socket.
                    let _ = connection.close().await;
                    return Ok(());
                }
                Err(error) if sqlstate(&error).as_deref() == Some("3D000") => self.create_database().await?,
                Err(error) if is_early(&error) => {}
                Err(error) => return Err(NotReady::Refused(error)),
            }
            if Instant::now() >= end {
                return Err(NotReady::Late);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    async fn create_database(&self) -> Result<(), NotReady> {
        let options = connect_options(&self.layout.socket, "postgres");
        let mut connection = PgConnection::connect_with(&options).await.map_err(NotReady::Refused)?;
        connection.execute("CREATE DATABASE verbatim").await.map_err(NotReady::Refused)?;
        connection.close().await.map_err(NotReady::Refused)
    }
}

/// Why connecting failed.
enum NotReady {
    Late,
    Refused(sqlx::Error),
}

/// Returns options to connect to `database` through the socket in `folder`. Client environment variables (`PGHOST` and so
/// on) do not apply.
pub(super) fn connect_options(folder: &Path, database: &str) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass()
        .socket(folder)
        .port(5432)
        .username(NAME)
        .database(database)
        .ssl_mode(PgSslMode::Disable)
        .application_name(NAME)
}

fn sqlstate(error: &sqlx::Error) -> Option<String> {
    error.as_database_error().and_then(|error| error.code()).map(std::borrow::Cow::into_owned)
}

/// Returns whether waiting may help: the socket does not exist yet, or the server reports that it is starting.
fn is_early(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(_)) || sqlstate(error).as_deref() == Some("57P03")
}

fn init_arguments(folder: &Path, locale: &str) -> Vec<OsString> {
    let mut arguments = vec!["-D".into(), folder.as_os_str().to_owned()];
    // The socket's folder is accessible to the server's owner only, so connections through it are trusted. initdb syncs
    // the whole cluster to disk before it ends.
    let others = [
        "--username=verbatim",
        "--encoding=UTF8",
        "--auth-local=trust",
        "--auth-host=reject",
        "--no-instructions",
    ];
    arguments.extend(others.map(OsString::from));
    arguments.push(format!("--locale={locale}").into());
    arguments
}

const PARTIAL_PREFIX: &str = "postgres.new-";

fn partial_name() -> Result<String, EmbeddedError> {
    let mut random = [0; 4];
    SystemRandom::new().fill(&mut random).map_err(|_| EmbeddedError::Randomness)?;
    Ok(format!("{PARTIAL_PREFIX}{:08x}", u32::from_be_bytes(random)))
}

/// Removes what crashed runs of initdb left. Failures are retried at the next start.
pub(super) fn remove_partial_clusters(base: &Path) {
    let Ok(entries) = std::fs::read_dir(base) else { return };
    for entry in entries.filter_map(Result::ok) {
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(PARTIAL_PREFIX)) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests;
