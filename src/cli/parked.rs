//! `verbatim parked`: messages that no worker could make anything of.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;

use crate::bootstrap::database::Opened;
use crate::config::Config;
use crate::replies::parked;

/// What to do with parked messages; without one they are listed.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum Action {
    /// Has a message tried again by a worker; all of them without a number.
    Retry {
        /// Its number in the stream.
        sequence: Option<i64>,
    },
    /// Forgets a message; all of them without a number.
    Forget {
        /// Its number in the stream.
        sequence: Option<i64>,
    },
}

/// Lists parked messages, or does something with them.
///
/// # Errors
/// One plain sentence.
pub async fn run(config: &Config, action: Option<Action>, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let opened = Opened::open(config).await?;
    let pool = opened.pool().await.context("The database cannot be reached")?;
    match action {
        None => {
            let all = parked::all(&pool).await?;
            writeln!(out, "{} messages are parked.", all.len())?;
            for message in all {
                writeln!(
                    out,
                    "{} {} {}: {} ({} deliveries, since {}){}",
                    message.stream,
                    message.sequence,
                    message.subject,
                    message.reason,
                    message.deliveries,
                    message.parked_at.format("%Y-%m-%d %H:%M:%SZ"),
                    if message.retry { ", to be tried again" } else { "" },
                )?;
            }
        }
        Some(Action::Retry { sequence }) => {
            let count = parked::retry(&pool, sequence).await?;
            writeln!(out, "{count} messages will be tried again by the next worker.")?;
        }
        Some(Action::Forget { sequence }) => {
            let count = parked::forget(&pool, sequence).await?;
            writeln!(out, "{count} messages are forgotten.")?;
        }
    }
    pool.close().await;
    if let Some(embedded) = opened.embedded {
        embedded.stop().await?;
    }
    Ok(ExitCode::SUCCESS)
}
