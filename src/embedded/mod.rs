//! The embedded default: a private Postgres server that this binary makes, starts and stops.
//!
//! Used when `DATABASE_URL` is not set, by `serve` and the other commands that need the database. Steps of a start:
//!
//! 1. [`DataDir`] makes the data folder private and locks it: one process per folder.
//! 2. `layout` decides where the cluster and the socket are and, for root, which user runs the server.
//! 3. [`discovery`] picks an installed Postgres, of the major version that created the cluster if it exists.
//! 4. The keys that are needed before the first row are generated with a new cluster, and must exist with an old one.
//! 5. `server` creates the cluster if missing (in a temporary folder, then one rename), stops the server of an earlier
//!    run (`orphan`), starts the server under a [`supervisor`] that ends it with this process, and connects.

mod data_dir;
pub mod discovery;
mod error;
mod layout;
mod orphan;
mod server;
pub mod supervisor;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use sqlx::postgres::PgConnectOptions;

pub use data_dir::{DataDir, JWT_SECRET, MASTER_KEY};
pub use error::EmbeddedError;

use crate::config::{Config, SecretSource};
use discovery::{Installation, Search, Version};
use layout::Layout;
use server::{Log, Server};
use supervisor::SupervisedProcess;

/// Settings of the embedded database.
#[derive(Debug, Clone)]
pub struct EmbeddedSettings {
    /// `DATA_DIR`: created if missing.
    pub data_dir: PathBuf,
    /// `POSTGRES_BIN`: folder of the programs; searched for if not set.
    pub postgres_bin: Option<PathBuf>,
    /// The value of `PATH`, one of the places to search for Postgres.
    pub search_path: Option<OsString>,
    /// Names of the keys that are needed to read the data, see [`DataDir::secret`]. They are generated before a new cluster;
    /// an existing cluster without them is rejected rather than given new, useless ones.
    pub required_keys: Vec<String>,
    /// Program to start as the supervisor; it must have the hidden subcommand. `None` for this one.
    pub supervisor: Option<PathBuf>,
}

impl EmbeddedSettings {
    /// Derives the settings from `config`. Keys that it contains are not read from the data folder.
    pub fn of(config: &Config) -> Self {
        let required_keys = match config.auth.master_key {
            SecretSource::Given(_) => Vec::new(),
            SecretSource::InDataFolder => vec![MASTER_KEY.to_owned()],
        };
        Self {
            data_dir: config.storage.data_dir.clone(),
            postgres_bin: config.storage.postgres_bin.clone(),
            search_path: config.storage.search_path.clone(),
            required_keys,
            supervisor: None,
        }
    }
}

/// A running private server. Dropping it makes the supervisor stop the server; [`Embedded::stop`] also waits.
#[derive(Debug)]
pub struct Embedded {
    // Field order matters: the server must be stopped before the folders are unlocked.
    supervised: SupervisedProcess,
    layout: Layout,
    installation: Installation,
    log: Log,
    data: DataDir,
}

impl Embedded {
    /// Creates what is missing, starts the server and waits until its database is ready.
    ///
    /// # Errors
    /// Any [`EmbeddedError`]; its text is the sentence to show.
    pub async fn start(settings: EmbeddedSettings) -> Result<Self, EmbeddedError> {
        let data = DataDir::open(&settings.data_dir)?;
        let layout = Layout::resolve(&data)?;
        let made_by = major_of(&layout.cluster)?;
        let search = Search::new(settings.postgres_bin, settings.search_path);
        let installation = search.pick(made_by.map(|major| (layout.cluster.as_path(), major)))?;
        let supervisor = settings.supervisor.map_or_else(supervisor::own_program, Ok)?;
        let mut log = Log::open(data.path())?;
        for name in &settings.required_keys {
            if made_by.is_none() {
                data.secret(name)?;
            } else if data.existing_secret(name)?.is_none() {
                return Err(EmbeddedError::KeyMissing { dir: data.path().to_path_buf(), name: name.clone() });
            }
        }
        let server = Server { layout: &layout, installation: &installation, supervisor: &supervisor };
        if made_by.is_none() {
            server.create_cluster(&mut log).await?;
        } else {
            server::remove_partial_clusters(&layout.base);
        }
        let supervised = server.start(&mut log).await?;
        Ok(Self { supervised, layout, installation, log, data })
    }

    /// Returns options to connect through the socket as the superuser `verbatim` to the database `verbatim`.
    pub fn connect_options(&self) -> PgConnectOptions {
        server::connect_options(&self.layout.socket, server::NAME)
    }

    /// Returns the version of the server.
    pub fn version(&self) -> Version {
        self.installation.version
    }

    /// Returns the folder with `postgres`, `psql` and the other programs.
    pub fn bin(&self) -> &Path {
        &self.installation.bin
    }

    /// Returns the data folder, locked until this value is dropped.
    pub fn data_dir(&self) -> &DataDir {
        &self.data
    }

    /// Returns the folder of the database files: in the data folder, or elsewhere if the server's user cannot reach it.
    pub fn cluster(&self) -> &Path {
        &self.layout.cluster
    }

    /// Returns the folder of the server's socket, as `psql --host` takes it.
    pub fn socket(&self) -> &Path {
        &self.layout.socket
    }

    /// Returns notes for the person who started the program, one sentence each.
    pub fn notes(&self) -> &[String] {
        &self.layout.notes
    }

    /// Waits until the server ends on its own, and returns why. Cancel-safe, and may be called again.
    pub async fn exited(&mut self) -> EmbeddedError {
        match self.supervised.ended().await {
            Ok(_) => {
                EmbeddedError::ServerEnded { reason: self.log.last_log_line(), log: self.log.path.clone() }
            }
            Err(error) => EmbeddedError::io("watch the supervisor of", &self.layout.cluster)(error),
        }
    }

    /// Stops the server and waits for its end.
    ///
    /// # Errors
    /// If it does not end: [`EmbeddedError::OrphanedServer`].
    pub async fn stop(mut self) -> Result<(), EmbeddedError> {
        let stopped = self.supervised.stop().await;
        // A killed supervisor leaves the server behind.
        orphan::stop_server_of(&self.layout.cluster).await?;
        stopped.map_err(EmbeddedError::io("stop the server of", &self.layout.cluster))
    }
}

/// A private server that another process runs, for a command beside it.
#[derive(Debug)]
pub struct RunningServer {
    socket: PathBuf,
    data: DataDir,
}

impl RunningServer {
    /// Locates the server of the data folder in `settings`. Connecting shows whether it really runs.
    ///
    /// # Errors
    /// If the folder does not exist.
    pub fn locate(settings: &EmbeddedSettings) -> Result<Self, EmbeddedError> {
        let data = DataDir::open_running(&settings.data_dir)?;
        let socket = layout::socket_of_running(&data)?;
        Ok(Self { socket, data })
    }

    /// Returns the connect options, like [`Embedded::connect_options`].
    pub fn connect_options(&self) -> PgConnectOptions {
        server::connect_options(&self.socket, server::NAME)
    }

    /// Returns the data folder, for its keys.
    pub fn data_dir(&self) -> &DataDir {
        &self.data
    }
}

/// Keeps the server running until a signal, or until it ends on its own; writes to `out` how to connect. Implements
/// `verbatim postgres`.
///
/// # Errors
/// If the server ended on its own, or does not stop.
pub async fn run_foreground(mut running: Embedded, out: &mut impl io::Write) -> Result<(), EmbeddedError> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen =
        |kind| signal(kind).map_err(EmbeddedError::io("handle signals for", Path::new("this process")));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    let written = writeln!(
        out,
        "Postgres {} serves {}; connect with: {} -h {} -U verbatim verbatim; Ctrl-C ends it.",
        running.version(),
        running.cluster().display(),
        running.bin().join("psql").display(),
        running.socket().display(),
    )
    .and_then(|()| out.flush());
    written.map_err(EmbeddedError::io("write to", Path::new("the standard output")))?;
    tokio::select! {
        _ = interrupt.recv() => running.stop().await,
        _ = terminate.recv() => running.stop().await,
        ended = running.exited() => {
            // A killed supervisor leaves the server behind; why it ended matters more than this stop.
            let _ = running.stop().await;
            Err(ended)
        }
    }
}

/// Returns the major version that created the cluster; `None` if there is no cluster yet.
fn major_of(cluster: &Path) -> Result<Option<u32>, EmbeddedError> {
    let file = cluster.join("PG_VERSION");
    match std::fs::read_to_string(&file) {
        Ok(text) => match text.trim().split('.').next().and_then(|major| major.parse().ok()) {
            Some(major) => Ok(Some(major)),
            None => Err(EmbeddedError::NotACluster(cluster.to_path_buf())),
        },
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => match std::fs::remove_dir(cluster) {
            Ok(()) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(_) => Err(EmbeddedError::NotACluster(cluster.to_path_buf())),
        },
        Err(error) => Err(EmbeddedError::io("read", &file)(error)),
    }
}
