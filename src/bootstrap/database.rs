//! The database of the process: the private one that is started here, or a server of the operator's.

use std::str::FromStr as _;
use std::time::Duration;

use anyhow::{Context as _, bail};
use sqlx::migrate::Migrate as _;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection as _, Executor as _, PgConnection, PgPool};

use super::baseline;
use crate::config::{Config, Database};
use crate::embedded::{Embedded, EmbeddedError, EmbeddedSettings, RunningServer};
use crate::schema::MIGRATOR;

/// The oldest server that is supported, as `server_version_num` has it.
const OLDEST: i32 = 140_000;
/// How long a request waits for a connection.
const ACQUIRE: Duration = Duration::from_secs(2);

/// A database that can be used.
pub struct Opened {
    /// The private server, when it is one.
    pub embedded: Option<Embedded>,
    /// Connections of the use cases.
    pub application: PgConnectOptions,
    /// Connections of the projections.
    pub projector: PgConnectOptions,
    /// How many connections the use cases have.
    pub pool_size: u32,
    /// Whether connections take on the group roles: the private server's one user owns everything otherwise.
    pub set_roles: bool,
}

impl Opened {
    /// Starts the private server, or looks at the operator's, and makes sure that its schema is the one of this version.
    ///
    /// # Errors
    /// One plain sentence.
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        let opened = Self::connect(config).await?;
        let mut connection = opened.first_connection().await?;
        check_server(&mut connection).await?;
        if opened.embedded.is_some() {
            apply_migrations(&mut connection).await.context("The schema could not be brought up to date")?;
        } else {
            check_schema(&mut connection).await?;
        }
        connection.close().await?;
        Ok(opened)
    }

    /// The same for a short command: when another process runs the private server, it goes there, and the second value
    /// knows the keys.
    ///
    /// # Errors
    /// One plain sentence.
    pub async fn open_or_join(config: &Config) -> anyhow::Result<(Self, Option<RunningServer>)> {
        let refused = match Self::open(config).await {
            Ok(opened) => return Ok((opened, None)),
            Err(refused) => refused,
        };
        if !matches!(refused.downcast_ref(), Some(EmbeddedError::InUse { .. })) {
            return Err(refused);
        }
        let running = RunningServer::locate(&EmbeddedSettings::of(config))?;
        let options = running.connect_options();
        let joined = Self {
            embedded: None,
            application: options.clone(),
            projector: options,
            // For one command at a time, beside those of the process that serves.
            pool_size: 4,
            set_roles: true,
        };
        let mut connection = joined.first_connection().await?;
        check_schema(&mut connection).await?;
        connection.close().await?;
        Ok((joined, Some(running)))
    }

    /// Only says where it is, without looking at the schema.
    ///
    /// # Errors
    /// One plain sentence.
    pub async fn connect(config: &Config) -> anyhow::Result<Self> {
        Ok(match &config.storage.database {
            Database::Embedded => {
                let embedded = Embedded::start(EmbeddedSettings::of(config)).await?;
                for note in embedded.notes() {
                    tracing::info!("{note}");
                }
                let options = embedded.connect_options();
                Self {
                    embedded: Some(embedded),
                    application: options.clone(),
                    projector: options,
                    pool_size: config.storage.pool_size,
                    set_roles: true,
                }
            }
            Database::Server { application, projector, .. } => Self {
                embedded: None,
                application: PgConnectOptions::from_str(application.expose())?,
                projector: PgConnectOptions::from_str(projector.expose())?,
                pool_size: config.storage.pool_size,
                set_roles: false,
            },
        })
    }

    /// The pool of the use cases. Its limits are set on each connection. Its statements find rows by key: one plan fits
    /// all values, while Postgres by itself would plan pages anew each time, because it takes their limit for small.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn pool(&self) -> anyhow::Result<PgPool> {
        let role = if self.set_roles { "SET ROLE verbatim_app; " } else { "" };
        let setup = format!(
            "{role}SET statement_timeout = '3s'; SET lock_timeout = '2s'; \
             SET idle_in_transaction_session_timeout = '5s'; SET synchronous_commit = on; \
             SET plan_cache_mode = force_generic_plan"
        );
        let pool = PgPoolOptions::new()
            .max_connections(self.pool_size)
            .acquire_timeout(ACQUIRE)
            .after_connect(move |connection, _| {
                let setup = setup.clone();
                Box::pin(async move { connection.execute(setup.as_str()).await.map(drop) })
            })
            .connect_with(self.application.clone())
            .await?;
        Ok(pool)
    }

    /// Lines for the start-up log.
    pub fn describe(&self) -> String {
        match &self.embedded {
            Some(embedded) => format!(
                "data: private Postgres {} in {}",
                embedded.version(),
                embedded.data_dir().path().display()
            ),
            None => format!(
                "data: Postgres at {}:{}, database {}",
                self.application.get_host(),
                self.application.get_port(),
                self.application.get_database().unwrap_or("of the user's name")
            ),
        }
    }

    async fn first_connection(&self) -> anyhow::Result<PgConnection> {
        PgConnection::connect_with(&self.application)
            .await
            .with_context(|| format!("Cannot connect to the database ({})", self.describe()))
    }
}

/// Applies what is missing of the schema; returns how many migrations that was.
///
/// # Errors
/// One plain sentence.
pub async fn migrate(config: &Config) -> anyhow::Result<usize> {
    let opened = Opened::connect(config).await?;
    let options = match &config.storage.database {
        Database::Embedded => opened.application.clone(),
        Database::Server { migrate, .. } => PgConnectOptions::from_str(migrate.expose())?,
    };
    let mut connection =
        PgConnection::connect_with(&options).await.context("Cannot connect to the database")?;
    check_server(&mut connection).await?;
    let before = applied(&mut connection).await?;
    apply_migrations(&mut connection).await?;
    let after = applied(&mut connection).await?;
    connection.close().await?;
    if let Some(embedded) = opened.embedded {
        embedded.stop().await?;
    }
    Ok(after.iter().filter(|version| !before.contains(version)).count())
}

/// Adopts the database if the migrations before the baseline made it, then applies what is missing.
async fn apply_migrations(connection: &mut PgConnection) -> anyhow::Result<()> {
    baseline::adopt(&mut *connection).await?;
    MIGRATOR.run(connection).await?;
    Ok(())
}

/// Refuses servers on which promises would not hold.
async fn check_server(connection: &mut PgConnection) -> anyhow::Result<()> {
    let (version, replica, prepared): (i32, bool, i32) = sqlx::query_as(
        "SELECT current_setting('server_version_num')::int, pg_is_in_recovery(),
                current_setting('max_prepared_transactions')::int",
    )
    .fetch_one(connection)
    .await
    .context("The database does not tell its version")?;
    if version < OLDEST {
        bail!("The database is Postgres {}; at least Postgres 14 is needed.", version / 10_000);
    }
    if replica {
        bail!(
            "DATABASE_URL names a replica; the primary is needed, because the order of the log is only known there."
        );
    }
    if prepared > 0 {
        bail!(
            "The database allows prepared transactions (max_prepared_transactions = {prepared}); set it to 0, because \
             their locks would outlive their sessions and hold the log's readers up."
        );
    }
    Ok(())
}

async fn applied(connection: &mut PgConnection) -> anyhow::Result<Vec<i64>> {
    let exists: bool = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await?;
    if !exists {
        return Ok(Vec::new());
    }
    Ok(connection.list_applied_migrations().await?.into_iter().map(|migration| migration.version).collect())
}

/// Refuses a schema that is older or newer than this version's.
async fn check_schema(connection: &mut PgConnection) -> anyhow::Result<()> {
    let applied = applied(connection).await.context(
        "The list of migrations cannot be read: the role in DATABASE_URL needs SELECT on _sqlx_migrations",
    )?;
    let pending = MIGRATOR.iter().filter(|migration| !applied.contains(&migration.version)).count();
    if pending > 0 {
        bail!("The database lacks {pending} migrations of this version; run `verbatim migrate` first.");
    }
    if applied.iter().any(|version| MIGRATOR.iter().all(|migration| migration.version != *version)) {
        bail!(
            "The database has migrations of a newer version of Verbatim; run that version, or a newer one."
        );
    }
    Ok(())
}
