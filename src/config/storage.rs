//! Database settings: the embedded default, or an external Postgres server.

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;

use super::error::ConfigError;
use super::reader::Reader;
use super::secret::Secret;

/// The database and its connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageConfig {
    /// The server to use.
    pub database: Database,
    /// `DATABASE_POOL_SIZE`: connections of one process.
    pub pool_size: u32,
    /// `DATA_DIR`: data folder of the embedded default.
    pub data_dir: PathBuf,
    /// `POSTGRES_BIN`: Postgres programs for the embedded default.
    pub postgres_bin: Option<PathBuf>,
    /// The value of `PATH`, for finding Postgres; not a setting of its own.
    pub search_path: Option<OsString>,
}

/// The Postgres server that stores the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Database {
    /// A private server in the data folder.
    Embedded,
    /// An external server; one URL per database role.
    Server {
        /// `DATABASE_URL`: the application's role.
        application: Secret,
        /// `PROJECTOR_DATABASE_URL`, by default the application's.
        projector: Secret,
        /// `MIGRATE_DATABASE_URL`, by default the application's.
        migrate: Secret,
    },
}

impl StorageConfig {
    /// Returns whether the embedded default is used.
    pub fn is_embedded(&self) -> bool {
        self.database == Database::Embedded
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, ConfigError> {
        let application = url(reader, "DATABASE_URL")?;
        let projector = url(reader, "PROJECTOR_DATABASE_URL")?;
        let migrate = url(reader, "MIGRATE_DATABASE_URL")?;
        let database = match application {
            Some(application) => Database::Server {
                projector: projector.unwrap_or_else(|| application.clone()),
                migrate: migrate.unwrap_or_else(|| application.clone()),
                application,
            },
            None => {
                for (name, given) in [
                    ("PROJECTOR_DATABASE_URL", projector.is_some()),
                    ("MIGRATE_DATABASE_URL", migrate.is_some()),
                ] {
                    if given {
                        reader.note(format!("{name} has no effect without DATABASE_URL."));
                    }
                }
                Database::Embedded
            }
        };
        let path = |path: &PathBuf| path.display().to_string();
        let to_path = |text: &str| Some(PathBuf::from(text));
        Ok(Self {
            database,
            pool_size: reader.count("DATABASE_POOL_SIZE", 16, 2..=1000)?,
            data_dir: reader.parsed("DATA_DIR", PathBuf::from("./data"), "a folder", path, to_path)?,
            postgres_bin: reader.optional("POSTGRES_BIN", "a folder", path, to_path)?,
            search_path: None,
        })
    }
}

fn url(reader: &mut Reader<'_>, name: &'static str) -> Result<Option<Secret>, ConfigError> {
    let Some(url) = reader.secret(name) else { return Ok(None) };
    let scheme = url.expose().split([':', '/']).next().unwrap_or_default().to_ascii_lowercase();
    match scheme.as_str() {
        "postgres" | "postgresql" => {}
        "mysql" | "mariadb" | "mongodb" | "mongodb+srv" | "sqlite" | "sqlite3" | "sqlite+aiosqlite" => {
            let kind = if scheme.starts_with("sqlite") {
                "SQLite"
            } else if scheme.starts_with("mongodb") {
                "MongoDB"
            } else {
                "MySQL"
            };
            return Err(ConfigError::OtherDatabase { name, kind: kind.to_owned() });
        }
        _ => return Err(not_a_url(name)),
    }
    let options = PgConnectOptions::from_str(url.expose()).map_err(|_| not_a_url(name))?;
    // Everything but user and password may be shown.
    reader.show(
        name,
        format!(
            "postgres://[redacted]@{}:{}/{}",
            options.get_host(),
            options.get_port(),
            options.get_database().unwrap_or_default()
        ),
    );
    Ok(Some(url))
}

fn not_a_url(name: &'static str) -> ConfigError {
    ConfigError::InvalidSecret {
        name,
        expected: "a URL like postgres://USER:PASSWORD@HOST/DATABASE".to_owned(),
    }
}
