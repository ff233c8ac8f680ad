//! The embedded default: a private Postgres server that this binary makes, starts and stops.
//!
//! Used when `DATABASE_URL` is not set, by `serve` and the other commands that need the database. What it does,
//! in order:
//!
//! 1. [`DataDir`] makes the data folder private and locks it: one process per folder, however it ends.
//! 2. `place` decides where the cluster and the socket stand and, for root, as whom the server runs.
//! 3. [`find`] picks an installed Postgres, of the major version that made the cluster when there is one.
//! 4. The keys that must be there before the first row are made with a new cluster, and must exist with an old one.
//! 5. `server` makes the cluster when missing (beside its place, then one rename), stops what an earlier run may
//!    have left (`stale`), starts the server under a [`guard`] that ends it with this process, and connects.

mod data_dir;
mod error;
pub mod find;
pub mod guard;
mod place;
mod server;
mod stale;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use sqlx::postgres::PgConnectOptions;

pub use data_dir::{DataDir, JWT_SECRET, MASTER_KEY};
pub use error::EmbeddedError;

use crate::config::{Config, Kept};
use find::{Installation, Search, Version};
use guard::LimitedProvider;
use place::Place;
use server::{Log, Server};

/// What the embedded default is told by the configuration.
#[derive(Debug, Clone)]
pub struct EmbeddedSettings {
    /// `DATA_DIR`: made when missing.
    pub data_dir: PathBuf,
    /// `POSTGRES_BIN`: the folder of the programs; found when not given.
    pub postgres_bin: Option<PathBuf>,
    /// The value of `PATH`, one of the places where Postgres is looked for.
    pub search_path: Option<OsString>,
    /// The names of the keys without which the data cannot be read, see [`DataDir::secret`]. They are made before
    /// a new cluster is; an existing cluster without them is refused rather than given fresh, useless ones.
    pub required_keys: Vec<String>,
    /// The program to start as the guard; it must know the hidden subcommand. `None`: this one.
    pub guard: Option<PathBuf>,
}

impl EmbeddedSettings {
    /// As `config` says. The keys that it gives itself are not looked for in the data folder.
    pub fn of(config: &Config) -> Self {
        let required_keys = match config.auth.master_key {
            Kept::Given(_) => Vec::new(),
            Kept::InDataFolder => vec![MASTER_KEY.to_owned()],
        };
        Self {
            data_dir: config.storage.data_dir.clone(),
            postgres_bin: config.storage.postgres_bin.clone(),
            search_path: config.storage.search_path.clone(),
            required_keys,
            guard: None,
        }
    }
}

/// A running private server. Dropping it asks the guard to stop the server; [`Embedded::stop`] also waits.
#[derive(Debug)]
pub struct Embedded {
    // In this order: the server is told to stop before the folders are let go.
    guarded: LimitedProvider,
    place: Place,
    installation: Installation,
    log: Log,
    data: DataDir,
}

impl Embedded {
    /// Makes what is missing, starts the server and waits until its database can be used.
    ///
    /// # Errors
    /// Everything in [`EmbeddedError`]; its text is the sentence to show.
    pub async fn start(settings: EmbeddedSettings) -> Result<Self, EmbeddedError> {
        let data = DataDir::open(&settings.data_dir)?;
        let place = Place::settle(&data)?;
        let made_by = major_of(&place.cluster)?;
        let search = Search::new(settings.postgres_bin, settings.search_path);
        let installation = search.pick(made_by.map(|major| (place.cluster.as_path(), major)))?;
        let guard = settings.guard.map_or_else(guard::own_program, Ok)?;
        let mut log = Log::open(data.path())?;
        for name in &settings.required_keys {
            if made_by.is_none() {
                data.secret(name)?;
            } else if data.kept_secret(name)?.is_none() {
                return Err(EmbeddedError::KeyMissing { dir: data.path().to_path_buf(), name: name.clone() });
            }
        }
        let server = Server { place: &place, installation: &installation, guard: &guard };
        if made_by.is_none() {
            server.make_cluster(&mut log).await?;
        } else {
            server::remove_halves(&place.base);
        }
        let guarded = server.start(&mut log).await?;
        Ok(Self { guarded, place, installation, log, data })
    }

    /// How to connect: through the socket, as the superuser `verbatim`, to the database `verbatim`.
    pub fn connect_options(&self) -> PgConnectOptions {
        server::connect_options(&self.place.socket, server::NAME)
    }

    /// The version of the server.
    pub fn version(&self) -> Version {
        self.installation.version
    }

    /// The folder that holds `postgres`, `psql` and the like.
    pub fn bin(&self) -> &Path {
        &self.installation.bin
    }

    /// The data folder, held until this value is dropped.
    pub fn data_dir(&self) -> &DataDir {
        &self.data
    }

    /// The folder of the database's files: in the data folder, or elsewhere when the server's user cannot reach it.
    pub fn cluster(&self) -> &Path {
        &self.place.cluster
    }

    /// The folder of the server's socket, as `psql --host` takes it.
    pub fn socket(&self) -> &Path {
        &self.place.socket
    }

    /// What the person who started the program should know, one sentence each.
    pub fn notes(&self) -> &[String] {
        &self.place.notes
    }

    /// Waits until the server ends though nobody asked it to, and returns why. Safe to cancel and to call again.
    pub async fn exited(&mut self) -> EmbeddedError {
        match self.guarded.ended().await {
            Ok(_) => EmbeddedError::ServerEnded { reason: self.log.last_words(), log: self.log.path.clone() },
            Err(error) => EmbeddedError::io("watch the guard of", &self.place.cluster)(error),
        }
    }

    /// Stops the server and waits until it has ended.
    ///
    /// # Errors
    /// When it does not end: [`EmbeddedError::StaleServer`].
    pub async fn stop(mut self) -> Result<(), EmbeddedError> {
        let stopped = self.guarded.stop().await;
        // A guard that was killed has left the server behind.
        stale::stop_server_of(&self.place.cluster).await?;
        stopped.map_err(EmbeddedError::io("stop the server of", &self.place.cluster))
    }
}

/// A private server that another process runs, for a command beside it.
#[derive(Debug)]
pub struct Running {
    socket: PathBuf,
    data: DataDir,
}

impl Running {
    /// The server of the data folder in `settings`. Whether it really runs shows when it is connected to.
    ///
    /// # Errors
    /// The folder is not there.
    pub fn beside(settings: &EmbeddedSettings) -> Result<Self, EmbeddedError> {
        let data = DataDir::beside(&settings.data_dir)?;
        let socket = place::socket_of_running(&data)?;
        Ok(Self { socket, data })
    }

    /// How to connect, as [`Embedded::connect_options`] does.
    pub fn connect_options(&self) -> PgConnectOptions {
        server::connect_options(&self.socket, server::NAME)
    }

    /// The data folder, for its keys.
    pub fn data_dir(&self) -> &DataDir {
        &self.data
    }
}

/// Keeps the server running for other programs until a signal, or until it ends by itself; tells on `out` how to
/// reach it. What `verbatim postgres` does.
///
/// # Errors
/// When the server ended by itself, or does not stop.
pub async fn hold(mut running: Embedded, out: &mut impl io::Write) -> Result<(), EmbeddedError> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen =
        |kind| signal(kind).map_err(EmbeddedError::io("handle signals for", Path::new("this process")));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    let told = writeln!(
        out,
        "Postgres {} serves {}; connect with: {} -h {} -U verbatim verbatim; Ctrl-C ends it.",
        running.version(),
        running.cluster().display(),
        running.bin().join("psql").display(),
        running.socket().display(),
    )
    .and_then(|()| out.flush());
    told.map_err(EmbeddedError::io("write to", Path::new("the standard output")))?;
    tokio::select! {
        _ = interrupt.recv() => running.stop().await,
        _ = terminate.recv() => running.stop().await,
        ended = running.exited() => {
            // A guard that was killed has left the server behind; why it ended matters more than how that goes.
            let _ = running.stop().await;
            Err(ended)
        }
    }
}

/// The major version that made the cluster; `None` when there is no cluster yet.
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
