//! Builds the application from its configuration and starts its background tasks.

use std::sync::Arc;

use event_store::FastPool;

use super::database::Opened;
use super::foundation::Foundation;
use super::secrets::Secrets;
use super::services::{self, AccountStores};
use super::workers::{self, ReplyParts};
use crate::ai::{self, AiSettings, ApiKey, Chain, ServiceSettings};
use crate::app::Services;
use crate::config::{self, Config, Role};
use crate::files::{FileStore, FileSweep};
use crate::lifecycle::Lifecycle;
use crate::live::LiveReplies;
use crate::relay::RelayState;
use crate::replies::lease;
use crate::tools::Tools;
use crate::tools::quiz::Quizzes;

/// A running application.
pub struct Built {
    /// The use cases.
    pub services: Arc<Services>,
    /// Replies that are being written.
    pub live_replies: LiveReplies,
    /// Connections of the use cases.
    pub warm: FastPool,
    /// State of this process's relay; none without one.
    pub relay: Option<RelayState>,
    /// Stores the bytes of files.
    pub files: FileStore,
    /// Removes bytes that belong to no file.
    pub sweep: FileSweep,
    /// The AI providers, in one line.
    pub provider: String,
    /// The mail server, in one line.
    pub mail: String,
    /// Head of the log at start: the process is ready when the read models have passed it.
    pub ready_from: i64,
}

/// Builds the application and starts its background tasks on `lifecycle`.
///
/// # Errors
/// One plain sentence.
pub async fn build(
    config: &Config,
    database: &Opened,
    secrets: Secrets,
    lifecycle: &Lifecycle,
) -> anyhow::Result<Built> {
    let files = FileStore::open(&config.files.location).await?;
    Box::pin(build_over(config, database, secrets, lifecycle, files)).await
}

/// Builds the application over a given file store.
///
/// # Errors
/// One plain sentence.
pub async fn build_over(
    config: &Config,
    database: &Opened,
    secrets: Secrets,
    lifecycle: &Lifecycle,
    files: FileStore,
) -> anyhow::Result<Built> {
    let Secrets { master, hasher, live, links, tokens } = secrets;
    let foundation = Foundation::open(config, database, (master, hasher, live), lifecycle).await?;
    foundation.start(config, database, lifecycle);
    let accounts = AccountStores::new(&foundation, config, lifecycle)?;
    let chain = Arc::new(chain(config)?);
    let quizzes = Quizzes::load(&config.quizzes)?;
    let tools = Tools::new(quizzes.clone(), config.replies.client_tools.iter().map(page_tool).collect());
    let sweep = FileSweep {
        pool: foundation.core.pool.clone(),
        executor: foundation.core.executor.clone(),
        store: files.clone(),
        clock: foundation.core.clock.clone(),
    };
    if database.embedded.is_some() {
        // No other process uses this data folder: leases that are left belong to a process that died.
        lease::end_all(&foundation.pool).await?;
    }
    if config.roles.has(Role::Worker) {
        workers::start_mailer(&foundation, &accounts, config, lifecycle);
        workers::start_cleaners(&foundation, &accounts, &sweep, lifecycle);
        let parts = ReplyParts { chain: &chain, tools: &tools, files: &files };
        workers::start_replies(&foundation, parts, config, lifecycle);
    }
    let relay = config.roles.has(Role::Relay).then(|| workers::start_relay(&foundation, lifecycle)).flatten();

    let provider = chain.describe();
    let mail = accounts.describe_mail();
    let shared =
        services::Shared { chain, quizzes, tools, files: files.clone(), links, tokens, relay: relay.clone() };
    let Foundation { core, live_replies, ready_from, .. } = &foundation;
    let (live_replies, warm, ready_from) = (live_replies.clone(), core.pool.clone(), *ready_from);
    let services = Arc::new(services::services(foundation, accounts, shared, config, lifecycle)?);
    Ok(Built { services, live_replies, warm, relay, files, sweep, provider, mail, ready_from })
}

/// The AI providers as they are configured.
///
/// # Errors
/// One plain sentence.
pub fn chain(config: &Config) -> anyhow::Result<Chain> {
    let providers = &config.providers;
    let service = |one: &config::ServiceConfig| ServiceSettings {
        service: one.service,
        keys: one.keys.iter().map(|(number, key)| (*number, ApiKey::new(key.expose()))).collect(),
        base_url: one.base_url.clone(),
        plain_http: providers.plain_http,
        api: one.api,
        model: Some(one.model.clone()),
    };
    Ok(ai::from_settings(AiSettings {
        services: providers.chain.iter().map(service).collect(),
        limits: providers.limits,
        circuit: providers.circuit,
        table: providers.models.clone(),
        allowed: providers.allowed.clone(),
        scripted: providers.scripted,
    })?)
}

fn page_tool(tool: &config::ClientTool) -> ai::Tool {
    let config::ClientTool { name, description, parameters } = tool.clone();
    ai::Tool { name, description, parameters }
}
