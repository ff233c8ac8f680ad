//! Makes the cluster, starts the server on it, and connects: the parts of a start, in their order.

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
use super::error::EmbeddedError;
use super::find::Installation;
use super::guard::LimitedProvider;
use super::place::{Place, own_private_folder};

/// The superuser and the database of the application.
pub(super) const NAME: &str = "verbatim";
/// A log that has grown beyond this is emptied at the next start, in bytes.
const LOG_LIMIT: u64 = 10 * 1024 * 1024;
/// How long a server may take to accept connections; after a crash it first repeats what its log holds.
const READY_WITHIN: Duration = Duration::from_secs(300);
/// How long to wait for the remains of a killed server to let go of the cluster.
const REMAINS_WITHIN: Duration = Duration::from_secs(10);
/// Between two looks at whether the server is ready.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Settings of the server, given on its command line so that they hold for clusters of every age.
const SETTINGS: &[(&str, &str)] = &[
    ("listen_addresses", ""),
    ("port", "5432"),
    ("unix_socket_permissions", "0700"),
    // Acknowledged means kept.
    ("fsync", "on"),
    ("full_page_writes", "on"),
    ("synchronous_commit", "on"),
    // A small server for one program; nobody replicates from it.
    ("wal_level", "minimal"),
    ("max_wal_senders", "0"),
    ("max_connections", "60"),
    ("shared_buffers", "64MB"),
    ("max_prepared_transactions", "0"),
    ("autovacuum", "on"),
    ("restart_after_crash", "on"),
    ("jit", "off"),
    ("timezone", "UTC"),
    // The log never holds what people wrote: neither statements nor the rows that an error names.
    ("logging_collector", "off"),
    ("log_destination", "stderr"),
    ("log_timezone", "UTC"),
    ("log_line_prefix", "%m [%p] "),
    ("log_error_verbosity", "terse"),
    ("log_min_error_statement", "panic"),
    ("log_statement", "none"),
    ("log_checkpoints", "off"),
];

/// The server's log: opened for appending, its size bounded from start to start.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) path: PathBuf,
    file: File,
    /// Where this start's part begins.
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
        if length <= LOG_LIMIT {
            return Ok(Self { path, file, begin: length });
        }
        file.set_len(0).map_err(EmbeddedError::io("empty the log", &path))?;
        Ok(Self { path, file, begin: 0 })
    }

    /// From here on: what a later [`Log::last_words`] looks at.
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

    /// The first complaint since the mark (what follows it are its consequences), or else the last line.
    pub(super) fn last_words(&self) -> String {
        const COMPLAINTS: [&str; 4] = ["PANIC:", "FATAL:", "initdb: error:", "error:"];
        let text = self.text();
        // Told to whoever connects too early, which is nobody's fault.
        let about_itself = |line: &&str| !line.ends_with("FATAL:  the database system is starting up");
        let complaint = text.lines().filter(about_itself).find_map(|line| {
            COMPLAINTS.iter().find_map(|word| line.split_once(word)).map(|(_, rest)| rest.trim())
        });
        let last = || text.lines().rev().map(str::trim).find(|line| !line.is_empty());
        complaint.or_else(last).unwrap_or("it said nothing").trim_end_matches('.').to_owned()
    }

    /// Whether what was said is that an earlier server's processes are still about.
    fn tells_of_remains(&self) -> bool {
        let text = self.text();
        text.contains("pre-existing shared memory block")
            || text.contains("lock file \"postmaster.pid\" already")
    }
}

/// What a start needs to know.
#[derive(Debug)]
pub(super) struct Server<'a> {
    pub(super) place: &'a Place,
    pub(super) installation: &'a Installation,
    /// The program that is started as the guard.
    pub(super) guard: &'a Path,
}

impl Server<'_> {
    /// Makes the cluster beside its place, lasting on the disk, and moves it there in one step.
    pub(super) async fn make_cluster(&self, log: &mut Log) -> Result<(), EmbeddedError> {
        let base = &self.place.base;
        let cluster = &self.place.cluster;
        remove_halves(base);
        let half = base.join(half_name()?);
        // C.UTF-8 knows the case of letters beyond ASCII and sorts like C; where the system lacks it, C does.
        for locale in ["C.UTF-8", "C"] {
            own_private_folder(&half, self.place.account.as_ref())?;
            log.mark();
            let mut guarded = self.guarded("initdb", init_arguments(&half, locale), log)?;
            let status = guarded.ended().await.map_err(EmbeddedError::io("wait for initdb in", &half))?;
            if status.success() {
                std::fs::rename(&half, cluster).map_err(EmbeddedError::io("make", cluster))?;
                return sync_folder(base).map_err(EmbeddedError::io("sync", base));
            }
            // What initdb cleans up it does itself; the folder it was given remains.
            remove_halves(base);
            if !log.last_words().contains("locale") {
                break;
            }
        }
        Err(EmbeddedError::InitFailed {
            cluster: cluster.clone(),
            reason: log.last_words(),
            log: log.path.clone(),
        })
    }

    /// Starts the server and waits until the application's database can be used.
    pub(super) async fn start(&self, log: &mut Log) -> Result<LimitedProvider, EmbeddedError> {
        let begin = Instant::now();
        loop {
            super::stale::stop_server_of(&self.place.cluster).await?;
            log.mark();
            let mut guarded = self.guarded("postgres", self.server_arguments(), log)?;
            tokio::select! {
                ready = self.ready() => match ready {
                    Ok(()) => {
                        // What is said from here on is about serving.
                        log.mark();
                        return Ok(guarded);
                    }
                    Err(NotReady::Late) => {
                        return Err(EmbeddedError::NotReady {
                            seconds: READY_WITHIN.as_secs(),
                            log: log.path.clone(),
                        });
                    }
                    Err(NotReady::Refused(error)) => return Err(EmbeddedError::Connect(error)),
                },
                _ = guarded.ended() => {
                    if !log.tells_of_remains() || begin.elapsed() >= REMAINS_WITHIN {
                        return Err(EmbeddedError::ServerEnded {
                            reason: log.last_words(),
                            log: log.path.clone(),
                        });
                    }
                    tokio::time::sleep(LOOK_EVERY * 10).await;
                }
            }
        }
    }

    fn guarded(
        &self,
        program: &str,
        arguments: Vec<OsString>,
        log: &Log,
    ) -> Result<LimitedProvider, EmbeddedError> {
        let program = self.installation.bin.join(program);
        LimitedProvider::start(self.guard, self.place.account.as_ref(), &program, arguments, &log.file)
    }

    fn server_arguments(&self) -> Vec<OsString> {
        let mut arguments = vec!["-D".into(), self.place.cluster.clone().into_os_string()];
        let mut set = |name: &str, value: &OsString| {
            let mut setting = OsString::from(format!("{name}="));
            setting.push(value);
            arguments.extend(["-c".into(), setting]);
        };
        for (name, value) in SETTINGS {
            set(name, &value.into());
        }
        // The setting is a list: quoted, a comma in the path is part of it.
        let mut folder = OsString::from("\"");
        folder.push(&self.place.socket);
        folder.push("\"");
        set("unix_socket_directories", &folder);
        arguments
    }

    /// Connects until it works, making the application's database when it is missing.
    async fn ready(&self) -> Result<(), NotReady> {
        let end = Instant::now() + READY_WITHIN;
        loop {
            match PgConnection::connect_with(&connect_options(&self.place.socket, NAME)).await {
                Ok(connection) => {
                    // The server notices a connection that just goes away as well.
                    let _ = connection.close().await;
                    return Ok(());
                }
                Err(error) if sqlstate(&error).as_deref() == Some("3D000") => self.make_database().await?,
                Err(error) if is_early(&error) => {}
                Err(error) => return Err(NotReady::Refused(error)),
            }
            if Instant::now() >= end {
                return Err(NotReady::Late);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn make_database(&self) -> Result<(), NotReady> {
        let options = connect_options(&self.place.socket, "postgres");
        let mut connection = PgConnection::connect_with(&options).await.map_err(NotReady::Refused)?;
        connection.execute("CREATE DATABASE verbatim").await.map_err(NotReady::Refused)?;
        connection.close().await.map_err(NotReady::Refused)
    }
}

/// Why no connection could be had.
enum NotReady {
    Late,
    Refused(sqlx::Error),
}

/// How to reach `database` through the socket in `folder`. The settings of other clients' environments (`PGHOST`
/// and so on) do not apply.
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

/// Whether waiting may help: no socket yet, or the server says that it is starting.
fn is_early(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(_)) || sqlstate(error).as_deref() == Some("57P03")
}

fn init_arguments(folder: &Path, locale: &str) -> Vec<OsString> {
    let mut arguments = vec!["-D".into(), folder.as_os_str().to_owned()];
    // Whoever gets as far as the socket, in a folder that only the server's owner may enter, is trusted. initdb
    // syncs the whole cluster to the disk before it ends.
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

const HALF_PREFIX: &str = "postgres.new-";

fn half_name() -> Result<String, EmbeddedError> {
    let mut random = [0; 4];
    SystemRandom::new().fill(&mut random).map_err(|_| EmbeddedError::Randomness)?;
    Ok(format!("{HALF_PREFIX}{:08x}", u32::from_be_bytes(random)))
}

/// Removes what crashes in the middle of initdb left. What cannot be removed now is tried again at the next start.
pub(super) fn remove_halves(base: &Path) {
    let Ok(entries) = std::fs::read_dir(base) else { return };
    for entry in entries.filter_map(Result::ok) {
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(HALF_PREFIX)) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn the_reason_is_the_first_complaint_of_this_start() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("postgres.log"), "FATAL:  of an earlier run\n").unwrap();
        let log = Log::open(root.path()).unwrap();
        assert_eq!(log.last_words(), "it said nothing");
        let mut file = &log.file;
        file.write_all(b"2025-01-01 00:00:00 UTC [7] LOG:  starting\n").unwrap();
        assert!(log.last_words().ends_with("starting"));
        file.write_all(b"2025-01-01 00:00:00 UTC [8] FATAL:  the database system is starting up\n").unwrap();
        file.write_all(b"2025-01-01 00:00:00 UTC [7] FATAL:  no room.\n[7] LOG:  shut down\n").unwrap();
        assert_eq!(log.last_words(), "no room");
    }

    #[test]
    fn a_log_that_has_grown_too_long_is_emptied() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("postgres.log");
        File::create(&path).unwrap().set_len(LOG_LIMIT).unwrap();
        Log::open(root.path()).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), LOG_LIMIT);
        File::create(&path).unwrap().set_len(LOG_LIMIT + 1).unwrap();
        Log::open(root.path()).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
    }

    #[test]
    fn halves_are_removed_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        for name in ["postgres.new-0badcafe/base", "postgres/base"] {
            std::fs::create_dir_all(root.path().join(name)).unwrap();
        }
        remove_halves(root.path());
        assert!(root.path().join("postgres/base").exists());
        assert!(!root.path().join("postgres.new-0badcafe").exists());
    }
}
