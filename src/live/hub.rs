//! The replies that are being written or waited for in this process.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use aggregates::Event;
use aggregates::conversation::ConversationEvent;
use aggregates::ids::ReplyId;
use projections::log::{Recorded, Tail};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How many events the hub takes from the tail at once.
const BATCH: usize = 500;

/// A reply as it stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LiveReply {
    /// The attempt that is being written; 0 before the first.
    pub attempt: u32,
    /// Its text so far.
    pub text: String,
    /// Position of the event that ended the reply.
    pub ended: Option<i64>,
    /// Whether the process is going down: clients are sent away to resume elsewhere.
    pub closing: bool,
}

/// The hub. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Hub {
    replies: Arc<Mutex<HashMap<ReplyId, watch::Sender<LiveReply>>>>,
    /// The log has been followed up to here.
    position: Arc<AtomicI64>,
    /// The process goes down: whoever comes now is sent away too.
    closing: Arc<AtomicBool>,
}

impl Hub {
    /// A hub without replies.
    pub fn new() -> Self {
        Self::default()
    }

    /// Follows one reply. What has ended before is found in the read models, not here: see [`Hub::position`].
    pub fn follow(&self, reply: ReplyId) -> watch::Receiver<LiveReply> {
        self.with(reply, |sender| {
            if self.closing.load(Ordering::Acquire) {
                sender.send_modify(|live| live.closing = true);
            }
            sender.subscribe()
        })
    }

    /// Position up to which ends have been taken from the log.
    pub fn position(&self) -> i64 {
        self.position.load(Ordering::Acquire)
    }

    /// An attempt begins: what an earlier one has written is gone.
    pub fn begin(&self, reply: ReplyId, attempt: u32) {
        self.with(reply, |sender| {
            sender.send_if_modified(|live| {
                let newer = attempt > live.attempt;
                if newer {
                    live.attempt = attempt;
                    live.text.clear();
                }
                newer
            });
        });
    }

    /// An attempt has written more; ignored when it is no longer the current one.
    pub fn push(&self, reply: ReplyId, attempt: u32, text: &str) {
        self.with(reply, |sender| {
            sender.send_if_modified(|live| {
                let current = attempt == live.attempt && live.ended.is_none();
                if current {
                    live.text.push_str(text);
                }
                current
            });
        });
    }

    /// Sends every follower away, because the process ends.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Release);
        let replies = self.replies.lock().unwrap_or_else(PoisonError::into_inner);
        for sender in replies.values() {
            sender.send_modify(|live| live.closing = true);
        }
    }

    /// How many replies are written or waited for.
    pub fn len(&self) -> usize {
        self.replies.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether nothing is written or waited for.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn with<T>(&self, reply: ReplyId, act: impl FnOnce(&watch::Sender<LiveReply>) -> T) -> T {
        let mut replies = self.replies.lock().unwrap_or_else(PoisonError::into_inner);
        act(replies.entry(reply).or_insert_with(|| watch::Sender::new(LiveReply::default())))
    }

    /// Takes ends from the log until `stop`.
    pub async fn run(self, tail: Tail, start: i64, stop: CancellationToken) {
        let mut subscription = tail.subscribe(start);
        loop {
            let events = tokio::select! {
                events = subscription.next(BATCH) => events,
                () = stop.cancelled() => return,
            };
            match events {
                Ok(events) => self.take(&events),
                Err(error) => {
                    tracing::error!(%error, "the live feed cannot read the log");
                    tokio::select! {
                        () = tokio::time::sleep(std::time::Duration::from_millis(250)) => {}
                        () = stop.cancelled() => return,
                    }
                }
            }
        }
    }

    fn take(&self, events: &[Arc<Recorded>]) {
        let mut replies = self.replies.lock().unwrap_or_else(PoisonError::into_inner);
        for recorded in events {
            match ended(&recorded.event) {
                Some(reply) => {
                    // Followers keep the last value; those who come later find the end in the read models.
                    if let Some(sender) = replies.remove(&reply) {
                        sender.send_modify(|live| live.ended = Some(recorded.position));
                    }
                }
                None => continue,
            }
        }
        // A running attempt follows its own reply, so whatever nobody follows is left over.
        replies.retain(|_, sender| sender.receiver_count() > 0);
        if let Some(last) = events.last() {
            self.position.store(last.position, Ordering::Release);
        }
        metrics::gauge!("verbatim_live_replies").set(replies.len() as f64);
    }
}

fn ended(event: &Event) -> Option<ReplyId> {
    match event {
        Event::Conversation(
            ConversationEvent::ReplyCompleted { reply_id, .. }
            | ConversationEvent::ReplyFailed { reply_id, .. }
            | ConversationEvent::ReplyCancelled { reply_id, .. },
        ) => Some(*reply_id),
        _ => None,
    }
}
