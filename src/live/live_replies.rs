//! The replies that are written or followed in this process.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use aggregates::Event;
use aggregates::ids::ReplyId;
use event_store::{LogTail, RecordedEvent};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::cluster_bus::ClusterBus;
use super::envelope::TextDelta;
use super::next_events;

/// How long to wait for another process to send the text of a reply.
const REMOTE_TEXT_TIMEOUT: Duration = Duration::from_millis(200);

/// Current state of a running reply.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LiveReply {
    /// Attempt being written; 0 before the first.
    pub attempt: u32,
    /// Text of the attempt so far.
    pub text: String,
    /// Whether this process writes the reply.
    pub here: bool,
    /// Position of the event that ended the reply.
    pub ended: Option<i64>,
    /// Whether the process is shutting down: clients are disconnected to resume elsewhere.
    pub closing: bool,
}

/// All running replies. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct LiveReplies {
    replies: Arc<Mutex<HashMap<ReplyId, watch::Sender<LiveReply>>>>,
    /// Connection to other processes; `None` without NATS.
    cluster_bus: Option<ClusterBus>,
    /// Position up to which the log has been followed.
    position: Arc<AtomicI64>,
    /// The process is shutting down: new followers are disconnected too.
    closing: Arc<AtomicBool>,
}

impl LiveReplies {
    /// Creates an empty collection for a single process.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates an empty collection that exchanges text with other processes.
    pub fn shared(cluster_bus: ClusterBus) -> Self {
        Self { cluster_bus: Some(cluster_bus), ..Self::default() }
    }

    /// Follows a reply. Replies that ended earlier are found in the read models only: see [`LiveReplies::position`].
    pub fn follow(&self, reply: ReplyId) -> watch::Receiver<LiveReply> {
        self.with(reply, |sender| {
            if self.closing.load(Ordering::Acquire) {
                sender.send_modify(|live| live.closing = true);
            }
            sender.subscribe()
        })
    }

    /// Returns the text so far, whichever process writes it. Waits briefly for other processes to send theirs.
    pub async fn text(&self, reply: ReplyId) -> String {
        let mut live = self.follow(reply);
        if self.cluster_bus.is_some() {
            let text = live.wait_for(|live| live.attempt > 0 || live.ended.is_some());
            // A timeout means that no process writes it, or that its writer does not answer.
            let _ = tokio::time::timeout(REMOTE_TEXT_TIMEOUT, text).await;
        }
        live.borrow().text.clone()
    }

    /// Returns the position up to which ends of replies have been read from the log.
    pub fn position(&self) -> i64 {
        self.position.load(Ordering::Acquire)
    }

    /// Starts an attempt and discards the text of earlier ones.
    pub fn begin(&self, reply: ReplyId, attempt: u32) {
        self.with(reply, |sender| {
            sender.send_if_modified(|live| {
                let newer = attempt > live.attempt;
                if newer {
                    live.attempt = attempt;
                    live.text.clear();
                    live.here = true;
                }
                newer
            });
        });
    }

    /// Appends text to an attempt; ignored when the attempt is no longer current.
    pub fn push(&self, reply: ReplyId, attempt: u32, text: &str) {
        self.with(reply, |sender| {
            sender.send_if_modified(|live| {
                let current = attempt == live.attempt && live.here && live.ended.is_none();
                if current {
                    live.text.push_str(text);
                }
                current
            });
        });
    }

    /// Merges text from another process. Returns false when earlier text is missing.
    pub fn merge(&self, reply: ReplyId, delta: &TextDelta) -> bool {
        let mut is_contiguous = true;
        let replies = self.replies.lock();
        let Some(sender) = replies.get(&reply) else { return true };
        sender.send_if_modified(|live| {
            if live.ended.is_some()
                || delta.attempt < live.attempt
                || (live.here && delta.attempt == live.attempt)
            {
                return false;
            }
            // Start a newer attempt at its beginning only: followers take the text for all of it.
            let newer = delta.attempt > live.attempt;
            let known = if newer { 0 } else { live.text.len() };
            let Some(overlap) = known.checked_sub(delta.offset) else {
                is_contiguous = false;
                return false;
            };
            if newer {
                live.attempt = delta.attempt;
                live.text.clear();
                live.here = false;
            }
            match delta.text.get(overlap..).filter(|text| !text.is_empty()) {
                Some(text) => {
                    live.text.push_str(text);
                    true
                }
                None => newer,
            }
        });
        is_contiguous
    }

    /// Disconnects every follower because the process is shutting down.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Release);
        let replies = self.replies.lock();
        for sender in replies.values() {
            sender.send_modify(|live| live.closing = true);
        }
    }

    /// Removes a follower with its receiver `live`, and the reply when no one else follows or writes it.
    pub(super) fn leave(&self, reply: ReplyId, live: watch::Receiver<LiveReply>) {
        let mut replies = self.replies.lock();
        drop(live);
        if replies.get(&reply).is_some_and(|sender| sender.receiver_count() <= self.bus_receivers()) {
            replies.remove(&reply);
        }
    }

    /// Receivers that a reply has without any follower.
    fn bus_receivers(&self) -> usize {
        usize::from(self.cluster_bus.is_some())
    }

    /// Returns how many replies are written or followed.
    pub fn len(&self) -> usize {
        self.replies.lock().len()
    }

    /// Returns whether no reply is written or followed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn with<T>(&self, reply: ReplyId, act: impl FnOnce(&watch::Sender<LiveReply>) -> T) -> T {
        let mut replies = self.replies.lock();
        act(replies.entry(reply).or_insert_with(|| {
            let sender = watch::Sender::new(LiveReply::default());
            if let Some(cluster_bus) = &self.cluster_bus {
                cluster_bus.attach(self.clone(), reply, sender.subscribe());
            }
            sender
        }))
    }

    /// Reads ends of replies from the log until `stop`.
    pub async fn run(self, tail: LogTail, start: i64, stop: CancellationToken) {
        let mut subscription = tail.subscribe(start);
        while let Some(events) = next_events(&mut subscription, &stop).await {
            self.apply(&events);
        }
    }

    fn apply(&self, events: &[Arc<RecordedEvent>]) {
        let mut replies = self.replies.lock();
        for recorded in events {
            match ended(&recorded.event) {
                Some(reply) => {
                    // Current followers keep the last value; later ones find the end in the read models.
                    if let Some(sender) = replies.remove(&reply) {
                        sender.send_modify(|live| live.ended = Some(recorded.position));
                    }
                }
                None => continue,
            }
        }
        // A running attempt follows its own reply, so a reply without followers is a leftover.
        let bus_receivers = self.bus_receivers();
        replies.retain(|_, sender| sender.receiver_count() > bus_receivers);
        if let Some(last) = events.last() {
            self.position.store(last.position, Ordering::Release);
        }
        metrics::gauge!("verbatim_live_replies").set(replies.len() as f64);
    }
}

fn ended(event: &Event) -> Option<ReplyId> {
    match event {
        Event::Conversation(event) => event.ended_reply(),
        Event::User(_) | Event::Claim(_) | Event::Quiz(_) | Event::File(_) => None,
    }
}

#[cfg(test)]
mod tests;
