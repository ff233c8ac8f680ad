//! The replies that are being written or waited for in this process.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aggregates::Event;
use aggregates::conversation::ConversationEvent;
use aggregates::ids::ReplyId;
use projections::log::{Recorded, Tail};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::between::Between;
use super::next_events;
use super::sealed::Piece;

/// How long another process may take to tell what it has written.
const TELL: Duration = Duration::from_millis(200);

/// A reply as it stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LiveReply {
    /// The attempt that is being written; 0 before the first.
    pub attempt: u32,
    /// Its text so far.
    pub text: String,
    /// Whether this process writes it.
    pub here: bool,
    /// Position of the event that ended the reply.
    pub ended: Option<i64>,
    /// Whether the process is going down: clients are sent away to resume elsewhere.
    pub closing: bool,
}

/// The hub. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Hub {
    replies: Arc<Mutex<HashMap<ReplyId, watch::Sender<LiveReply>>>>,
    /// Other processes; none without NATS.
    between: Option<Between>,
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

    /// A hub that other processes take part in.
    pub fn shared(between: Between) -> Self {
        Self { between: Some(between), ..Self::default() }
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

    /// What has been written of a reply so far, wherever that is done. Waits a moment for another process to tell.
    pub async fn text(&self, reply: ReplyId) -> String {
        let mut live = self.follow(reply);
        if self.between.is_some() {
            let told = live.wait_for(|live| live.attempt > 0 || live.ended.is_some());
            // Nobody writes it, or whoever does says nothing.
            let _ = tokio::time::timeout(TELL, told).await;
        }
        live.borrow().text.clone()
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
                    live.here = true;
                }
                newer
            });
        });
    }

    /// An attempt has written more; ignored when it is no longer the current one.
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

    /// Takes what another process has written. False: what comes before it is missing.
    pub fn merge(&self, reply: ReplyId, piece: &Piece) -> bool {
        let mut whole = true;
        let replies = self.replies.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(sender) = replies.get(&reply) else { return true };
        sender.send_if_modified(|live| {
            if live.ended.is_some()
                || piece.attempt < live.attempt
                || (live.here && piece.attempt == live.attempt)
            {
                return false;
            }
            let newer = piece.attempt > live.attempt;
            if newer {
                live.attempt = piece.attempt;
                live.text.clear();
                live.here = false;
            }
            match live.text.len().checked_sub(piece.offset) {
                None => {
                    whole = false;
                    newer
                }
                Some(known) => match piece.text.get(known..).filter(|text| !text.is_empty()) {
                    Some(text) => {
                        live.text.push_str(text);
                        true
                    }
                    None => newer,
                },
            }
        });
        whole
    }

    /// Sends every follower away, because the process ends.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Release);
        let replies = self.replies.lock().unwrap_or_else(PoisonError::into_inner);
        for sender in replies.values() {
            sender.send_modify(|live| live.closing = true);
        }
    }

    /// A follower goes, and `live` with it: what nobody follows and nobody writes is forgotten.
    pub(super) fn leave(&self, reply: ReplyId, live: watch::Receiver<LiveReply>) {
        let mut replies = self.replies.lock().unwrap_or_else(PoisonError::into_inner);
        drop(live);
        if replies.get(&reply).is_some_and(|sender| sender.receiver_count() <= self.carriers()) {
            replies.remove(&reply);
        }
    }

    /// How many receivers a reply has that nobody follows.
    fn carriers(&self) -> usize {
        usize::from(self.between.is_some())
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
        act(replies.entry(reply).or_insert_with(|| {
            let sender = watch::Sender::new(LiveReply::default());
            if let Some(between) = &self.between {
                between.begin(self.clone(), reply, sender.subscribe());
            }
            sender
        }))
    }

    /// Takes ends from the log until `stop`.
    pub async fn run(self, tail: Tail, start: i64, stop: CancellationToken) {
        let mut subscription = tail.subscribe(start);
        while let Some(events) = next_events(&mut subscription, &stop).await {
            self.take(&events);
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
        let carried = self.carriers();
        replies.retain(|_, sender| sender.receiver_count() > carried);
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
