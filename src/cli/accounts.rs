//! `verbatim admin` and `verbatim accounts`: what whoever runs the service does with accounts.
//!
//! The commands write to the log as everything does, so they may run beside any number of processes, in both forms: in
//! the embedded one they go to the private server of the process that runs, or start it themselves.

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

/// How many bytes of aggregates one command keeps in memory.
const CACHE_BYTES: u64 = 4 * 1024 * 1024;
/// A line of an import is not longer than this.
const MAX_LINE: usize = 64 * 1024;

/// What to do with administrators.
#[derive(Debug, Clone, Subcommand)]
pub enum AdminAction {
    /// Settles what a user may do besides their own things.
    Grant {
        /// The account's e-mail address.
        #[arg(long)]
        email: String,
        /// user, auditor or admin.
        #[arg(long, value_parser = role)]
        role: Role,
    },
}

/// What to do with accounts.
#[derive(Debug, Clone, Subcommand)]
pub enum AccountsAction {
    /// Makes a token that replaces a forgotten password, and shows it.
    Reset {
        /// The account's e-mail address.
        #[arg(long)]
        email: String,
    },
    /// Makes accounts that another system had: one JSON object a line, with email, username and password_hash.
    Import {
        /// The file.
        file: PathBuf,
        /// Makes the account also when its password hash cannot be used; the password then has to be reset.
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
/// One plain sentence.
pub async fn admin(config: &Config, action: AdminAction, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let desk = Desk::open(config).await?;
    let AdminAction::Grant { email, role } = action;
    let user = desk.user(&email).await?;
    let metadata = desk.administration.by_command();
    let outcome = desk.administration.grant(user, role, None, metadata, None).await.map_err(told)?;
    let done = if outcome.position.is_some() { "is" } else { "was already" };
    writeln!(out, "{user} {done} {}.", role.as_str())?;
    desk.close().await
}

/// Runs `verbatim accounts`.
///
/// # Errors
/// One plain sentence.
pub async fn accounts(
    config: &Config,
    action: AccountsAction,
    out: &mut impl Write,
) -> anyhow::Result<ExitCode> {
    match action {
        AccountsAction::Reset { email } => {
            let desk = Desk::open(config).await?;
            let user = desk.user(&email).await?;
            let token = desk.administration.issue_reset(user).await.map_err(told)?;
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
            // Before anything is started: a name that was mistyped should cost nothing.
            let lines = open_lines(&file)?;
            let desk = Desk::open(config).await?;
            let counted = import(&desk.administration, lines, without_password, out).await?;
            let code = desk.close().await?;
            Ok(if counted.refused > 0 { ExitCode::from(2) } else { code })
        }
    }
}

/// What the commands work with.
struct Desk {
    administration: Administration,
    pool: PgPool,
    background: TaskTracker,
    opened: Opened,
}

impl Desk {
    async fn open(config: &Config) -> anyhow::Result<Self> {
        let (opened, running) = Opened::open_or_join(config).await?;
        let keys = opened.embedded.as_ref().map(|embedded| embedded.data_dir());
        let secrets = Secrets::kept_in(config, keys.or(running.as_ref().map(|running| running.data_dir())))?;
        let pool = opened.pool().await.context("The database cannot be reached")?;
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
        let found = self.administration.find(email).await.map_err(told)?;
        found.context("There is no open account with this e-mail address")
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

/// A failure of a use case in words for whoever typed the command: with its cause, which is theirs to put right.
fn told(error: crate::app::AppError) -> anyhow::Error {
    match error.source {
        Some(source) => source.context(error.detail),
        None => anyhow!(error.detail),
    }
}

/// An account of another system, as a line of the file has it. What else stands there is refused: it would be lost.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    email: String,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    password_hash: Option<String>,
}

/// What became of the lines of a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Accounts made with their password.
    pub made: u64,
    /// Accounts made without one.
    pub without: u64,
    /// Lines whose address is registered already.
    pub known: u64,
    /// Lines that no account could be made of.
    pub refused: u64,
}

fn open_lines(path: &Path) -> anyhow::Result<impl BufRead + use<>> {
    let file =
        std::fs::File::open(path).with_context(|| format!("The file {} cannot be read", path.display()))?;
    Ok(BufReader::new(file))
}

/// Makes an account of each line, and tells by its number what became of it. Nothing of the line itself is told: it is a
/// person's. May be run again: what was made is known then.
///
/// # Errors
/// The file cannot be read or the log not be written; everything up to there is done.
pub async fn import(
    administration: &Administration,
    mut lines: impl BufRead,
    without_password: bool,
    out: &mut impl Write,
) -> anyhow::Result<Counted> {
    let mut counted = Counted::default();
    let mut number: u64 = 0;
    let mut line = Vec::new();
    loop {
        line.clear();
        number += 1;
        if lines.read_until(b'\n', &mut line).with_context(|| format!("line {number} cannot be read"))? == 0 {
            break;
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let said = match read_line(&line, without_password) {
            Err(reason) => Err(reason),
            Ok(account) => {
                let without = account.hash.is_none();
                let imported = administration
                    .import(account)
                    .await
                    .map_err(told)
                    .with_context(|| format!("line {number}: the account was not made"))?;
                match imported {
                    Import::Created(_) if without => {
                        counted.without += 1;
                        Ok("made without its password, which has to be reset")
                    }
                    Import::Created(_) => {
                        counted.made += 1;
                        Ok("made")
                    }
                    Import::EmailTaken => {
                        counted.known += 1;
                        Ok("skipped: the address is registered already")
                    }
                    Import::UsernameTaken => Err("the user name is taken".to_owned()),
                }
            }
        };
        match said {
            Ok(said) => writeln!(out, "line {number}: {said}")?,
            Err(reason) => {
                counted.refused += 1;
                writeln!(out, "line {number}: refused: {reason}")?;
            }
        }
    }
    let Counted { made, without, known, refused } = counted;
    writeln!(
        out,
        "{} accounts were made ({without} of them without a password), {known} were registered already, {refused} lines were \
         refused.",
        made + without
    )?;
    Ok(counted)
}

/// The account of a line, or why it is none.
fn read_line(line: &[u8], without_password: bool) -> Result<Imported, String> {
    if line.len() > MAX_LINE {
        return Err(format!("it is longer than {MAX_LINE} bytes"));
    }
    let line: Line = serde_json::from_slice(line).map_err(|error| described(&error))?;
    let email = EmailAddress::parse(&line.email).map_err(|error| error.to_string())?;
    let username =
        line.username.as_deref().map(Username::parse).transpose().map_err(|error| error.to_string())?;
    let hash = match line.password_hash.as_deref().map(check_importable) {
        Some(Ok(())) => line.password_hash,
        Some(Err(_)) | None if without_password => None,
        Some(Err(why)) => return Err(format!("{why}; --without-password makes the account all the same")),
        None => {
            return Err(
                "it has no password_hash; --without-password makes the account all the same".to_owned()
            );
        }
    };
    Ok(Imported { email, username, hash })
}

/// What is wrong with the JSON, without quoting it.
fn described(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let kind = if error.is_data() && text.starts_with("unknown field") {
        "it has a field other than email, username and password_hash"
    } else if error.is_data() && text.starts_with("missing field") {
        "it has no email"
    } else if error.is_data() {
        "a field is not a text"
    } else {
        "it is no JSON object"
    };
    format!("{kind} (column {})", error.column())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "$argon2id$v=19$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$\
                        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    fn refused(line: &str, without_password: bool) -> Option<String> {
        read_line(line.as_bytes(), without_password).err()
    }

    #[test]
    fn lines_that_are_accounts_are_taken() {
        let line = format!(r#"{{"email": "a@b.example", "username": "ada", "password_hash": "{GOOD}"}}"#);
        let account = read_line(line.as_bytes(), false).unwrap();
        assert_eq!((account.email.as_str(), account.hash.as_deref()), ("a@b.example", Some(GOOD)));
        assert_eq!(account.username.unwrap().as_str(), "ada");
        let bare = read_line(br#"{"email": "a@b.example", "username": null}"#, true).unwrap();
        assert!(bare.username.is_none() && bare.hash.is_none());
    }

    #[test]
    fn lines_that_are_none_are_refused_without_being_quoted() {
        for (line, reason) in [
            ("", "no JSON object"),
            ("[]", "not a text"),
            (r#"{"email": "secret@b.example""#, "no JSON object"),
            (r#"{"email": 7}"#, "not a text"),
            (r#"{"username": "secret"}"#, "no email"),
            (r#"{"email": "a@b.example", "secret": 1}"#, "field other than"),
            (r#"{"email": "secret"}"#, "not well-formed"),
            (r#"{"email": "a@b.example", "username": "s e c r e t"}"#, "user name may have"),
        ] {
            let said = refused(line, true).unwrap();
            assert!(said.contains(reason) && !said.contains("secret"), "{line}: {said}");
        }
        assert!(refused(&" ".repeat(MAX_LINE + 1), true).unwrap().contains("longer"));
    }

    #[test]
    fn hashes_that_are_not_taken_are_refused_or_left_out() {
        for (hash, reason) in [
            ("$2b$12$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW", "bcrypt"),
            ("pbkdf2_sha256$870000$salt$hash", "PBKDF2"),
            (
                "$pbkdf2-sha256$29000$N2YMIWQsBWBMae09x1jrPQ$1t8iyB2A.WF/Z5JZv.lfCIhXXN33N23OSgQYThBYRfk",
                "PBKDF2",
            ),
            ("5f4dcc3b5aa765d61d8327deb882cf99", "argon2id"),
        ] {
            let line = format!(r#"{{"email": "a@b.example", "password_hash": "{hash}"}}"#);
            let said = refused(&line, false).unwrap();
            assert!(said.contains(reason) && said.contains("--without-password"), "{said}");
            assert!(!said.contains(hash), "{said}");
            assert_eq!(read_line(line.as_bytes(), true).unwrap().hash, None);
        }
        assert!(refused(r#"{"email": "a@b.example"}"#, false).unwrap().contains("no password_hash"));
    }
}
