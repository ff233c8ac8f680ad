//! The command line: picks what to run and runs it.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use verbatim::config::{Config, Role};
use verbatim::embedded::{self, Embedded, EmbeddedSettings};
use verbatim::{bootstrap, cli, telemetry};

/// Many small allocations on few cores are what this one is made for (docs/decisions tells what it brought).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long tasks that cannot be cancelled may hold the exit up.
const LEAVE: Duration = Duration::from_millis(200);

#[derive(Debug, Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Default, Subcommand)]
enum Command {
    /// Does what ROLES says: by default serves the API, makes replies, keeps the read models and feeds NATS.
    #[default]
    Serve,
    /// Makes replies only, as ROLES=worker does.
    Worker,
    /// Carries the log to NATS only, as ROLES=relay does.
    Relay,
    /// Keeps the read models only, as ROLES=project does.
    Project,
    /// Brings the database's schema up to this version.
    Migrate,
    /// Makes read models anew from the log.
    Rebuild {
        /// Which ones; all when none is named.
        models: Vec<String>,
    },
    /// Shows public events as they come, out of NATS.
    Tail(cli::tail::TailArgs),
    /// Publishes the public form of a range of the log to a subject in NATS.
    Replay(cli::tail::ReplayArgs),
    /// Messages that no worker could make anything of.
    DeadLetters {
        #[command(subcommand)]
        action: Option<cli::dead_letters::Action>,
    },
    /// Administrators: who looks after accounts.
    Admin {
        #[command(subcommand)]
        action: cli::accounts::AdminAction,
    },
    /// Accounts: password resets by hand, accounts of other systems.
    Accounts {
        #[command(subcommand)]
        action: cli::accounts::AccountsAction,
    },
    /// Asks each configured AI provider for a word, and tells what is wrong with it or its key. Costs a few tokens.
    Providers,
    /// Shows the effective configuration, without secrets.
    Config,
    /// Runs the private Postgres server alone, for psql, pg_dump and the like, until interrupted.
    Postgres,
    /// Ends a command with the program that started it.
    #[command(hide = true)]
    PostgresGuard(embedded::guard::Args),
}

fn main() -> ExitCode {
    let command = Cli::parse().command.unwrap_or_default();
    // The guard holds nothing but a pipe and a child: no runtime, no configuration.
    if let Command::PostgresGuard(args) = &command {
        return embedded::guard::run(args);
    }
    small_pages();
    match run(command) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Asks the system for memory in small pages: in huge ones a few live bytes keep two megabytes (docs/decisions tells what that cost).
/// Where it cannot be asked, nothing is lost but memory.
fn small_pages() {
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_thp_disable(true);
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    let config = Config::load(match command {
        Command::Worker => Some(Role::Worker),
        Command::Relay => Some(Role::Relay),
        Command::Project => Some(Role::Project),
        _ => None,
    })?;
    #[cfg(feature = "fault-injection")]
    if let Some(name) = &config.injected_fault {
        verbatim::fault_injection::inject(name).map_err(anyhow::Error::msg)?;
    }
    let mut out = std::io::stdout();
    if matches!(command, Command::Config) {
        cli::show_config(&config, &mut out)?;
        return Ok(ExitCode::SUCCESS);
    }
    telemetry::tell_panics();
    telemetry::start_logs(&config.log, config.traces.is_some());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        match command {
            Command::Serve | Command::Worker | Command::Relay | Command::Project => {
                Box::pin(bootstrap::serve(config)).await
            }
            Command::Migrate => cli::migrate(&config, &mut out).await,
            Command::Rebuild { models } => cli::rebuild(&config, &models, &mut out).await,
            Command::Tail(args) => Box::pin(cli::tail::tail(&config, &args, &mut out)).await,
            Command::Replay(args) => Box::pin(cli::tail::replay(&config, &args, &mut out)).await,
            Command::Providers => Box::pin(cli::providers::check(&config, &mut out)).await,
            Command::DeadLetters { action } => cli::dead_letters::run(&config, action, &mut out).await,
            Command::Admin { action } => Box::pin(cli::accounts::admin(&config, action, &mut out)).await,
            Command::Accounts { action } => {
                Box::pin(cli::accounts::accounts(&config, action, &mut out)).await
            }
            Command::Postgres => {
                let running = Embedded::start(EmbeddedSettings::of(&config)).await?;
                embedded::hold(running, &mut out).await?;
                Ok(ExitCode::SUCCESS)
            }
            Command::Config | Command::PostgresGuard(_) => Ok(ExitCode::SUCCESS),
        }
    });
    runtime.shutdown_timeout(LEAVE);
    outcome
}
