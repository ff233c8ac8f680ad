//! The queue of the form with NATS: public events about replies tell in which conversation something may be due.
//!
//! A message is only a hint. Whose turn it is stands in the database, so a forged, doubled, late or lost one does no
//! harm: unknown and finished ids end it, and what no message brings is found by [`super::queue`]. A message is
//! acknowledged when its reply has ended; one whose worker dies comes again.

use std::time::Duration;

use async_nats::jetstream::consumer::pull::{self, Config};
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy};
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::{AckKind, Message};
use chrono::{DateTime, Utc};
use futures::StreamExt as _;
use projections::pending_replies::query;
use projections::progress::Progress;
use serde::Deserialize;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::desk::Desk;
use super::handler::Outcome;
use super::parked;
use crate::clock::Clock;
use crate::nats::{Nats, stream};

/// After this time without a sign of life a message is delivered to another worker.
const ACK_WAIT: Duration = Duration::from_secs(15);
/// How often a worker gives a sign of life.
const ALIVE: Duration = Duration::from_secs(5);
/// How often a message that makes no sense is delivered before it is parked.
const DELIVERIES: i64 = 5;
/// How long the models may take to show what a message is about.
const CATCH_UP: Duration = Duration::from_secs(2);
/// How long a worker that failed waits.
const PAUSE: Duration = Duration::from_secs(1);
/// How often parked messages are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// What a worker reads of a message.
#[derive(Debug, Deserialize)]
struct Hint {
    position: String,
    #[serde(default, rename = "type")]
    kind: String,
    data: HintData,
}

#[derive(Debug, Deserialize)]
struct HintData {
    conversation_id: Uuid,
    #[serde(default)]
    reply_id: Option<Uuid>,
}

impl Hint {
    /// The reply that it says is owed.
    fn requested(&self) -> Option<Uuid> {
        self.data.reply_id.filter(|_| self.kind.contains(".reply.requested."))
    }
}

/// What is to become of a message.
enum Verdict {
    /// Nothing is left to do.
    Done,
    /// Something is to be done, later.
    Later(Duration),
    /// It makes no sense.
    Senseless(&'static str),
}

/// The consumer of one process.
pub struct ReplyConsumer {
    /// NATS.
    pub nats: Nats,
    /// Where replies are made.
    pub desk: Desk,
    /// How far the models are.
    pub progress: Progress,
    /// Time.
    pub clock: Clock,
    /// What shutdown waits for.
    pub tasks: TaskTracker,
    /// How many messages all workers together may have in hand.
    pub max_in_hand: i64,
}

impl ReplyConsumer {
    /// Works until the soft stop.
    pub async fn run(self) {
        let soft = self.desk.stops().soft.clone();
        let this = std::sync::Arc::new(self);
        loop {
            let outcome = tokio::select! {
                outcome = Self::work(&this) => outcome,
                () = soft.cancelled() => return,
            };
            if let Err(error) = outcome {
                metrics::counter!("verbatim_consumer_failures_total").increment(1);
                tracing::warn!(%error, "messages about replies cannot be read; what is owed is found without them");
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = soft.cancelled() => return,
            }
        }
    }

    async fn work(this: &std::sync::Arc<Self>) -> anyhow::Result<()> {
        let consumer = this.consumer().await?;
        let batch = this.desk.free().max(1);
        let mut messages = consumer.stream().max_messages_per_batch(batch).messages().await?;
        let mut look = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                message = messages.next() => {
                    let Some(message) = message else { return Ok(()) };
                    let (message, worker) = (message?, std::sync::Arc::clone(this));
                    this.tasks.spawn(async move { worker.handle(message).await });
                }
                _ = look.tick() => this.again().await?,
            }
        }
    }

    /// The durable consumer that all workers share, made when it is missing.
    async fn consumer(&self) -> anyhow::Result<Consumer<pull::Config>> {
        let stream = stream::ensure(&self.nats).await?;
        let name = self.nats.names().replies_consumer();
        let wanted = Config {
            durable_name: Some(name.clone()),
            description: Some("Workers that make replies".to_owned()),
            // What was owed before is found in the database.
            deliver_policy: DeliverPolicy::New,
            ack_policy: AckPolicy::Explicit,
            ack_wait: ACK_WAIT,
            max_deliver: -1,
            filter_subject: self.nats.names().event("reply.*"),
            max_ack_pending: self.max_in_hand,
            ..Config::default()
        };
        let consumer = stream.get_or_create_consumer(&name, wanted.clone()).await?;
        let found = &consumer.cached_info().config;
        anyhow::ensure!(
            found.filter_subject == wanted.filter_subject
                && found.ack_wait == wanted.ack_wait
                && found.max_ack_pending == wanted.max_ack_pending
                && found.ack_policy == wanted.ack_policy,
            "the consumer {name} is another than configured: delete it, to have it made anew"
        );
        Ok(consumer)
    }

    async fn handle(&self, message: Message) {
        let (deliveries, sequence) =
            message.info().map_or((DELIVERIES, 0), |info| (info.delivered, info.stream_sequence));
        let work = self.verdict(&message.payload);
        tokio::pin!(work);
        let verdict = loop {
            tokio::select! {
                verdict = &mut work => break verdict,
                () = tokio::time::sleep(ALIVE) => {
                    if let Err(error) = message.ack_with(AckKind::Progress).await {
                        tracing::debug!(%error, "a message will come to another worker too");
                    }
                }
            }
        };
        let kind = match verdict {
            Ok(Verdict::Done) => AckKind::Ack,
            Ok(Verdict::Later(pause)) => AckKind::Nak(Some(pause)),
            Ok(Verdict::Senseless(_)) if deliveries < DELIVERIES => {
                AckKind::Nak(Some(Duration::from_millis(200)))
            }
            Ok(Verdict::Senseless(reason)) => {
                match self.park(sequence, &message.subject, reason, deliveries).await {
                    Ok(()) => AckKind::Term,
                    Err(_) => AckKind::Nak(Some(PAUSE)),
                }
            }
            Err(error) => {
                tracing::warn!(%error, "a message could not be handled now");
                AckKind::Nak(Some(PAUSE))
            }
        };
        // Twice acknowledged: the server has to say that it knows. If it does not, the message comes once more.
        if let Err(error) = message.double_ack_with(kind).await {
            tracing::debug!(%error, "a message will come once more");
        }
    }

    /// Does what a message hints at.
    async fn verdict(&self, payload: &[u8]) -> Result<Verdict, sqlx::Error> {
        let Ok(hint) = serde_json::from_slice::<Hint>(payload) else {
            return Ok(Verdict::Senseless("it is no public event about a reply"));
        };
        let Ok(position) = hint.position.parse::<i64>() else {
            return Ok(Verdict::Senseless("it has no position"));
        };
        let conversation = hint.data.conversation_id;
        // Mostly the model shows what was asked for by the time that the message is here. Of anything else that it shows
        // it may have to be told the end first.
        let mut due = query::next_of(self.desk.pool(), conversation).await?;
        if due.as_ref().map(|row| row.reply_id) != hint.requested() || due.is_none() {
            self.progress.wait(&["pending_replies"], position, CATCH_UP).await;
            due = query::next_of(self.desk.pool(), conversation).await?;
        }
        let Some(row) = due else { return Ok(Verdict::Done) };
        if let Some(pause) = row.not_before.and_then(|not_before| until(not_before, &self.clock)) {
            return Ok(Verdict::Later(pause));
        }
        let Some(place) = self.desk.place().await else { return Ok(Verdict::Later(Duration::ZERO)) };
        let Some(made) = self.desk.begin(row, place).await? else {
            // Somebody makes it. Should that one die, the database's queue finds it.
            return Ok(Verdict::Done);
        };
        let made = made.await;
        event_store::crash_point!("recorded");
        Ok(match made {
            Ok(Outcome::Done | Outcome::Dead(_)) => Verdict::Done,
            Ok(Outcome::Retry(pause)) => Verdict::Later(pause),
            // It panicked; its attempt counts.
            Err(_) => Verdict::Later(PAUSE),
        })
    }

    async fn park(
        &self,
        sequence: u64,
        subject: &str,
        reason: &str,
        deliveries: i64,
    ) -> Result<(), sqlx::Error> {
        let stream = self.nats.names().events_stream();
        parked::park(self.desk.pool(), &stream, sequence, subject, reason, deliveries).await?;
        tracing::error!(sequence, subject, reason, "a message is parked: see `verbatim parked`");
        Ok(())
    }

    /// Tries again those parked messages for which somebody asked.
    async fn again(&self) -> anyhow::Result<()> {
        let all = parked::all(self.desk.pool()).await?;
        metrics::gauge!("verbatim_parked_messages").set(all.len() as f64);
        for message in all.into_iter().filter(|message| message.retry) {
            let sequence = u64::try_from(message.sequence).unwrap_or_default();
            let stream = stream::ensure(&self.nats).await?;
            let reason = match stream.get_raw_message(sequence).await {
                Ok(StreamMessage { payload, .. }) => match self.verdict(&payload).await? {
                    Verdict::Done | Verdict::Later(_) => None,
                    Verdict::Senseless(reason) => Some(reason),
                },
                Err(_) => Some("the stream no longer has it"),
            };
            match reason {
                None => drop(parked::forget(self.desk.pool(), Some(message.sequence)).await?),
                Some(reason) => self.park(sequence, &message.subject, reason, message.deliveries).await?,
            }
        }
        Ok(())
    }
}

/// How long until that time, if it is still to come.
fn until(time: DateTime<Utc>, clock: &Clock) -> Option<Duration> {
    (time - clock.now()).to_std().ok().filter(|pause| !pause.is_zero())
}
