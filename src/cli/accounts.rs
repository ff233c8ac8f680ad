//! `verbatim admin` and `verbatim accounts`: account management by the operator.
//!
//! The commands append events like any other command, so they may run beside any number of processes. With the embedded
//! database they use the private server of the running process, or start it themselves.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use aggregates::ids::UserId;
use aggregates::user::Role;
use aggregates::values::{EmailAddress, Username};
use anyhow::{Context as _, anyhow};
use clap::Subcommand;
use event_store::{Executor, KeyStore, LogReader, LogTail};
use serde::Deserialize;
use sqlx::PgPool;
use tokio_util::task::TaskTracker;

use crate::app::accounts::administration::{Administration, Import, Imported};
use crate::auth::PasswordResets;
use crate::auth::password_resets::RESET_TOKEN_TTL;
use crate::auth::passwords::check_importable;
use crate::bootstrap::database::Opened;
use crate::bootstrap::secrets::Secrets;
use crate::clock::Clock;
use crate::config::Config;
use crate::mail::templates::reset_link;

/// Memory for cached aggregates of one command, in bytes.
const CACHE_BYTES: u64 = 4 * 1024 * 1024;
/// Longest line of an import, in bytes.
const MAX_LINE_BYTES: usize = 64 * 1024;

/// Commands for administrators.
#[derive(Debug, Clone, Subcommand)]
pub enum AdminAction {
    /// Sets the role of a user.
    Grant {
        /// E-mail address of the account.
        #[arg(long)]
        email: String,
        /// New role: user, auditor or admin.
        #[arg(long, value_parser = role)]
        role: Role,
    },
}

/// Commands for accounts.
#[derive(Debug, Clone, Subcommand)]
pub enum AccountsAction {
    /// Creates and prints a password reset token.
    Reset {
        /// E-mail address of the account.
        #[arg(long)]
        email: String,
    },
    /// Imports accounts of another system: one JSON object per line, with email, username and password_hash.
    Import {
        /// Path of the file.
        file: PathBuf,
        /// Also imports accounts whose password hash is unusable; they need a password reset.
        #[arg(long)]
        without_password: bool,
    },
}

fn role(text: &str) -> Result<Role, String> {
    Role::named(text).ok_or_else(|| "it must be user, auditor or admin".to_owned())
}

/// Runs `verbatim admin`.
///
/// # Errors
/// One plain sentence for the operator.
pub async fn admin(config: &Config, action: AdminAction, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let desk = AccountTools::open(config).await?;
    let AdminAction::Grant { email, role } = action;
    let user = desk.user(&email).await?;
    let metadata = desk.administration.by_command();
    let outcome =
        desk.administration.grant(user, role, None, metadata, None).await.map_err(operator_error)?;
    let done = if outcome.position.is_some() { "is" } else { "was already" };
    writeln!(out, "{user} {done} {}.", role.as_str())?;
    desk.close().await
}

/// Runs `verbatim accounts`.
///
/// # Errors
/// One plain sentence for the operator.
pub async fn accounts(
    config: &Config,
    action: AccountsAction,
    out: &mut impl Write,
) -> anyhow::Result<ExitCode> {
    match action {
        AccountsAction::Reset { email } => {
            let desk = AccountTools::open(config).await?;
            let user = desk.user(&email).await?;
            let token = desk.administration.issue_reset(user).await.map_err(operator_error)?;
            writeln!(out, "{}", token.expose())?;
            if let Some(public_url) = &config.files.public_url {
                writeln!(out, "{}", reset_link(public_url, &token))?;
            }
            writeln!(
                out,
                "It replaces the password of {user}, once, for {} minutes.",
                RESET_TOKEN_TTL.as_secs() / 60
            )?;
            desk.close().await
        }
        AccountsAction::Import { file, without_password } => {
            // Before anything is started: a mistyped file name fails at once.
            let lines = open_lines(&file)?;
            let desk = AccountTools::open(config).await?;
            let counts = import(&desk.administration, lines, without_password, out).await?;
            let code = desk.close().await?;
            Ok(if counts.rejected > 0 { ExitCode::from(2) } else { code })
        }
    }
}

/// What the commands work with.
struct AccountTools {
    administration: Administration,
    pool: PgPool,
    background: TaskTracker,
    opened: Opened,
}

impl AccountTools {
    async fn open(config: &Config) -> anyhow::Result<Self> {
        let (opened, running) = Opened::open_or_join(config).await?;
        let keys = opened.embedded.as_ref().map(|embedded| embedded.data_dir());
        let secrets = Secrets::kept_in(config, keys.or(running.as_ref().map(|running| running.data_dir())))?;
        let pool = opened.pool().await.context("Cannot connect to the database")?;
        let key_store = Arc::new(KeyStore::new(pool.clone(), secrets.master));
        key_store
            .check_master()
            .await
            .context("MASTER_KEY is not the key that this database was written with")?;
        let tail = LogTail::new(LogReader::new(pool.clone(), Arc::clone(&key_store)));
        let background = TaskTracker::new();
        let administration = Administration {
            executor: Executor::new(pool.clone(), key_store, tail, CACHE_BYTES, background.clone()),
            hasher: secrets.hasher,
            resets: PasswordResets::new(pool.clone()),
            clock: Clock::system(),
        };
        Ok(Self { administration, pool, background, opened })
    }

    async fn user(&self, email: &str) -> anyhow::Result<UserId> {
        let found = self.administration.find(email).await.map_err(operator_error)?;
        found.context("No active account has this e-mail address")
    }

    async fn close(self) -> anyhow::Result<ExitCode> {
        self.background.close();
        self.background.wait().await;
        self.pool.close().await;
        if let Some(embedded) = self.opened.embedded {
            embedded.stop().await?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Converts an error of a use case for the operator: with its cause, which the operator can fix.
fn operator_error(error: crate::app::AppError) -> anyhow::Error {
    match error.source {
        Some(source) => source.context(error.detail),
        None => anyhow!(error.detail),
    }
}

/// An account of another system, as one line of the file. Unknown fields are rejected, as they would be lost.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    email: String,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    password_hash: Option<String>,
}

/// Result of an import.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ImportCounts {
    /// Accounts created with their password.
    pub made: u64,
    /// Accounts created without a password.
    pub without: u64,
    /// Lines whose address is already registered.
    pub known: u64,
    /// Lines that are not valid accounts.
    pub rejected: u64,
}

fn open_lines(path: &Path) -> anyhow::Result<impl BufRead + use<>> {
    let file =
        std::fs::File::open(path).with_context(|| format!("Cannot read the file {}", path.display()))?;
    Ok(BufReader::new(file))
}

/// Creates an account per line and reports each result by line number. The line itself is never printed: it is personal
/// data. May be repeated: existing accounts are skipped.
///
/// # Errors
/// If the file cannot be read or the log cannot be written; the lines before are imported.
pub async fn import(
    administration: &Administration,
    mut lines: impl BufRead,
    without_password: bool,
    out: &mut impl Write,
) -> anyhow::Result<ImportCounts> {
    let mut counts = ImportCounts::default();
    let mut number: u64 = 0;
    let mut line = Vec::new();
    loop {
        line.clear();
        number += 1;
        if lines.read_until(b'\n', &mut line).with_context(|| format!("cannot read line {number}"))? == 0 {
            break;
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let outcome = match read_line(&line, without_password) {
            Err(reason) => Err(reason),
            Ok(account) => {
                let without = account.hash.is_none();
                let imported = administration
                    .import(account)
                    .await
                    .map_err(operator_error)
                    .with_context(|| format!("line {number}: cannot create the account"))?;
                match imported {
                    Import::Created(_) if without => {
                        counts.without += 1;
                        Ok("created without its password, which must be reset")
                    }
                    Import::Created(_) => {
                        counts.made += 1;
                        Ok("created")
                    }
                    Import::EmailTaken => {
                        counts.known += 1;
                        Ok("skipped: the address is already registered")
                    }
                    Import::UsernameTaken => Err("the user name is taken".to_owned()),
                }
            }
        };
        match outcome {
            Ok(outcome) => writeln!(out, "line {number}: {outcome}")?,
            Err(reason) => {
                counts.rejected += 1;
                writeln!(out, "line {number}: rejected: {reason}")?;
            }
        }
    }
    let ImportCounts { made, without, known, rejected } = counts;
    writeln!(
        out,
        "{} accounts created ({without} without a password), {known} already registered, {rejected} lines \
         rejected.",
        made + without
    )?;
    Ok(counts)
}

/// Parses a line, or returns why it is invalid.
fn read_line(line: &[u8], without_password: bool) -> Result<Imported, String> {
    if line.len() > MAX_LINE_BYTES {
        return Err(format!("it is longer than {MAX_LINE_BYTES} bytes"));
    }
    let line: Line = serde_json::from_slice(line).map_err(|error| described(&error))?;
    let email = EmailAddress::parse(&line.email).map_err(|error| error.to_string())?;
    let username =
        line.username.as_deref().map(Username::parse).transpose().map_err(|error| error.to_string())?;
    let hash = match line.password_hash.as_deref().map(check_importable) {
        Some(Ok(())) => line.password_hash,
        Some(Err(_)) | None if without_password => None,
        Some(Err(why)) => return Err(format!("{why}; use --without-password to create the account anyway")),
        None => {
            return Err(
                "it has no password_hash; use --without-password to create the account anyway".to_owned()
            );
        }
    };
    Ok(Imported { email, username, hash })
}

/// Describes the JSON error without quoting the line.
fn described(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let kind = if error.is_data() && text.starts_with("unknown field") {
        "it has a field other than email, username and password_hash"
    } else if error.is_data() && text.starts_with("missing field") {
        "it has no email"
    } else if error.is_data() {
        "a field is not a string"
    } else {
        "it is not a JSON object"
    };
    format!("{kind} (column {})", error.column())
}

#[cfg(test)]
mod tests;
