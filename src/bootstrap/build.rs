//! Builds the application from its configuration and starts its services.

use std::sync::Arc;

use anyhow::Context as _;
use event_store::{Executor, FastPool, KeyStore, KeyStoreError, LogReader, LogTail, Quotas};
use projections::conversations::query::Single;
use projections::progress::Progress;
use projections::{models, runner, watcher};
use sqlx::PgPool;

use super::database::Opened;
use super::lag;
use super::secrets::Secrets;
use crate::ai::{self, AiSettings, ApiKey, Chain, ServiceSettings};
use crate::app::accounts::AccountParts;
use crate::app::attempts::Attempts;
use crate::app::limits::{MessageLimits, Rates};
use crate::app::seats::Seats;
use crate::app::uploads::{FileLimits, FileParts};
use crate::app::{App, Parts, Settings};
use crate::auth::passwords::PasswordLimits;
use crate::auth::{Credentials, Lockout, LoginPolicy, Logins, OpenLogins, Passwords, Resets, Tickets};
use crate::clock::Clock;
use crate::config::{self, Config, Role};
use crate::files::{FileStore, FileSweep};
use crate::lifecycle::Lifecycle;
use crate::live::between::Between;
use crate::live::{Hub, People, Stored};
use crate::mail::{Mailer, Outbox, Post};
use crate::nats::Nats;
use crate::quizzes::Quizzes;
use crate::relay::{Relay, RelayState};
use crate::replies::desk::{Desk, Stops};
use crate::replies::jetstream::ReplyConsumer;
use crate::replies::queue::ReplyQueue;
use crate::replies::sweeper::Sweeper;
use crate::replies::{ReplyHandler, ReplySettings, WorkerParts, lease, tools};

/// How many bytes of aggregates are kept in memory.
const CACHE_BYTES: u64 = 32 * 1024 * 1024;

/// A running application.
pub struct Built {
    /// The use cases.
    pub app: App,
    /// Replies being written.
    pub hub: Hub,
    /// Connections of the use cases, for rare work.
    pub pool: PgPool,
    /// The same, kept ready.
    pub warm: FastPool,
    /// How the relay of this process does; none when it has none.
    pub relay: Option<RelayState>,
    /// Where the bytes of files lie.
    pub files: FileStore,
    /// What removes those that no file has.
    pub sweep: FileSweep,
    /// The providers, in one line.
    pub provider: String,
    /// The mail server, in one line.
    pub mail: String,
    /// Head of the log at start: ready means that the read models have passed it.
    pub ready_from: i64,
}

/// Builds the application and starts its services on `lifecycle`.
///
/// # Errors
/// One plain sentence.
pub async fn build(
    config: &Config,
    database: &Opened,
    secrets: Secrets,
    lifecycle: &Lifecycle,
) -> anyhow::Result<Built> {
    let files = FileStore::open(&config.files.place).await?;
    Box::pin(build_over(config, database, secrets, lifecycle, files)).await
}

/// The same over a given file store.
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
    let nats = match &config.nats {
        Some(config) => Some(Box::pin(Nats::connect(config)).await?),
        None => None,
    };
    let pool = database.pool().await.context("The database cannot be reached")?;
    let warm = FastPool::new(pool.clone(), lanes(database.pool_size));
    let clock = Clock::system();
    let key_store = Arc::new(KeyStore::new(warm.clone(), secrets.master));
    key_store.check_master().await.map_err(|error| match error {
        KeyStoreError::WrongMasterKey { stored, configured } => anyhow::anyhow!(
            "MASTER_KEY is not the key that this database was written with (its id is {stored}, the given one's \
             {configured}); with another key no text can be read and no account be found."
        ),
        error => anyhow::Error::new(error).context("The key tables cannot be read"),
    })?;
    let reader = reader(warm.clone(), &key_store);
    let tail = LogTail::new(reader.clone());
    let projections = models::all();
    let progress = Progress::new(projections.iter().map(|projection| projection.name()));
    let between = nats.as_ref().map(|nats| {
        let (tasks, stop) = (lifecycle.services.clone(), lifecycle.last.clone());
        let between = Between::new(nats.clone(), secrets.live, tasks, stop);
        lifecycle.service(between.clone().wake(tail.clone()));
        between
    });
    let hub = between.clone().map_or_else(Hub::new, Hub::shared);
    let (rates, quotas) = limits(config);
    let executor = Executor::new(warm.clone(), key_store, tail.clone(), CACHE_BYTES, lifecycle.work.clone())
        .charging(MessageLimits::is_charging(rates, quotas));
    let ready_from = reader.last_position().await.context("The event log cannot be read")?;

    lifecycle.service(tail.clone().run(lifecycle.last.clone()));
    if !config.roles.has(Role::Project) {
        lifecycle.service(watcher::run(warm.clone(), progress.clone(), lifecycle.last.clone()));
    }
    for projection in projections.into_iter().filter(|_| config.roles.has(Role::Project)) {
        lifecycle.service(runner::run(
            projection,
            tail.clone(),
            database.projector.clone(),
            progress.clone(),
            lifecycle.last.clone(),
        ));
    }
    lifecycle.service(hub.clone().run(tail.clone(), ready_from, lifecycle.last.clone()));
    let stored = Stored { pool: warm.clone(), progress: progress.clone(), tasks: lifecycle.work.clone() };
    let people = People::new(stored, ready_from, between.clone());
    if config.roles.has(Role::Api) {
        let (tail, reader) = (tail.clone(), reader.clone());
        lifecycle.service(people.clone().run(tail, reader, ready_from, lifecycle.last.clone()));
        if let Some(between) = between {
            let people = people.clone();
            lifecycle.service(between.hear(move |typing| people.hear(typing)));
        }
    }
    lifecycle.service(lag::export(reader.clone(), progress.clone(), warm.clone(), lifecycle.last.clone()));

    let logins = Logins::new(
        pool.clone(),
        LoginPolicy { idle: config.auth.refresh_lifetime, total: config.auth.login_max },
    );
    let open_logins = OpenLogins::default();
    lifecycle.service(open_logins.clone().run(logins.clone(), lifecycle.last.clone()));
    let tickets = Tickets::new(pool.clone());
    let lockout = Lockout::new(pool.clone(), config.auth.lockout);
    let resets = Resets::new(pool.clone());
    let post = config.mail.as_ref().map(Post::open).transpose()?;
    let outbox = Outbox::new(pool.clone());
    let chain = Arc::new(chain(config)?);
    let quizzes = Quizzes::of(&config.quizzes)?;
    let described = chain.describe();
    // A name that no other process has or had: an attempt is told from a repetition of it by who makes it.
    let holder = clock.id();
    let reply_settings = reply_settings(config);
    let tools = tools::offered(&reply_settings).into_iter().map(|tool| tool.name).collect();
    let handler = ReplyHandler::new(WorkerParts {
        pool: warm.clone(),
        executor: executor.clone(),
        progress: progress.clone(),
        hub: hub.clone(),
        chain: Arc::clone(&chain),
        settings: reply_settings,
        clock: clock.clone(),
        worker: format!("{}-{holder}", crate::VERSION),
        quizzes: quizzes.clone(),
        files: files.clone(),
        tasks: lifecycle.work.clone(),
    });
    if database.embedded.is_some() {
        // The data folder is ours alone: whoever held a lease is dead.
        lease::end_all(&pool).await?;
    }
    let sweeper = Sweeper {
        pool: warm.clone(),
        executor: executor.clone(),
        logins: logins.clone(),
        tickets: tickets.clone(),
        lockout: lockout.clone(),
        resets: resets.clone(),
        outbox: outbox.clone(),
        clock: clock.clone(),
    };
    let sweep = FileSweep {
        pool: warm.clone(),
        executor: executor.clone(),
        store: files.clone(),
        clock: clock.clone(),
    };
    let mail = match &post {
        Some(post) => format!("mail: through {}", post.describe()),
        None => "mail: no server is set (SMTP_URL), so nobody is sent a password reset; `verbatim accounts reset` makes \
                 one by hand"
            .to_owned(),
    };
    if let Some(post) = post.clone().filter(|_| config.roles.has(Role::Worker)) {
        let mailer = Mailer {
            outbox: outbox.clone(),
            post,
            resets: resets.clone(),
            executor: executor.clone(),
            public_url: config.files.public_url.clone(),
            clock: clock.clone(),
        };
        lifecycle.service(mailer.run(lifecycle.soft.clone()));
    }
    if config.roles.has(Role::Worker) {
        lifecycle.service(sweep.clone().run(lifecycle.soft.clone()));
        let stops = Stops { soft: lifecycle.soft.clone(), hard: lifecycle.hard.clone() };
        let desk = Desk::new(warm.clone(), handler, holder, lifecycle.work.clone(), stops);
        let keeper = desk.clone();
        lifecycle.work.spawn(async move { keeper.keep_leases().await });
        if let Some(nats) = &nats {
            let consumer = ReplyConsumer {
                nats: nats.clone(),
                desk: desk.clone(),
                progress: progress.clone(),
                clock: clock.clone(),
                tasks: lifecycle.work.clone(),
                max_in_hand: nats.config().max_in_hand,
            };
            lifecycle.work.spawn(consumer.run());
        }
        let queue = ReplyQueue::new(desk, progress.clone(), tail.clone(), ready_from, nats.clone());
        lifecycle.work.spawn(queue.run());
        lifecycle.service(sweeper.run(lifecycle.soft.clone()));
    }

    let relay = nats.as_ref().filter(|_| config.roles.has(Role::Relay)).map(|nats| {
        let state = RelayState::default();
        lifecycle.service(
            Relay {
                nats: nats.clone(),
                pool: warm.clone(),
                reader: reader.clone(),
                tail: tail.clone(),
                holder,
                state: state.clone(),
            }
            .run(lifecycle.last.clone()),
        );
        state
    });

    let app = App::new(Parts {
        single_conversations: Single::new(warm.clone(), lifecycle.work.clone()),
        executor,
        reader,
        tail,
        progress,
        hub: hub.clone(),
        nats,
        relay: relay.clone(),
        clock,
        names: secrets.names,
        passwords: Passwords::new(PasswordLimits::default())?,
        credentials: Credentials::new(pool.clone()),
        logins,
        accounts: AccountParts { lockout, resets, outbox: post.is_some().then_some(outbox) },
        open_logins,
        tickets,
        seats: Seats::new(config.sockets.per_user, config.sockets.streams_per_user),
        people,
        files: FileParts::new(files.clone(), secrets.links, FileLimits::of(&config.files)),
        tokens: secrets.tokens,
        attempts: Attempts::new(config.attempts),
        limits: MessageLimits::new(rates, quotas),
        quizzes,
        chain,
        settings: Settings {
            access_lifetime: config.auth.access_lifetime,
            reply_deadline: config.replies.deadline,
            reply_wait: config.web.reply_wait,
            titles: config.replies.titles,
            context_tokens: config.replies.context_tokens,
            tools,
        },
        tasks: lifecycle.work.clone(),
        stopping: lifecycle.soft.clone(),
        pool: warm.clone(),
    });
    Ok(Built { app, hub, pool, warm, relay, files, sweep, provider: described, mail, ready_from })
}

/// How often messages may be sent, and how much replies may take.
fn limits(config: &Config) -> (Option<Rates>, Quotas) {
    let rates = config.rate_limits.map(|config::RateLimits { user, session, channel }| Rates {
        user,
        session,
        channel,
    });
    let config::QuotaConfig { messages_per_day, tokens_per_day, reserved_tokens, at_once } = config.quotas;
    (rates, Quotas { messages_per_day, tokens_per_day, reserved_tokens, at_once })
}

/// How many of the pool's connections are kept ready; the others are for rare work (cold loads, sign-ins, snapshots).
fn lanes(pool_size: u32) -> usize {
    usize::try_from(pool_size).unwrap_or(1).saturating_mul(3).checked_div(4).unwrap_or(1).max(1)
}

/// The reader of the log (with the planted defect of a naive one, in builds that can have it and when it is asked for).
fn reader(pool: FastPool, key_store: &Arc<KeyStore>) -> LogReader {
    let reader = LogReader::new(pool, Arc::clone(key_store));
    if event_store::fault_injection::is_injected(event_store::fault_injection::Fault::NaiveReader) {
        return reader.naive();
    }
    reader
}

fn reply_settings(config: &Config) -> ReplySettings {
    let defaults = ReplySettings::default();
    ReplySettings {
        concurrency: config.replies.concurrency,
        retries: config.providers.retries,
        deadline: config.replies.deadline,
        system_prompt: config.replies.system_prompt.clone().unwrap_or(defaults.system_prompt),
        history_turns: usize::try_from(config.replies.history_turns).unwrap_or(defaults.history_turns),
        context_tokens: config.replies.context_tokens,
        files_percent: config.replies.files_percent,
        max_output_tokens: config.replies.max_output_tokens,
        client_tools: config.replies.client_tools.iter().map(client_tool).collect(),
        titles: config.replies.titles,
        ..defaults
    }
}

fn client_tool(tool: &config::ClientTool) -> ai::Tool {
    let config::ClientTool { name, description, parameters } = tool.clone();
    ai::Tool { name, description, parameters }
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
