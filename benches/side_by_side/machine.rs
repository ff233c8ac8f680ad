//! The measured system: a temporary Postgres server, the program, and the disk.

use std::fs::{File, OpenOptions, Permissions};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use verbatim::embedded::{Embedded, EmbeddedSettings};

use super::http::{Client, request};
use super::load::Times;

/// Path of the measured program.
const PROGRAM: &str = env!("CARGO_BIN_EXE_verbatim");
/// Database for pgbench: same server and schema, but not used by the measured program.
pub(crate) const BARE: &str = "bare";
/// Superuser of the embedded server, and database of the measured program.
pub(crate) const NAME: &str = "verbatim";
/// Maximum time for a start or a stop.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The database server and its temporary folder.
pub(crate) struct Database {
    server: Embedded,
    folder: TempDir,
}

impl Database {
    /// Creates a cluster in a temporary folder (`TMPDIR`) and starts its server with fsync on, as an unprivileged user if
    /// run by root.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("verbatim-bench-").tempdir()?;
        // The server's user needs access; the contents have their own permissions.
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
        let server = Embedded::start(EmbeddedSettings {
            data_dir: folder.path().join("data"),
            postgres_bin: None,
            search_path: None,
            required_keys: Vec::new(),
            supervisor: Some(PathBuf::from(PROGRAM)),
        })
        .await?;
        Ok(Self { server, folder })
    }

    pub(crate) fn describe(&self) -> String {
        format!("Postgres {}, fsync on", self.server.version())
    }

    /// Returns the folder of this run.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns a Postgres client program, configured to connect to the server.
    pub(crate) fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.server.bin().join(name));
        command
            .env_clear()
            .current_dir(self.folder())
            .env("PGHOST", self.server.socket())
            .env("PGPORT", "5432")
            .env("PGUSER", NAME)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Opens a few connections of the benchmark to a database.
    pub(crate) async fn pool(&self, database: &str) -> anyhow::Result<PgPool> {
        let options = self.server.connect_options().database(database);
        Ok(PgPoolOptions::new().max_connections(4).connect_with(options).await?)
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://{NAME}@localhost:5432/{database}?host={}", self.server.socket().display())
    }

    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.server.stop().await?;
        self.folder.close()?;
        Ok(())
    }
}

/// Secrets shared by all processes of a run.
pub(crate) struct Secrets {
    pub(crate) master_key: [u8; 32],
    jwt_secret: [u8; 32],
}

impl Secrets {
    pub(crate) fn random() -> anyhow::Result<Self> {
        Ok(Self { master_key: random()?, jwt_secret: random()? })
    }
}

fn random() -> anyhow::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| anyhow::anyhow!("no random bytes"))?;
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the measured program with a subcommand and its production configuration.
pub(crate) fn program(database: &Database, secrets: &Secrets, subcommand: &str) -> Command {
    let mut command = Command::new(PROGRAM);
    command
        .arg(subcommand)
        .env_clear()
        // Ignore the user's `.env`.
        .current_dir(database.folder())
        .env("DATABASE_URL", database.url(NAME))
        .env("MASTER_KEY", hex(&secrets.master_key))
        .env("JWT_SECRET_KEY", hex(&secrets.jwt_secret))
        .env("HOST", "127.0.0.1")
        .env("PORT", "0")
        .env("RATE_LIMITS", "off")
        .env("QUOTA_MESSAGES_PER_DAY", "0")
        .env("QUOTA_TOKENS_PER_DAY", "0")
        .env("REPLIES_AT_ONCE_PER_USER", "0")
        .env("METRICS_ADDR", "off")
        .env("LOG_LEVEL", "warn")
        .env("SCRIPTED_WORDS_PER_SECOND", "0")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Migrates the schema of a database.
pub(crate) async fn migrate(database: &Database, secrets: &Secrets, name: &str) -> anyhow::Result<()> {
    let output =
        program(database, secrets, "migrate").env("DATABASE_URL", database.url(name)).output().await?;
    if !output.status.success() {
        bail!("migrate failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// The measured program, running.
pub(crate) struct Server {
    child: Child,
    pid: i32,
    /// Address that the program listens on.
    pub(crate) address: SocketAddr,
    log: PathBuf,
}

impl Server {
    /// Starts the program with additional variables and waits until it is ready. The schema must be migrated.
    pub(crate) async fn start(
        database: &Database,
        secrets: &Secrets,
        variables: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        // If another process takes the port meanwhile, the program fails and the run ends.
        let port = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let log = database.folder().join(format!("server-{port}.log"));
        let output = File::create(&log)?;
        let child = program(database, secrets, "serve")
            .env("PORT", port.to_string())
            .envs(variables.iter().copied())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).context("the server exited at once")?;
        let mut server = Self { child, pid, address: (Ipv4Addr::LOCALHOST, port).into(), log };
        server.ready().await?;
        Ok(server)
    }

    async fn ready(&mut self) -> anyhow::Result<()> {
        let end = Instant::now() + TIMEOUT;
        let probe = request("GET", "/readyz", "", "");
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended ({status}): {}", std::fs::read_to_string(&self.log)?);
            }
            if let Ok(mut client) = Client::connect(self.address).await
                && client.call(&probe).await.is_ok()
            {
                return Ok(());
            }
            if Instant::now() >= end {
                bail!("the server is not ready: {}", std::fs::read_to_string(&self.log)?);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Returns the current memory of the process.
    pub(crate) fn memory(&self) -> anyhow::Result<Memory> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name));
            let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u32>().ok());
            kib.map(|kib| f64::from(kib) / 1024.0)
                .with_context(|| format!("no {name} in the process' status"))
        };
        Ok(Memory { resident: field("VmRSS:")?, private: field("RssAnon:")?, peak: field("VmHWM:")? })
    }

    /// Returns the used processor time.
    pub(crate) fn processor_time(&self) -> anyhow::Result<Duration> {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        let (_, fields) = text.rsplit_once(')').context("no processor time")?;
        let ticks: Vec<u64> =
            fields.split_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
        // The kernel reports user-space ticks of 10 ms.
        Ok(Duration::from_millis(ticks.iter().sum::<u64>() * 10))
    }

    /// Stops the program and returns its log.
    pub(crate) async fn stop(mut self) -> anyhow::Result<String> {
        kill(Pid::from_raw(self.pid), Signal::SIGTERM)?;
        let status =
            tokio::time::timeout(TIMEOUT, self.child.wait()).await.context("the server does not stop")??;
        let log = std::fs::read_to_string(&self.log)?;
        if !status.success() {
            bail!("the server failed ({status}): {log}");
        }
        Ok(log)
    }
}

/// Returns the load average of the last minute.
pub(crate) fn load_average() -> anyhow::Result<f64> {
    let text = std::fs::read_to_string("/proc/loadavg")?;
    Ok(text.split(' ').next().context("no load average")?.parse()?)
}

/// Memory of a process, in MiB.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    /// Resident memory, including the program's file.
    pub(crate) resident: f64,
    /// Resident memory that is not backed by a file.
    pub(crate) private: f64,
    /// Peak resident memory.
    pub(crate) peak: f64,
}

/// Measures a durable write like the database's WAL: 8 KiB into an existing file, then fdatasync.
pub(crate) struct Disk {
    file: File,
    written: u64,
}

impl Disk {
    const BLOCK: usize = 8 * 1024;
    const BLOCKS: u64 = 512;

    pub(crate) fn open(folder: &Path) -> anyhow::Result<Self> {
        let file =
            OpenOptions::new().create(true).truncate(true).write(true).open(folder.join("fsync-probe"))?;
        for block in 0..Self::BLOCKS {
            file.write_all_at(&[0; Self::BLOCK], block * Self::BLOCK as u64)?;
        }
        file.sync_all()?;
        Ok(Self { file, written: 0 })
    }

    /// Writes and syncs one block.
    pub(crate) fn sync(&mut self, times: &mut Times) -> anyhow::Result<()> {
        let start = Instant::now();
        let at = (self.written % Self::BLOCKS) * Self::BLOCK as u64;
        self.file.write_all_at(&[1; Self::BLOCK], at)?;
        self.file.sync_data()?;
        times.push(start.elapsed());
        self.written += 1;
        Ok(())
    }
}
