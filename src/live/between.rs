//! The live feed between processes, over core NATS: text as it is written reaches whoever follows it elsewhere.
//!
//! For each reply that is written or followed here, one task has one subscription. The process that writes
//! publishes what has been added; one that begins to follow, or has missed something, asks, and is told all there is.
//! Nothing here need arrive: the log tells the end, and what it brings heals whatever was lost.

use std::sync::Arc;
use std::time::Duration;

use aggregates::ids::ReplyId;
use async_nats::{Client, Subscriber};
use event_store::LogTail;
use futures::StreamExt as _;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::hub::{Hub, LiveReply};
use super::sealed::{LiveKey, Piece, Typing};
use crate::nats::Nats;

/// How often a process that misses text asks for it, at most.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// What sealed signs of typing are bound to.
const TYPING: &str = "typing";

/// Carries the live feed to and from other processes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Between {
    nats: Nats,
    key: Arc<LiveKey>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Between {
    /// Over this connection; tasks end with `stop`.
    pub fn new(nats: Nats, key: LiveKey, tasks: TaskTracker, stop: CancellationToken) -> Self {
        Self { nats, key: Arc::new(key), tasks, stop }
    }

    /// Begins to carry `reply`, until nobody here writes or follows it any more.
    pub(super) fn begin(&self, hub: Hub, reply: ReplyId, live: watch::Receiver<LiveReply>) {
        let carrier = self.clone();
        self.tasks.spawn(async move {
            // The hub counts on one follower that is this task.
            let mut live = live;
            let carried = async {
                if let Err(error) = carry(&carrier, &hub, reply, &mut live).await {
                    tracing::debug!(%error, reply.id = %reply, "the live feed to other processes broke off");
                }
                while live.changed().await.is_ok() {}
            };
            tokio::select! {
                () = carried => {}
                () = carrier.stop.cancelled() => {}
            }
        });
    }

    /// Tells other processes of appends here, and this one of theirs, until the end of the process.
    pub async fn wake(self, tail: LogTail) {
        let subject = self.nats.names().wake();
        let work = async {
            let mut woken = self.nats.client().subscribe(subject.clone()).await?;
            loop {
                tokio::select! {
                    // One message for all appends since the last one.
                    () = tail.appended() => self.nats.client().publish(subject.clone(), "".into()).await?,
                    message = woken.next() => match message {
                        Some(_) => tail.notify_remote(),
                        None => return Ok::<(), anyhow::Error>(()),
                    },
                }
            }
        };
        tokio::select! {
            outcome = work => if let Err(error) = outcome {
                tracing::warn!(%error, "other processes are not woken; they look by themselves");
            },
            () = self.stop.cancelled() => {}
        }
    }

    /// Tells other processes that somebody types. Lost where nobody listens.
    pub(super) async fn tell(&self, typing: &Typing) -> anyhow::Result<()> {
        if let Some(sealed) = self.key.seal(TYPING, typing) {
            self.nats.client().publish(self.nats.names().typing(), sealed.into()).await?;
        }
        Ok(())
    }

    /// Hands on what other processes tell of who types, until the end of the process.
    pub async fn hear(self, hand_on: impl Fn(Typing) + Send + 'static) {
        let work = async {
            let mut told = self.nats.client().subscribe(self.nats.names().typing()).await?;
            while let Some(message) = told.next().await {
                match self.key.open::<Typing>(TYPING, &message.payload) {
                    Some(typing) => hand_on(typing),
                    None => metrics::counter!("verbatim_live_rejected_total").increment(1),
                }
            }
            Ok::<(), anyhow::Error>(())
        };
        tokio::select! {
            outcome = work => if let Err(error) = outcome {
                tracing::warn!(%error, "who types on other nodes is not heard of");
            },
            () = self.stop.cancelled() => {}
        }
    }

    async fn publish(&self, reply: ReplyId, piece: &Piece) -> anyhow::Result<()> {
        if let Some(sealed) = self.key.seal(&reply.to_string(), piece) {
            self.nats.client().publish(self.nats.names().live(reply.uuid()), sealed.into()).await?;
        }
        Ok(())
    }
}

/// What this process has told others of a reply that it writes.
#[derive(Default)]
struct Told {
    attempt: u32,
    offset: usize,
}

async fn carry(
    between: &Between,
    hub: &Hub,
    reply: ReplyId,
    live: &mut watch::Receiver<LiveReply>,
) -> anyhow::Result<()> {
    let client: &Client = between.nats.client();
    let names = between.nats.names();
    let mut pieces: Subscriber = client.subscribe(names.live(reply.uuid())).await?;
    let ask = names.ask(reply.uuid());
    let mut asked: Subscriber = client.subscribe(ask.clone()).await?;
    let mut told = Told::default();
    let mut may_ask = Instant::now();
    // Whoever writes it may have begun long ago.
    let mut missing = !live.borrow().here;
    loop {
        if missing && Instant::now() >= may_ask {
            client.publish(ask.clone(), "".into()).await?;
            may_ask = Instant::now() + ASK_EVERY;
            missing = false;
        }
        tokio::select! {
            // An error means that nobody here writes or follows it any more.
            changed = live.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
                let Some(piece) = added(&live.borrow_and_update(), &mut told) else { continue };
                between.publish(reply, &piece).await?;
            }
            message = pieces.next() => {
                let Some(message) = message else { return Ok(()) };
                let Some(piece) = between.key.open::<Piece>(&reply.to_string(), &message.payload) else {
                    metrics::counter!("verbatim_live_rejected_total").increment(1);
                    continue;
                };
                missing |= !hub.merge(reply, &piece);
            }
            message = asked.next() => {
                if message.is_none() {
                    return Ok(());
                }
                let all = all(&live.borrow());
                if let Some(piece) = all {
                    between.publish(reply, &piece).await?;
                }
            }
            () = tokio::time::sleep_until(may_ask), if missing => {}
        }
    }
}

/// What has been written here and not been told yet.
fn added(live: &LiveReply, told: &mut Told) -> Option<Piece> {
    if !live.here {
        return None;
    }
    if live.attempt != told.attempt {
        *told = Told { attempt: live.attempt, offset: 0 };
    } else if live.text.len() <= told.offset {
        return None;
    }
    let offset = told.offset;
    told.offset = live.text.len();
    Some(Piece { attempt: live.attempt, offset, text: live.text.get(offset..)?.to_owned() })
}

/// All that has been written here.
fn all(live: &LiveReply) -> Option<Piece> {
    live.here.then(|| Piece { attempt: live.attempt, offset: 0, text: live.text.clone() })
}
