//! Commands for operators: migrations, rebuilding read models, accounts, showing the configuration.

pub mod accounts;
pub mod dead_letters;
pub mod providers;
pub mod tail;

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use event_store::{KeyStore, LogReader};
use indicatif::{ProgressBar, ProgressStyle};
use projections::runner::Projection;
use projections::{rebuild, registry};

use crate::bootstrap::database::{self, Opened};
use crate::bootstrap::secrets::Secrets;
use crate::config::Config;

/// Migrates the schema to this version.
///
/// # Errors
/// One plain sentence for the operator.
pub async fn migrate(config: &Config, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let applied = database::migrate(config).await?;
    writeln!(out, "{applied} migrations applied; the schema is now that of Verbatim {}.", crate::VERSION)?;
    Ok(ExitCode::SUCCESS)
}

/// Rebuilds the named read models, or all by default, and reports whether each is unchanged.
///
/// # Errors
/// One plain sentence for the operator.
pub async fn rebuild(config: &Config, names: &[String], out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let projections = chosen(names)?;
    let opened = Opened::open(config).await?;
    let secrets = Secrets::of(config, opened.embedded.as_ref())?;
    let pool = opened.pool().await.context("Cannot connect to the database")?;
    let reader = LogReader::new(pool.clone(), Arc::new(KeyStore::new(pool.clone(), secrets.master)));
    let mut all_equal = true;
    for projection in projections {
        let bar = ProgressBar::new(0).with_style(
            ProgressStyle::with_template("{prefix:16} {bar:30} {pos}/{len} {per_sec}")
                .unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        bar.set_prefix(projection.name());
        let report = rebuild::rebuild(&opened.projector, &reader, projection.as_ref(), |position, head| {
            bar.set_length(head.unsigned_abs());
            bar.set_position(position.unsigned_abs());
        })
        .await
        .with_context(|| format!("{} was not changed", projection.name()))?;
        bar.finish_and_clear();
        let verdict = if report.equal { "same as before" } else { "different from before" };
        let rows: i64 = report.after.iter().map(|table| table.rows).sum();
        writeln!(out, "{}: {} events, {rows} rows, {verdict}", projection.name(), report.events)?;
        all_equal &= report.equal;
    }
    pool.close().await;
    if let Some(embedded) = opened.embedded {
        embedded.stop().await?;
    }
    Ok(if all_equal { ExitCode::SUCCESS } else { ExitCode::from(2) })
}

fn chosen(names: &[String]) -> anyhow::Result<Vec<Arc<dyn Projection>>> {
    let all = registry::all();
    for name in names {
        if all.iter().all(|projection| projection.name() != name) {
            let known: Vec<&str> = all.iter().map(|projection| projection.name()).collect();
            bail!("Unknown read model {name}; the read models are {}.", known.join(", "));
        }
    }
    Ok(all
        .into_iter()
        .filter(|projection| names.is_empty() || names.iter().any(|name| name == projection.name()))
        .collect())
}

/// Prints the effective configuration, secrets redacted, and notes on settings without effect.
///
/// # Errors
/// If the output cannot be written.
pub fn show_config(config: &Config, out: &mut impl Write) -> anyhow::Result<()> {
    for line in config.effective() {
        writeln!(out, "{}={}  # {}", line.name, line.value, line.source)?;
    }
    for note in &config.notes {
        writeln!(out, "# {note}")?;
    }
    Ok(())
}
