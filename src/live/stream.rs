//! Following one reply from any point: what every streaming door sends, before it is put into the door's own words.

use std::time::Duration;

use aggregates::ids::ReplyId;
use projections::messages::query::MessageRow;
use projections::progress::Progress;
use projections::replies::query::ReplyRow;
use projections::warm_pool::WarmPool;
use projections::{messages, models, replies};
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

use super::hub::{Hub, LiveReply};

/// How often a follower looks into the read models although nothing has come: what correctness rests on.
const LOOK: Duration = Duration::from_secs(5);
/// How long the end of a stream waits for the read models.
pub const CATCH_UP: Duration = Duration::from_millis(300);

/// How far a client has got: it has the first `offset` bytes of attempt `attempt`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resume {
    /// Attempt it has text of; 0 when it has none.
    pub attempt: u32,
    /// Bytes of that attempt's text that it has.
    pub offset: usize,
}

/// One item of a reply's stream.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    /// What came so far is void: another attempt begins from the start.
    Restart {
        /// The attempt whose text follows.
        attempt: u32,
    },
    /// More text.
    Delta {
        /// The attempt it belongs to.
        attempt: u32,
        /// Bytes of that attempt's text up to the end of this piece.
        offset: usize,
        /// The piece.
        text: String,
    },
    /// The reply has ended, completed or not; nothing follows.
    End(Box<Ended>),
    /// Its conversation was deleted, and the reply cancelled with it; nothing follows, and nothing is left to be asked for.
    Deleted,
    /// This process goes down; the client should come back with its last id. Nothing follows.
    Closing,
}

/// How a reply ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// The reply with its provenance; `state` tells how it ended.
    pub reply: ReplyRow,
    /// The answer; none when nothing was kept.
    pub answer: Option<MessageRow>,
}

/// A client of one reply's stream.
#[derive(Debug)]
pub struct ReplyFollower {
    live: watch::Receiver<LiveReply>,
    pool: WarmPool,
    progress: Progress,
    owner: Uuid,
    reply: ReplyId,
    at: Resume,
    /// Frames that are ready, in order.
    ready: std::collections::VecDeque<Frame>,
    done: bool,
    /// The models have to be looked into before anything is waited for.
    look: Option<i64>,
    /// When to look into them although nothing has come. Kept here, because callers may give up a wait and come again.
    look_at: Instant,
    /// Where the models show the reply: when they have come so far and it is not there, it was deleted.
    asked: i64,
}

impl ReplyFollower {
    /// Follows `reply` of `owner` from `at` on. The caller knows that it is the owner's; `asked` is the position at which
    /// it was asked for, when that was just now and the models may not show it yet.
    pub fn new(
        hub: &Hub,
        pool: WarmPool,
        progress: Progress,
        owner: Uuid,
        reply: ReplyId,
        at: Resume,
        asked: Option<i64>,
    ) -> Self {
        // Followed first, looked up afterwards: an end between the two is seen by one of them.
        let live = hub.follow(reply);
        let look = Some(hub.position().max(asked.unwrap_or(0)));
        let ready = std::collections::VecDeque::new();
        let (look_at, asked) = (Instant::now() + LOOK, asked.unwrap_or(0));
        Self { live, pool, progress, owner, reply, at, ready, done: false, look, look_at, asked }
    }

    /// Where the client stands after the frames handed out so far.
    pub fn at(&self) -> Resume {
        self.at
    }

    /// Waits for the next frame; none after the last one.
    ///
    /// # Errors
    /// Those of the database. The follower can be asked again.
    pub async fn next(&mut self) -> Result<Option<Frame>, sqlx::Error> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                return Ok(Some(frame));
            }
            if self.done {
                return Ok(None);
            }
            if let Some(position) = self.look {
                self.progress.wait(models::CONVERSATION_MODELS, position, CATCH_UP).await;
                if self.finish().await? {
                    continue;
                }
                self.look = None;
                if self.live.borrow().ended.is_some() {
                    // It has ended, and the model that would tell how is held up: look again, but not without pause.
                    tokio::time::sleep(CATCH_UP).await;
                }
            }
            let live = self.live.borrow_and_update().clone();
            if let Some(position) = live.ended {
                self.look = Some(position);
                continue;
            }
            // An older attempt than the client's: the next one has not begun here yet.
            if live.attempt >= self.at.attempt {
                self.text(live.attempt, &live.text);
            }
            if live.closing && self.ready.is_empty() {
                self.done = true;
                return Ok(Some(Frame::Closing));
            }
            if self.ready.is_empty()
                && tokio::time::timeout_at(self.look_at, self.live.changed()).await.is_err()
            {
                self.look = Some(self.asked);
                self.look_at = Instant::now() + LOOK;
            }
        }
    }

    /// Puts the end on the way, if the read models know it.
    async fn finish(&mut self) -> Result<bool, sqlx::Error> {
        let Some(reply) = replies::query::by_id(&self.pool, self.owner, self.reply.uuid()).await? else {
            // The models have seen it asked for: the conversation was deleted, and the reply cancelled with it.
            self.done = self
                .progress
                .all()
                .iter()
                .filter(|(name, ..)| models::CONVERSATION_MODELS.contains(name))
                .all(|(_, position, _)| *position >= self.asked);
            if self.done {
                self.ready.push_back(Frame::Deleted);
            }
            return Ok(self.done);
        };
        if !reply.has_ended() {
            return Ok(false);
        }
        // Another model tells what was said; it may be a moment behind the one that tells that it has ended.
        if !self.progress.wait(&["messages"], reply.position, CATCH_UP).await {
            return Ok(false);
        }
        let answer = messages::query::by_id(&self.pool, reply.answer_id).await?;
        if let Some(text) = answer.as_ref().and_then(|answer| answer.text.as_deref()) {
            let attempts = reply.attempts.as_array().map_or(0, Vec::len);
            self.text(u32::try_from(attempts).unwrap_or(u32::MAX), text);
        }
        self.ready.push_back(Frame::End(Box::new(Ended { reply, answer })));
        self.done = true;
        Ok(true)
    }

    /// Puts on the way what the client does not have of an attempt's text.
    fn text(&mut self, attempt: u32, text: &str) {
        if attempt != self.at.attempt {
            if self.at.attempt != 0 {
                self.ready.push_back(Frame::Restart { attempt });
            }
            self.at = Resume { attempt, offset: 0 };
        }
        if let Some(rest) = text.get(self.at.offset..).filter(|rest| !rest.is_empty()) {
            self.at.offset = text.len();
            self.ready.push_back(Frame::Delta { attempt, offset: text.len(), text: rest.to_owned() });
        } else if !text.is_char_boundary(self.at.offset.min(text.len())) {
            // An offset that we never gave out: begin again.
            self.ready.push_back(Frame::Restart { attempt });
            self.at.offset = text.len();
            self.ready.push_back(Frame::Delta { attempt, offset: text.len(), text: text.to_owned() });
        }
    }
}
