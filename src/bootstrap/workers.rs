//! Starts the background workers: replies, mail, cleaning up, and the relay.

use std::sync::Arc;

use super::foundation::Foundation;
use super::purge::PurgeJob;
use super::services::AccountStores;
use crate::ai::Chain;
use crate::config::Config;
use crate::files::{FileStore, FileSweep};
use crate::lifecycle::Lifecycle;
use crate::mail::MailWorker;
use crate::relay::{Relay, RelayState};
use crate::replies::queue::ReplyQueue;
use crate::replies::sweeper::Sweeper;
use crate::replies::wakeups::ReplyWakeups;
use crate::replies::worker_pool::{ReplyWorkerPool, ShutdownSignals};
use crate::replies::{ReplyHandler, ReplySettings, WorkerParts};
use crate::tools::Tools;

/// Parts that replies take besides the foundation.
pub(super) struct ReplyParts<'a> {
    /// The AI providers.
    pub(super) chain: &'a Arc<Chain>,
    /// Tools that models can call.
    pub(super) tools: &'a Tools,
    /// Reads attached files.
    pub(super) files: &'a FileStore,
}

/// Starts the worker that makes replies.
pub(super) fn start_replies(
    foundation: &Foundation,
    parts: ReplyParts<'_>,
    config: &Config,
    lifecycle: &Lifecycle,
) {
    let core = &foundation.core;
    let handler = ReplyHandler::new(WorkerParts {
        pool: core.pool.clone(),
        executor: core.executor.clone(),
        progress: core.progress.clone(),
        live_replies: foundation.live_replies.clone(),
        chain: Arc::clone(parts.chain),
        settings: reply_settings(config),
        clock: core.clock.clone(),
        worker: format!("{}-{}", crate::VERSION, foundation.holder),
        tools: parts.tools.clone(),
        files: parts.files.clone(),
        tasks: lifecycle.work.clone(),
    });
    let signals =
        ShutdownSignals { stop_accepting: lifecycle.stop_accepting.clone(), abort: lifecycle.abort.clone() };
    let workers =
        ReplyWorkerPool::new(core.pool.clone(), handler, foundation.holder, lifecycle.work.clone(), signals);
    let keeper = workers.clone();
    lifecycle.work.spawn(async move { keeper.keep_leases().await });
    if let Some(nats) = &foundation.nats {
        let consumer = ReplyWakeups {
            nats: nats.clone(),
            workers: workers.clone(),
            progress: core.progress.clone(),
            clock: core.clock.clone(),
            tasks: lifecycle.work.clone(),
            max_unacknowledged: nats.config().max_in_hand,
        };
        lifecycle.work.spawn(consumer.run());
    }
    let (tail, nats) = (foundation.tail.clone(), foundation.nats.clone());
    let queue = ReplyQueue::new(workers, core.progress.clone(), tail, foundation.ready_from, nats);
    lifecycle.work.spawn(queue.run());
}

/// Starts what removes the leftovers: overdue replies, bytes without a file, expired rows.
pub(super) fn start_cleaners(
    foundation: &Foundation,
    stores: &AccountStores,
    files: &FileSweep,
    lifecycle: &Lifecycle,
) {
    let core = &foundation.core;
    lifecycle.service(files.clone().run(lifecycle.stop_accepting.clone()));
    let sweeper =
        Sweeper { pool: core.pool.clone(), executor: core.executor.clone(), clock: core.clock.clone() };
    lifecycle.service(sweeper.run(lifecycle.stop_accepting.clone()));
    let purge = PurgeJob {
        pool: core.pool.clone(),
        logins: stores.logins.clone(),
        tickets: stores.tickets.clone(),
        lockout: stores.lockout.clone(),
        resets: stores.resets.clone(),
        outbox: stores.outbox.clone(),
    };
    lifecycle.service(purge.run(lifecycle.stop_accepting.clone()));
}

/// Starts the mailer, when a mail server is configured.
pub(super) fn start_mailer(
    foundation: &Foundation,
    stores: &AccountStores,
    config: &Config,
    lifecycle: &Lifecycle,
) {
    let Some(smtp) = stores.smtp.clone() else { return };
    let mailer = MailWorker {
        outbox: stores.outbox.clone(),
        smtp,
        resets: stores.resets.clone(),
        executor: foundation.core.executor.clone(),
        public_url: config.files.public_url.clone(),
        clock: foundation.core.clock.clone(),
    };
    lifecycle.service(mailer.run(lifecycle.stop_accepting.clone()));
}

/// Starts the relay, when there is NATS.
pub(super) fn start_relay(foundation: &Foundation, lifecycle: &Lifecycle) -> Option<RelayState> {
    let nats = foundation.nats.clone()?;
    let state = RelayState::default();
    let relay = Relay {
        nats,
        pool: foundation.core.pool.clone(),
        reader: foundation.core.reader.clone(),
        tail: foundation.tail.clone(),
        holder: foundation.holder,
        state: state.clone(),
    };
    lifecycle.service(relay.run(lifecycle.stop_services.clone()));
    Some(state)
}

/// Settings of replies as configured.
pub(super) fn reply_settings(config: &Config) -> ReplySettings {
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
        titles: config.replies.titles,
        ..defaults
    }
}
