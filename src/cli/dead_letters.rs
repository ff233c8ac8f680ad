//! `verbatim dead-letters`: NATS messages that no worker can parse.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;

use crate::bootstrap::database::Opened;
use crate::config::Config;
use crate::replies::dead_letters;

/// What to do with dead letters; without an action they are listed.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum Action {
    /// Lets a worker handle a dead letter again; all of them without a number.
    Retry {
        /// Sequence number of the message in its stream.
        sequence: Option<i64>,
    },
    /// Deletes a dead letter; all of them without a number.
    Delete {
        /// Sequence number of the message in its stream.
        sequence: Option<i64>,
    },
}

/// Lists, retries or deletes dead letters.
///
/// # Errors
/// One plain sentence.
pub async fn run(config: &Config, action: Option<Action>, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let opened = Opened::open(config).await?;
    let pool = opened.pool().await.context("Cannot connect to the database")?;
    match action {
        None => {
            let letters = dead_letters::all(&pool).await?;
            writeln!(out, "{} dead letters.", letters.len())?;
            for message in letters {
                writeln!(
                    out,
                    "{} {} {}: {} ({} deliveries, since {}){}",
                    message.stream,
                    message.sequence,
                    message.subject,
                    message.reason,
                    message.deliveries,
                    message.dead_lettered_at.format("%Y-%m-%d %H:%M:%SZ"),
                    if message.retry { ", marked for a retry" } else { "" },
                )?;
            }
        }
        Some(Action::Retry { sequence }) => {
            let count = dead_letters::retry(&pool, sequence).await?;
            writeln!(
                out,
                "{count} dead letters are marked for a retry; a worker handles them within seconds."
            )?;
        }
        Some(Action::Delete { sequence }) => {
            let count = dead_letters::delete(&pool, sequence).await?;
            writeln!(out, "{count} dead letters are deleted.")?;
        }
    }
    pool.close().await;
    if let Some(embedded) = opened.embedded {
        embedded.stop().await?;
    }
    Ok(ExitCode::SUCCESS)
}
