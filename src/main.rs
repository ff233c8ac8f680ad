//! The command line: picks what to run and runs it.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use verbatim::config::{Config, Role};
use verbatim::embedded::{self, Embedded, EmbeddedSettings};
use verbatim::{bootstrap, cli, telemetry};

/// Optimized for many small allocations on few cores (see docs/decisions for measurements).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long tasks that cannot be cancelled may delay the exit.
const RUNTIME_SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(200);

#[derive(Debug, Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Default, Subcommand)]
enum Command {
    /// Runs the roles in ROLES: by default serves the API, makes replies, runs projections and relays events to NATS.
    #[default]
    Serve,
    /// Makes replies only, like ROLES=worker.
    Worker,
    /// Relays events to NATS only, like ROLES=relay.
    Relay,
    /// Runs the projections only, like ROLES=project.
    Project,
    /// Migrates the database schema to this version.
    Migrate,
    /// Rebuilds read models from the log.
    Rebuild {
        /// Names of the read models; all by default.
        models: Vec<String>,
    },
    /// Prints public events from NATS as they arrive.
    Tail(cli::tail::TailArgs),
    /// Publishes a range of the log, in its public form, to a NATS subject.
    Replay(cli::tail::ReplayArgs),
    /// Lists, retries or discards malformed messages that no worker could process.
    DeadLetters {
        #[command(subcommand)]
        action: Option<cli::dead_letters::Action>,
    },
    /// Manages administrators, who manage accounts.
    Admin {
        #[command(subcommand)]
        action: cli::accounts::AdminAction,
    },
    /// Manages accounts: manual password resets, import from other systems.
    Accounts {
        #[command(subcommand)]
        action: cli::accounts::AccountsAction,
    },
    /// Tests each configured AI provider with a short request and reports errors. Costs a few tokens.
    Providers,
    /// Shows the effective configuration, without secrets.
    Config,
    /// Runs the private Postgres server alone, for psql, pg_dump and the like, until interrupted.
    Postgres,
    /// Runs a command and stops it when the parent process ends.
    #[command(hide = true)]
    PostgresSupervisor(embedded::supervisor::Args),
}

fn main() -> ExitCode {
    let command = Cli::parse().command.unwrap_or_default();
    // The supervisor needs only a pipe and a child: no runtime, no configuration.
    if let Command::PostgresSupervisor(args) = &command {
        return embedded::supervisor::run(args);
    }
    disable_huge_pages();
    match run(command) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Disables transparent huge pages, in which a few live bytes retain two megabytes (see docs/decisions). Best-effort.
fn disable_huge_pages() {
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
    telemetry::install_panic_hook();
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
                embedded::run_foreground(running, &mut out).await?;
                Ok(ExitCode::SUCCESS)
            }
            Command::Config | Command::PostgresSupervisor(_) => Ok(ExitCode::SUCCESS),
        }
    });
    runtime.shutdown_timeout(RUNTIME_SHUTDOWN_TIMEOUT);
    outcome
}
