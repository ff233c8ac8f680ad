//! Adoption of databases that the migrations before the baseline made.
//!
//! The baseline is the migrations up to [`LAST_OF_BASELINE`]. They replace 18 earlier ones, which made the same tables under
//! other names. A database made by exactly those 18 is adopted in one transaction: `migrations/baseline/adopt_18.sql`
//! renames its tables and drops its functions, then the second part of each file of the baseline creates the functions and
//! grants, and the rows of `_sqlx_migrations` are replaced. `migrations/README.md` describes the rules for these files.

use std::collections::HashSet;

use anyhow::{Context as _, bail};
use sqlx::migrate::{Migrate as _, Migration};
use sqlx::{Connection as _, Executor as _, PgConnection, Postgres, Transaction};

use crate::schema::MIGRATOR;

/// Version of the last file of the baseline.
const LAST_OF_BASELINE: i64 = 20_261_201_000_700;
/// The line of a file of the baseline after which its functions and grants begin.
const FUNCTIONS: &str = "\n-- == Functions and grants ==\n";
/// Number of the earlier migrations.
const EARLIER_COUNT: usize = 18;
/// Version of the last of them. No later version belongs to them, no version of the baseline is lower.
const LAST_OF_EARLIER: i64 = 20_261_124_000_300;
/// SHA-256 over versions and checksums of the earlier migrations, as [`FINGERPRINT_QUERY`] computes it.
const EARLIER_FINGERPRINT: &str = "6b13465c194481596abbe57ddeb21705919fc51c9a3a95c28074764bbe31cb52";
const FINGERPRINT_QUERY: &str = "
    SELECT encode(sha256(convert_to(string_agg(version || ' ' || encode(checksum, 'hex'), ',' ORDER BY version), 'UTF8')),
                  'hex')
    FROM _sqlx_migrations WHERE success";
const ADOPT: &str = include_str!("../../migrations/baseline/adopt_18.sql");

/// Adopts the database if the earlier migrations made it; does nothing if it is empty or has the baseline.
///
/// # Errors
/// The database has only some of the earlier migrations, or changed ones; or a statement fails, which leaves the database as
/// it was.
pub(super) async fn adopt(connection: &mut PgConnection) -> anyhow::Result<()> {
    if !has_earlier(connection).await? {
        return Ok(());
    }
    // The migrator takes the same lock.
    connection.lock().await?;
    let adopted = adopt_locked(connection).await;
    connection.unlock().await?;
    adopted
}

async fn adopt_locked(connection: &mut PgConnection) -> anyhow::Result<()> {
    // Another process may have adopted it meanwhile.
    if !has_earlier(connection).await? {
        return Ok(());
    }
    let mut transaction = connection.begin().await?;
    check_fingerprint(&mut transaction).await?;
    adopt_in(&mut transaction).await.context("The database could not be adopted; it is unchanged")?;
    transaction.commit().await?;
    tracing::info!("adopted the database: its schema is that of the baseline");
    Ok(())
}

/// Returns whether any migration before the baseline has been applied.
async fn has_earlier(connection: &mut PgConnection) -> anyhow::Result<bool> {
    let exists: bool = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await?;
    Ok(exists
        && sqlx::query_scalar("SELECT EXISTS (SELECT FROM _sqlx_migrations WHERE version <= $1)")
            .bind(LAST_OF_EARLIER)
            .fetch_one(connection)
            .await?)
}

async fn check_fingerprint(transaction: &mut Transaction<'_, Postgres>) -> anyhow::Result<()> {
    let versions: Vec<i64> = sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success")
        .fetch_all(&mut **transaction)
        .await?;
    let count = versions.iter().collect::<HashSet<_>>().len();
    if count < EARLIER_COUNT {
        bail!(
            "The database has only {count} of the {EARLIER_COUNT} migrations before the baseline. Run `verbatim migrate` of \
             the last version that has all of them (up to {LAST_OF_EARLIER}), then this version's."
        );
    }
    let fingerprint: String = sqlx::query_scalar(FINGERPRINT_QUERY).fetch_one(&mut **transaction).await?;
    if fingerprint != EARLIER_FINGERPRINT {
        bail!(
            "The database was made by other migrations than the {EARLIER_COUNT} before the baseline: versions or checksums \
             in _sqlx_migrations differ. Restore the table, or move the data to a new database."
        );
    }
    Ok(())
}

async fn adopt_in(transaction: &mut Transaction<'_, Postgres>) -> anyhow::Result<()> {
    transaction.execute(ADOPT).await?;
    transaction.execute("DELETE FROM _sqlx_migrations").await?;
    for migration in MIGRATOR.iter().filter(|migration| migration.version <= LAST_OF_BASELINE) {
        transaction.execute(functions(migration)?).await?;
        sqlx::query(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES ($1, $2, true, $3, 0)",
        )
        .bind(migration.version)
        .bind(&*migration.description)
        .bind(&*migration.checksum)
        .execute(&mut **transaction)
        .await?;
    }
    Ok(())
}

/// The second part of a file of the baseline.
fn functions(migration: &Migration) -> anyhow::Result<&str> {
    let (_, functions) = migration
        .sql
        .split_once(FUNCTIONS)
        .with_context(|| format!("Migration {} has no part with functions", migration.version))?;
    Ok(functions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn baseline_files_have_a_part_with_functions() {
        let baseline: Vec<_> =
            MIGRATOR.iter().filter(|migration| migration.version <= LAST_OF_BASELINE).collect();
        assert_eq!(baseline.len(), 7);
        for migration in baseline {
            assert!(migration.version > LAST_OF_EARLIER);
            assert!(!functions(migration).unwrap().contains("CREATE TABLE"), "{}", migration.version);
        }
    }
}
