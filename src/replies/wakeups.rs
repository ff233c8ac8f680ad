//! Wake-ups through NATS: public events about replies say in which conversation a reply may be due.
//!
//! A message is only a hint: the database decides which reply is due. A forged, duplicated, late or lost message does no
//! harm: unknown and finished ids end its handling, and [`super::queue`] finds what no message announces. A message is
//! acknowledged when its reply has ended; JetStream redelivers the message of a worker that dies.

use std::time::Duration;

use async_nats::jetstream::consumer::pull::{self, Config};
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy};
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::{AckKind, Message};
use chrono::{DateTime, Utc};
use futures::StreamExt as _;
use projections::pending_replies::query;
use projections::progress::ProjectionProgress;
use serde::Deserialize;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::dead_letters;
use super::handler::JobOutcome;
use super::worker_pool::ReplyWorkerPool;
use crate::clock::Clock;
use crate::nats::{Nats, stream};

/// JetStream redelivers a message whose worker sent no progress for this long.
const ACK_WAIT: Duration = Duration::from_secs(15);
/// Interval in which a worker sends progress.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);
/// Deliveries of a malformed message before it becomes a dead letter.
const MAX_MALFORMED_DELIVERIES: i64 = 5;
/// Pause before a malformed message is delivered again.
const MALFORMED_BACKOFF: Duration = Duration::from_millis(200);
/// Longest wait for the read model to show what a message announces.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause after a failure.
const FAILURE_BACKOFF: Duration = Duration::from_secs(1);
/// Interval in which dead letters marked for a retry are handled.
const DEAD_LETTER_POLL_INTERVAL: Duration = Duration::from_secs(2);

/// The fields of a public event that a worker reads.
#[derive(Debug, Deserialize)]
struct WakeupHint {
    position: String,
    #[serde(default, rename = "type")]
    kind: String,
    data: WakeupData,
}

#[derive(Debug, Deserialize)]
struct WakeupData {
    conversation_id: Uuid,
    #[serde(default)]
    reply_id: Option<Uuid>,
}

impl WakeupHint {
    /// Returns the reply that the event requests, if it is such an event.
    fn requested_reply(&self) -> Option<Uuid> {
        self.data.reply_id.filter(|_| self.kind.contains(".reply.requested."))
    }
}

/// How a message was handled.
enum Handled {
    /// Nothing is left to do: acknowledge.
    Done,
    /// Deliver the message again after this delay.
    Redeliver(Duration),
    /// The message cannot be parsed.
    Malformed(&'static str),
}

/// The wake-ups of one process.
pub struct ReplyWakeups {
    /// Connection to NATS.
    pub nats: Nats,
    /// Workers of this process.
    pub workers: ReplyWorkerPool,
    /// Positions of the read models.
    pub progress: ProjectionProgress,
    /// Clock of this process.
    pub clock: Clock,
    /// Tasks that the shutdown waits for.
    pub tasks: TaskTracker,
    /// Messages that all workers together may hold unacknowledged.
    pub max_unacknowledged: i64,
}

impl ReplyWakeups {
    /// Runs until the shutdown begins.
    pub async fn run(self) {
        let stopping = self.workers.signals().stop_accepting.clone();
        let this = std::sync::Arc::new(self);
        loop {
            let outcome = tokio::select! {
                outcome = Self::work(&this) => outcome,
                () = stopping.cancelled() => return,
            };
            if let Err(error) = outcome {
                metrics::counter!("verbatim_consumer_failures_total").increment(1);
                tracing::warn!(%error, "failed to read wake-ups from NATS; the queue polls the database instead");
            }
            tokio::select! {
                () = tokio::time::sleep(FAILURE_BACKOFF) => {}
                () = stopping.cancelled() => return,
            }
        }
    }

    async fn work(this: &std::sync::Arc<Self>) -> anyhow::Result<()> {
        let consumer = this.consumer().await?;
        let batch = this.workers.free_slots().max(1);
        let mut messages = consumer.stream().max_messages_per_batch(batch).messages().await?;
        let mut dead_letter_poll = tokio::time::interval(DEAD_LETTER_POLL_INTERVAL);
        loop {
            tokio::select! {
                message = messages.next() => {
                    let Some(message) = message else { return Ok(()) };
                    let (message, worker) = (message?, std::sync::Arc::clone(this));
                    this.tasks.spawn(async move { worker.handle(message).await });
                }
                _ = dead_letter_poll.tick() => this.retry_dead_letters().await?,
            }
        }
    }

    /// Returns the durable consumer that all workers share; creates it when it is missing.
    async fn consumer(&self) -> anyhow::Result<Consumer<pull::Config>> {
        let stream = stream::ensure(&self.nats).await?;
        let name = self.nats.names().replies_consumer();
        let config = Config {
            durable_name: Some(name.clone()),
            description: Some("Workers that make replies".to_owned()),
            // Replies requested earlier are found in the database.
            deliver_policy: DeliverPolicy::New,
            ack_policy: AckPolicy::Explicit,
            ack_wait: ACK_WAIT,
            max_deliver: -1,
            filter_subject: self.nats.names().event("reply.*"),
            max_ack_pending: self.max_unacknowledged,
            ..Config::default()
        };
        let consumer = stream.get_or_create_consumer(&name, config.clone()).await?;
        let found = &consumer.cached_info().config;
        anyhow::ensure!(
            found.filter_subject == config.filter_subject
                && found.ack_wait == config.ack_wait
                && found.max_ack_pending == config.max_ack_pending
                && found.ack_policy == config.ack_policy,
            "the JetStream consumer {name} has another configuration; delete it, and it is created again"
        );
        Ok(consumer)
    }

    async fn handle(&self, message: Message) {
        let (deliveries, sequence) = message
            .info()
            .map_or((MAX_MALFORMED_DELIVERIES, 0), |info| (info.delivered, info.stream_sequence));
        let work = self.handle_hint(&message.payload);
        tokio::pin!(work);
        let handled = loop {
            tokio::select! {
                handled = &mut work => break handled,
                () = tokio::time::sleep(PROGRESS_INTERVAL) => {
                    if let Err(error) = message.ack_with(AckKind::Progress).await {
                        tracing::debug!(%error, "failed to send progress; JetStream will redeliver the message");
                    }
                }
            }
        };
        let kind = match handled {
            Ok(Handled::Done) => AckKind::Ack,
            Ok(Handled::Redeliver(pause)) => AckKind::Nak(Some(pause)),
            Ok(Handled::Malformed(_)) if deliveries < MAX_MALFORMED_DELIVERIES => {
                AckKind::Nak(Some(MALFORMED_BACKOFF))
            }
            Ok(Handled::Malformed(reason)) => {
                match self.add_dead_letter(sequence, &message.subject, reason, deliveries).await {
                    Ok(()) => AckKind::Term,
                    Err(_) => AckKind::Nak(Some(FAILURE_BACKOFF)),
                }
            }
            Err(error) => {
                tracing::warn!(%error, "failed to handle wake-up");
                AckKind::Nak(Some(FAILURE_BACKOFF))
            }
        };
        // The server confirms the acknowledgement; without the confirmation it redelivers the message.
        if let Err(error) = message.double_ack_with(kind).await {
            tracing::debug!(%error, "acknowledgement not confirmed; JetStream will redeliver the message");
        }
    }

    /// Begins the reply that a message announces, if it is due.
    async fn handle_hint(&self, payload: &[u8]) -> Result<Handled, sqlx::Error> {
        let Ok(hint) = serde_json::from_slice::<WakeupHint>(payload) else {
            return Ok(Handled::Malformed("not a public event about a reply"));
        };
        let Ok(position) = hint.position.parse::<i64>() else {
            return Ok(Handled::Malformed("no position"));
        };
        let conversation = hint.data.conversation_id;
        // Usually the read model shows the requested reply by the time the message arrives. If it shows another one, the
        // end of that one may not be projected yet.
        let mut due = query::next_of(self.workers.pool(), conversation).await?;
        if due.as_ref().map(|row| row.reply_id) != hint.requested_reply() || due.is_none() {
            self.progress.wait(&["pending_replies"], position, CATCH_UP_TIMEOUT).await;
            due = query::next_of(self.workers.pool(), conversation).await?;
        }
        let Some(row) = due else { return Ok(Handled::Done) };
        if let Some(pause) = row.not_before.and_then(|not_before| time_until(not_before, &self.clock)) {
            return Ok(Handled::Redeliver(pause));
        }
        let Some(permit) = self.workers.permit().await else { return Ok(Handled::Redeliver(Duration::ZERO)) };
        let Some(running) = self.workers.begin(row, permit).await? else {
            // Another worker has it. If that worker dies, the database queue finds the reply.
            return Ok(Handled::Done);
        };
        let outcome = running.await;
        event_store::crash_point!("recorded");
        Ok(match outcome {
            Ok(JobOutcome::Done | JobOutcome::Failed(_)) => Handled::Done,
            Ok(JobOutcome::Requeue(requeue)) => Handled::Redeliver(requeue.delay()),
            // The attempt panicked; it counts.
            Err(_) => Handled::Redeliver(FAILURE_BACKOFF),
        })
    }

    async fn add_dead_letter(
        &self,
        sequence: u64,
        subject: &str,
        reason: &str,
        deliveries: i64,
    ) -> Result<(), sqlx::Error> {
        let stream = self.nats.names().events_stream();
        dead_letters::insert(self.workers.pool(), &stream, sequence, subject, reason, deliveries).await?;
        tracing::error!(
            sequence,
            subject,
            reason,
            "message became a dead letter: see `verbatim dead-letters`"
        );
        Ok(())
    }

    /// Handles the dead letters that an operator marked for a retry.
    async fn retry_dead_letters(&self) -> anyhow::Result<()> {
        let letters = dead_letters::all(self.workers.pool()).await?;
        metrics::gauge!("verbatim_dead_letters").set(letters.len() as f64);
        for message in letters.into_iter().filter(|message| message.retry) {
            let sequence = u64::try_from(message.sequence).unwrap_or_default();
            let stream = stream::ensure(&self.nats).await?;
            let reason = match stream.get_raw_message(sequence).await {
                Ok(StreamMessage { payload, .. }) => match self.handle_hint(&payload).await? {
                    Handled::Done | Handled::Redeliver(_) => None,
                    Handled::Malformed(reason) => Some(reason),
                },
                Err(_) => Some("the stream no longer has the message"),
            };
            match reason {
                None => drop(dead_letters::delete(self.workers.pool(), Some(message.sequence)).await?),
                Some(reason) => {
                    self.add_dead_letter(sequence, &message.subject, reason, message.deliveries).await?;
                }
            }
        }
        Ok(())
    }
}

/// Returns the time until then, or `None` when it has passed.
fn time_until(time: DateTime<Utc>, clock: &Clock) -> Option<Duration> {
    (time - clock.now()).to_std().ok().filter(|pause| !pause.is_zero())
}
