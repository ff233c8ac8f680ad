//! The database schema: the migrations of this version, embedded at build time.

use sqlx::migrate::Migrator;

/// The migrations of this version.
pub static MIGRATOR: Migrator = sqlx::migrate!("./migrations");
