//! What services and workers are built on: connections, the log, the read models and the live feed.

use std::sync::Arc;

use anyhow::Context as _;
use event_store::{Executor, FastPool, KeyStore, KeyStoreError, LogReader, LogTail, MasterKey};
use projections::progress::ProjectionProgress;
use projections::{checkpoint_poller, registry, runner};
use sqlx::PgPool;
use uuid::Uuid;

use super::database::Opened;
use super::lag;
use crate::app::Core;
use crate::app::quotas::Rates;
use crate::auth::KeyedHasher;
use crate::clock::Clock;
use crate::config::{self, Config, Role};
use crate::lifecycle::Lifecycle;
use crate::live::cluster_bus::ClusterBus;
use crate::live::envelope::LiveKey;
use crate::live::{LiveReplies, ReadModels, UserChannels};
use crate::nats::Nats;
use crate::quotas::{QuotaPolicy, Quotas, RejectionCache};

/// Most bytes of aggregates that are kept in memory.
const MAX_CACHE_BYTES: u64 = 32 * 1024 * 1024;

/// Connections, the log, the read models and the live feed.
pub(super) struct Foundation {
    /// What services share.
    pub(super) core: Core,
    /// Connections of the use cases, for rare work (the others are in [`Core::pool`]).
    pub(super) pool: PgPool,
    /// New events of the log.
    pub(super) tail: LogTail,
    /// The connection to NATS, when it is configured.
    pub(super) nats: Option<Nats>,
    /// The live feed between processes, when there is NATS.
    pub(super) cluster_bus: Option<ClusterBus>,
    /// Replies that are being written.
    pub(super) live_replies: LiveReplies,
    /// Feeds of users' sockets.
    pub(super) user_channels: UserChannels,
    /// Read models for those who follow a reply or a user.
    pub(super) read_models: ReadModels,
    /// Rates and quotas of messages.
    pub(super) limits: (Option<Rates>, Quotas),
    /// Recent rejections of quotas.
    pub(super) rejections: RejectionCache,
    /// Unique name of this process: tells an attempt from a repetition by another process.
    pub(super) holder: Uuid,
    /// Head of the log at start.
    pub(super) ready_from: i64,
}

impl Foundation {
    /// Connects to NATS and the database, checks the master key and opens the log.
    ///
    /// # Errors
    /// One plain sentence.
    pub(super) async fn open(
        config: &Config,
        database: &Opened,
        (master, hasher, live): (MasterKey, KeyedHasher, LiveKey),
        lifecycle: &Lifecycle,
    ) -> anyhow::Result<Self> {
        let nats = match &config.nats {
            Some(config) => Some(Box::pin(Nats::connect(config)).await?),
            None => None,
        };
        let pool = database.pool().await.context("Cannot connect to the database")?;
        let warm = FastPool::new(pool.clone(), max_leased(database.pool_size));
        let key_store = open_key_store(&warm, master).await?;
        let reader = reader(warm.clone(), &key_store);
        let tail = LogTail::new(reader.clone());
        let progress = ProjectionProgress::new(registry::all().iter().map(|projection| projection.name()));
        let limits = limits(config);
        let rejections = RejectionCache::default();
        let executor =
            Executor::new(warm.clone(), key_store, tail.clone(), MAX_CACHE_BYTES, lifecycle.work.clone())
                .with_charge_policy(Arc::new(QuotaPolicy::settling(rejections.clone())));
        let ready_from = reader.last_position().await.context("The event log cannot be read")?;
        let cluster_bus = nats.as_ref().map(|nats| {
            ClusterBus::new(nats.clone(), live, lifecycle.services.clone(), lifecycle.stop_services.clone())
        });
        let live_replies = cluster_bus.clone().map_or_else(LiveReplies::new, LiveReplies::shared);
        let read_models =
            ReadModels { pool: warm.clone(), progress: progress.clone(), tasks: lifecycle.work.clone() };
        let user_channels = UserChannels::new(read_models.clone(), ready_from, cluster_bus.clone());
        let clock = Clock::system();
        let holder = clock.id();
        let core = Core { pool: warm, executor, reader, progress, clock, hasher };
        Ok(Self {
            core,
            pool,
            tail,
            nats,
            cluster_bus,
            live_replies,
            user_channels,
            read_models,
            limits,
            rejections,
            holder,
            ready_from,
        })
    }

    /// Starts the readers of the log: projections, the live feed, metrics.
    pub(super) fn start(&self, config: &Config, database: &Opened, lifecycle: &Lifecycle) {
        let stop = || lifecycle.stop_services.clone();
        lifecycle.service(self.tail.clone().run(stop()));
        self.start_projections(config, database, lifecycle);
        lifecycle.service(self.live_replies.clone().run(self.tail.clone(), self.ready_from, stop()));
        if let Some(cluster_bus) = &self.cluster_bus {
            lifecycle.service(cluster_bus.clone().notify_appends(self.tail.clone()));
        }
        if config.roles.has(Role::Api) {
            let (tail, reader) = (self.tail.clone(), self.core.reader.clone());
            lifecycle.service(self.user_channels.clone().run(tail, reader, self.ready_from, stop()));
            if let Some(cluster_bus) = &self.cluster_bus {
                let user_channels = self.user_channels.clone();
                lifecycle.service(
                    cluster_bus.clone().on_typing(move |typing| user_channels.deliver_typing(typing)),
                );
            }
        }
        let Core { pool, reader, progress, .. } = &self.core;
        lifecycle.service(lag::export(reader.clone(), progress.clone(), pool.clone(), stop()));
    }

    /// Runs the projections in this process, or follows the checkpoints of those that run elsewhere.
    fn start_projections(&self, config: &Config, database: &Opened, lifecycle: &Lifecycle) {
        let Core { pool, progress, .. } = &self.core;
        if !config.roles.has(Role::Project) {
            lifecycle.service(checkpoint_poller::run(
                pool.clone(),
                progress.clone(),
                lifecycle.stop_services.clone(),
            ));
            return;
        }
        for projection in registry::all() {
            lifecycle.service(runner::run(
                projection,
                self.tail.clone(),
                database.projector.clone(),
                progress.clone(),
                lifecycle.stop_services.clone(),
            ));
        }
    }
}

/// Opens the key store and checks that the master key is the database's.
async fn open_key_store(pool: &FastPool, master: MasterKey) -> anyhow::Result<Arc<KeyStore>> {
    let key_store = Arc::new(KeyStore::new(pool.clone(), master));
    key_store.check_master().await.map_err(|error| match error {
        KeyStoreError::WrongMasterKey { stored, configured } => anyhow::anyhow!(
            "MASTER_KEY is not the key that this database was written with (its id is {stored}, the given one's \
             {configured}); with another key no text can be read and no account be found."
        ),
        error => anyhow::Error::new(error).context("The key tables cannot be read"),
    })?;
    Ok(key_store)
}

/// Rates and quotas as configured.
fn limits(config: &Config) -> (Option<Rates>, Quotas) {
    let rates = config.rate_limits.map(|config::RateLimits { user, session, channel }| Rates {
        user,
        session,
        channel,
    });
    let config::QuotaConfig { messages_per_day, tokens_per_day, reserved_tokens, at_once } = config.quotas;
    (rates, Quotas { messages_per_day, tokens_per_day, reserved_tokens, at_once })
}

/// How many of the pool's connections the fast pool keeps; the others are for rare work (cold loads, sign-ins, snapshots).
fn max_leased(pool_size: u32) -> usize {
    usize::try_from(pool_size).unwrap_or(1).saturating_mul(3).checked_div(4).unwrap_or(1).max(1)
}

/// Returns the reader of the log; a naive one when that fault is injected.
fn reader(pool: FastPool, key_store: &Arc<KeyStore>) -> LogReader {
    let reader = LogReader::new(pool, Arc::clone(key_store));
    #[cfg(feature = "fault-injection")]
    if event_store::fault_injection::is_injected(event_store::fault_injection::NAIVE_READER) {
        return reader.naive();
    }
    reader
}
