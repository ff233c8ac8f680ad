//! Following one reply from any point: what every streaming door sends, before it is put into the door's own words.

use std::time::Duration;

use aggregates::ids::ReplyId;
use projections::messages::query::MessageRow;
use projections::replies::query::ReplyRow;
use projections::{messages, query, registry, replies};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use uuid::Uuid;

use super::hub::{Hub, LiveReply};
use super::patience::Patience;
use super::{CATCH_UP, Stored};

/// How often a follower looks into the read models although nothing has come: what correctness rests on.
const LOOK: Duration = Duration::from_secs(5);

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
    hub: Hub,
    live: watch::Receiver<LiveReply>,
    stored: Stored,
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
    /// A look into the read models that is under way.
    looking: Option<JoinHandle<Result<Found, sqlx::Error>>>,
    patience: Patience,
}

impl ReplyFollower {
    /// Follows `reply` of `owner` from `at` on. The caller knows that it is the owner's; `asked` is the position at which
    /// it was asked for, when that was just now and the models may not show it yet.
    pub fn new(
        hub: &Hub,
        stored: Stored,
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
        let (done, looking, patience) = (false, None, Patience::default());
        let hub = hub.clone();
        Self { hub, live, stored, owner, reply, at, ready, done, look, look_at, asked, looking, patience }
    }

    /// Where the client stands after the frames handed out so far.
    pub fn at(&self) -> Resume {
        self.at
    }

    /// Waits for the next frame; none after the last one.
    ///
    /// # Errors
    /// The database's, when it has not answered for [`PATIENCE`](super::patience::PATIENCE): until then it is asked again, and
    /// what stands in memory goes on.
    pub async fn next(&mut self) -> Result<Option<Frame>, sqlx::Error> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                return Ok(Some(frame));
            }
            if self.done {
                return Ok(None);
            }
            if let Some(position) = self.look {
                self.stored.progress.wait(registry::CONVERSATION_MODELS, position, CATCH_UP).await;
                match self.finish().await {
                    Ok(true) => continue,
                    Ok(false) => self.patience.restore(),
                    Err(error) if self.patience.is_over() => return Err(error),
                    Err(error) => {
                        tracing::debug!(%error, "a reply is looked for again");
                        self.look_at = Instant::now() + CATCH_UP;
                    }
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
        let looking = self.looking.get_or_insert_with(|| {
            let look = look(self.stored.clone(), self.owner, self.reply, self.asked);
            self.stored.tasks.spawn(look)
        });
        let found = looking.await.unwrap_or(Err(sqlx::Error::WorkerCrashed));
        self.looking = None;
        match found? {
            Found::Running => return Ok(false),
            Found::Deleted => self.ready.push_back(Frame::Deleted),
            Found::Ended(ended) => {
                if let Some(text) = ended.answer.as_ref().and_then(|answer| answer.text.as_deref()) {
                    let attempts = ended.reply.attempts.as_array().map_or(0, Vec::len);
                    self.text(u32::try_from(attempts).unwrap_or(u32::MAX), text);
                }
                self.ready.push_back(Frame::End(ended));
            }
        }
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

impl Drop for ReplyFollower {
    fn drop(&mut self) {
        // Its own receiver must not count: another one takes its place.
        let unused = watch::Sender::new(LiveReply::default()).subscribe();
        self.hub.leave(self.reply, std::mem::replace(&mut self.live, unused));
    }
}

/// What the read models know of a reply.
#[derive(Debug)]
enum Found {
    /// It has not ended, or is not shown yet.
    Running,
    /// Its conversation was deleted.
    Deleted,
    /// It has.
    Ended(Box<Ended>),
}

async fn look(stored: Stored, owner: Uuid, reply: ReplyId, asked: i64) -> Result<Found, sqlx::Error> {
    let Stored { pool, progress, .. } = stored;
    // What is held in memory of how far they are may be a moment behind a crash of the database, after which they stand lower.
    let min_position = query::min_position(&pool, registry::CONVERSATION_MODELS).await?;
    let Some(reply) = replies::query::by_id(&pool, owner, reply.uuid()).await? else {
        // When the models have seen it asked for, the conversation was deleted, and the reply cancelled with it.
        return Ok(if min_position >= asked { Found::Deleted } else { Found::Running });
    };
    // Another model tells what was said; it may be a moment behind the one that tells that it has ended.
    if !reply.has_ended() || !progress.wait(&["messages"], reply.position, CATCH_UP).await {
        return Ok(Found::Running);
    }
    let answer = messages::query::by_id(&pool, reply.answer_id).await?;
    Ok(Found::Ended(Box::new(Ended { reply, answer })))
}
