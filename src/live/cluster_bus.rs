//! The live feed between processes, over core NATS: text of running replies, typing indicators and append notifications.
//!
//! For each reply that is written or followed here, one task holds one subscription. The process that writes publishes
//! what has been added. A process that starts following, or that misses text, requests all of it. Delivery is
//! best-effort: ends of replies come from the log, and their text replaces whatever was lost.

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

use super::envelope::{LiveKey, TextDelta, Typing};
use super::live_replies::{LiveReplies, LiveReply};
use crate::nats::Nats;

/// Shortest time between two requests for missing text of one reply.
const MIN_REQUEST_INTERVAL: Duration = Duration::from_millis(100);

/// Context that encrypted typing indicators are bound to.
const TYPING_CONTEXT: &str = "typing";

/// Carries the live feed to and from other processes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ClusterBus {
    nats: Nats,
    key: Arc<LiveKey>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl ClusterBus {
    /// Creates a bus over this connection; its tasks end with `stop`.
    pub fn new(nats: Nats, key: LiveKey, tasks: TaskTracker, stop: CancellationToken) -> Self {
        Self { nats, key: Arc::new(key), tasks, stop }
    }

    /// Starts carrying `reply`, until no one in this process writes or follows it.
    pub(super) fn attach(&self, live_replies: LiveReplies, reply: ReplyId, live: watch::Receiver<LiveReply>) {
        let bus = self.clone();
        self.tasks.spawn(async move {
            // `LiveReplies` counts exactly one receiver for this task.
            let mut live = live;
            let exchange_until_done = async {
                if let Err(error) = exchange(&bus, &live_replies, reply, &mut live).await {
                                        tracing::debug!(%error, reply.id = %reply, "live feed of a reply to other processes failed");
                }
                while live.changed().await.is_ok() {}
            };
            tokio::select! {
                () = exchange_until_done => {}
                () = bus.stop.cancelled() => {}
            }
        });
    }

    /// Notifies other processes of appends here, and this one of theirs, until `stop`.
    pub async fn notify_appends(self, tail: LogTail) {
        let subject = self.nats.names().wake();
        let work = async {
            let mut notifications = self.nats.client().subscribe(subject.clone()).await?;
            loop {
                tokio::select! {
                    // One message for all appends since the last one.
                    () = tail.appended() => self.nats.client().publish(subject.clone(), "".into()).await?,
                    message = notifications.next() => match message {
                        Some(_) => tail.notify_remote(),
                        None => return Ok::<(), anyhow::Error>(()),
                    },
                }
            }
        };
        tokio::select! {
            outcome = work => if let Err(error) = outcome {
                                tracing::warn!(%error, "append notifications unavailable; relying on polling");
            },
            () = self.stop.cancelled() => {}
        }
    }

    /// Publishes a typing indicator to the other processes. Best-effort.
    pub(super) async fn publish_typing(&self, typing: &Typing) -> anyhow::Result<()> {
        if let Some(sealed) = self.key.seal(TYPING_CONTEXT, typing) {
            self.nats.client().publish(self.nats.names().typing(), sealed.into()).await?;
        }
        Ok(())
    }

    /// Calls `handler` for each typing indicator from another process, until `stop`.
    pub async fn on_typing(self, handler: impl Fn(Typing) + Send + 'static) {
        let work = async {
            let mut published = self.nats.client().subscribe(self.nats.names().typing()).await?;
            while let Some(message) = published.next().await {
                match self.key.open::<Typing>(TYPING_CONTEXT, &message.payload) {
                    Some(typing) => handler(typing),
                    None => metrics::counter!("verbatim_live_rejected_total").increment(1),
                }
            }
            Ok::<(), anyhow::Error>(())
        };
        tokio::select! {
            outcome = work => if let Err(error) = outcome {
                                tracing::warn!(%error, "typing indicators from other nodes unavailable");
            },
            () = self.stop.cancelled() => {}
        }
    }

    async fn publish(&self, reply: ReplyId, delta: &TextDelta) -> anyhow::Result<()> {
        if let Some(sealed) = self.key.seal(&reply.to_string(), delta) {
            self.nats.client().publish(self.nats.names().live(reply.uuid()), sealed.into()).await?;
        }
        Ok(())
    }
}

/// How much of a local reply has been published.
#[derive(Default)]
struct Published {
    attempt: u32,
    offset: usize,
}

async fn exchange(
    cluster_bus: &ClusterBus,
    live_replies: &LiveReplies,
    reply: ReplyId,
    live: &mut watch::Receiver<LiveReply>,
) -> anyhow::Result<()> {
    let client: &Client = cluster_bus.nats.client();
    let names = cluster_bus.nats.names();
    let mut deltas: Subscriber = client.subscribe(names.live(reply.uuid())).await?;
    let request_subject = names.ask(reply.uuid());
    let mut requests: Subscriber = client.subscribe(request_subject.clone()).await?;
    let mut published = Published::default();
    let mut next_request = Instant::now();
    // The writing process may have started long ago.
    let mut missing = !live.borrow().here;
    loop {
        if missing && Instant::now() >= next_request {
            client.publish(request_subject.clone(), "".into()).await?;
            next_request = Instant::now() + MIN_REQUEST_INTERVAL;
            missing = false;
        }
        tokio::select! {
            // An error means that no one in this process writes or follows the reply any more.
            changed = live.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
                let Some(delta) = unpublished(&live.borrow_and_update(), &mut published) else { continue };
                cluster_bus.publish(reply, &delta).await?;
            }
            message = deltas.next() => {
                let Some(message) = message else { return Ok(()) };
                let Some(delta) = cluster_bus.key.open::<TextDelta>(&reply.to_string(), &message.payload) else {
                    metrics::counter!("verbatim_live_rejected_total").increment(1);
                    continue;
                };
                missing |= !live_replies.merge(reply, &delta);
            }
            message = requests.next() => {
                if message.is_none() {
                    return Ok(());
                }
                let all = all_text(&live.borrow());
                if let Some(delta) = all {
                    cluster_bus.publish(reply, &delta).await?;
                }
            }
            () = tokio::time::sleep_until(next_request), if missing => {}
        }
    }
}

/// Returns the local text that has not been published yet.
fn unpublished(live: &LiveReply, published: &mut Published) -> Option<TextDelta> {
    if !live.here {
        return None;
    }
    if live.attempt != published.attempt {
        *published = Published { attempt: live.attempt, offset: 0 };
    } else if live.text.len() <= published.offset {
        return None;
    }
    let offset = published.offset;
    published.offset = live.text.len();
    Some(TextDelta { attempt: live.attempt, offset, text: live.text.get(offset..)?.to_owned() })
}

/// Returns all local text.
fn all_text(live: &LiveReply) -> Option<TextDelta> {
    live.here.then(|| TextDelta { attempt: live.attempt, offset: 0, text: live.text.clone() })
}
