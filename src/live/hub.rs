//! The replies that are being written or waited for in this process.

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
        let replies = self.replies.lock();
        let Some(sender) = replies.get(&reply) else { return true };
        sender.send_if_modified(|live| {
            if live.ended.is_some()
                || piece.attempt < live.attempt
                || (live.here && piece.attempt == live.attempt)
            {
                return false;
            }
            // A newer attempt is taken up with its beginning only: whoever waits for one takes what is there for all of it.
            let newer = piece.attempt > live.attempt;
            let known = if newer { 0 } else { live.text.len() };
            let Some(overlap) = known.checked_sub(piece.offset) else {
                whole = false;
                return false;
            };
            if newer {
                live.attempt = piece.attempt;
                live.text.clear();
                live.here = false;
            }
            match piece.text.get(overlap..).filter(|text| !text.is_empty()) {
                Some(text) => {
                    live.text.push_str(text);
                    true
                }
                None => newer,
            }
        });
        whole
    }

    /// Sends every follower away, because the process ends.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Release);
        let replies = self.replies.lock();
        for sender in replies.values() {
            sender.send_modify(|live| live.closing = true);
        }
    }

    /// A follower goes, and `live` with it: what nobody follows and nobody writes is forgotten.
    pub(super) fn leave(&self, reply: ReplyId, live: watch::Receiver<LiveReply>) {
        let mut replies = self.replies.lock();
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
        self.replies.lock().len()
    }

    /// Whether nothing is written or waited for.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn with<T>(&self, reply: ReplyId, act: impl FnOnce(&watch::Sender<LiveReply>) -> T) -> T {
        let mut replies = self.replies.lock();
        act(replies.entry(reply).or_insert_with(|| {
            let sender = watch::Sender::new(LiveReply::default());
            if let Some(between) = &self.between {
                between.begin(self.clone(), reply, sender.subscribe());
            }
            sender
        }))
    }

    /// Takes ends from the log until `stop`.
    pub async fn run(self, tail: LogTail, start: i64, stop: CancellationToken) {
        let mut subscription = tail.subscribe(start);
        while let Some(events) = next_events(&mut subscription, &stop).await {
            self.take(&events);
        }
    }

    fn take(&self, events: &[Arc<RecordedEvent>]) {
        let mut replies = self.replies.lock();
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
        Event::Conversation(event) => event.ended_reply(),
        Event::User(_) | Event::Claim(_) | Event::Quiz(_) | Event::File(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn piece(attempt: u32, offset: usize, text: &str) -> Piece {
        Piece { attempt, offset, text: text.to_owned() }
    }

    /// A hub, and what a follower of its only reply sees.
    fn followed() -> (Hub, ReplyId, watch::Receiver<LiveReply>) {
        let (hub, reply) = (Hub::new(), ReplyId::new(Uuid::from_u128(1)));
        let live = hub.follow(reply);
        (hub, reply, live)
    }

    fn seen(live: &mut watch::Receiver<LiveReply>) -> (u32, String) {
        let live = live.borrow_and_update();
        (live.attempt, live.text.clone())
    }

    #[test]
    fn who_waits_for_text_from_elsewhere_is_not_woken_by_a_piece_out_of_its_middle() {
        let (hub, reply, mut live) = followed();
        assert!(!hub.merge(reply, &piece(1, 4, "two ")), "it is asked for what is missing");
        assert!(!live.has_changed().unwrap(), "woken with {:?}", seen(&mut live));
        assert!(hub.merge(reply, &piece(1, 0, "one two ")));
        assert_eq!(seen(&mut live), (1, "one two ".to_owned()));
        assert!(hub.merge(reply, &piece(1, 4, "two three")), "what is known of it is passed over");
        assert_eq!(seen(&mut live), (1, "one two three".to_owned()));
        assert!(!hub.merge(reply, &piece(1, 20, "six")));
        assert!(!live.has_changed().unwrap());
    }

    #[test]
    fn a_newer_attempt_is_asked_for_until_its_beginning_comes_and_replaces_the_older_one() {
        let (hub, reply, mut live) = followed();
        hub.begin(reply, 1);
        hub.push(reply, 1, "wrong");
        assert_eq!(seen(&mut live), (1, "wrong".to_owned()));
        for offset in [3, 5, 8] {
            assert!(!hub.merge(reply, &piece(2, offset, "two")), "from {offset} on");
            assert!(!live.has_changed().unwrap(), "woken with {:?}", seen(&mut live));
        }
        assert!(hub.merge(reply, &piece(2, 0, "one two")));
        hub.push(reply, 1, " still");
        assert_eq!(seen(&mut live), (2, "one two".to_owned()));
        assert!(!live.borrow().here);
        assert!(hub.merge(reply, &piece(3, 0, "")), "an attempt that has nothing yet");
        assert_eq!(seen(&mut live), (3, String::new()));
        assert!(hub.merge(reply, &piece(2, 7, " late")));
        assert!(!live.has_changed().unwrap());
    }
}
