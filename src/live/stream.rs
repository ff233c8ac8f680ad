//! Follows one reply from any point: the frames of every streaming surface, before they are encoded.

use std::time::Duration;

use aggregates::ids::ReplyId;
use projections::messages::query::MessageRow;
use projections::replies::query::ReplyRow;
use projections::{messages, query, registry, replies};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use uuid::Uuid;

use super::live_replies::{LiveReplies, LiveReply};
use super::retry_budget::RetryBudget;
use super::{CATCH_UP_TIMEOUT, ReadModels};

/// How often a follower polls the read models without any notification; correctness relies on this.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// What a client already has: the first `offset` bytes of attempt `attempt`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resume {
    /// Attempt that the client has text of; 0 for no text.
    pub attempt: u32,
    /// Bytes of that attempt's text that the client has.
    pub offset: usize,
}

/// One frame of a reply's stream.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    /// Discard the text so far: another attempt starts from the beginning.
    Restart {
        /// Attempt whose text follows.
        attempt: u32,
    },
    /// More text.
    Delta {
        /// Attempt that the text belongs to.
        attempt: u32,
        /// Bytes of that attempt's text up to the end of this delta.
        offset: usize,
        /// Text of the delta.
        text: String,
    },
    /// The reply has ended, completed or not. Last frame.
    End(Box<Ended>),
    /// The conversation was deleted and the reply cancelled with it; there is nothing left to load. Last frame.
    Deleted,
    /// The process is shutting down; the client should reconnect with its last id. Last frame.
    Closing,
}

/// Outcome of a reply.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// The reply with its provenance; `state` says how it ended.
    pub reply: ReplyRow,
    /// The answer, if one was stored.
    pub answer: Option<MessageRow>,
}

/// Produces the frames of one reply for one client.
#[derive(Debug)]
pub struct ReplyFollower {
    live_replies: LiveReplies,
    live: watch::Receiver<LiveReply>,
    read_models: ReadModels,
    owner: Uuid,
    reply: ReplyId,
    at: Resume,
    /// Frames ready for delivery, in order.
    ready: std::collections::VecDeque<Frame>,
    done: bool,
    /// Position that the read models must reach before the next query; `None` when no query is due.
    query_at: Option<i64>,
    /// Time of the next poll. A field, because callers may cancel a wait and call again.
    poll_at: Instant,
    /// Position at which the models show the reply: if it is missing there, it was deleted.
    requested_at: i64,
    /// A running query of the read models.
    querying: Option<JoinHandle<Result<ReplyStatus, sqlx::Error>>>,
    retry_budget: RetryBudget,
}

impl ReplyFollower {
    /// Follows `reply` of `owner` from `at` on. The caller has checked the ownership. `requested_at` is the position of the request,
    /// when it was made just now and the models may not show it yet.
    pub fn new(
        live_replies: &LiveReplies,
        read_models: ReadModels,
        owner: Uuid,
        reply: ReplyId,
        at: Resume,
        requested_at: Option<i64>,
    ) -> Self {
        // Subscribe first, query afterwards: an end in between is seen by one of the two.
        let live = live_replies.follow(reply);
        let query_at = Some(live_replies.position().max(requested_at.unwrap_or(0)));
        let ready = std::collections::VecDeque::new();
        let (poll_at, requested_at) = (Instant::now() + POLL_INTERVAL, requested_at.unwrap_or(0));
        let (done, querying, retry_budget) = (false, None, RetryBudget::default());
        let live_replies = live_replies.clone();
        Self {
            live_replies,
            live,
            read_models,
            owner,
            reply,
            at,
            ready,
            done,
            query_at,
            poll_at,
            requested_at,
            querying,
            retry_budget,
        }
    }

    /// Returns where the client is after the frames delivered so far.
    pub fn at(&self) -> Resume {
        self.at
    }

    /// Waits for the next frame; `None` after the last one.
    ///
    /// # Errors
    /// The database's, when it has failed for [`MAX_OUTAGE`](super::retry_budget::MAX_OUTAGE). Until then queries are retried,
    /// and text in memory is still delivered.
    pub async fn next(&mut self) -> Result<Option<Frame>, sqlx::Error> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                return Ok(Some(frame));
            }
            if self.done {
                return Ok(None);
            }
            if let Some(position) = self.query_at {
                self.read_models
                    .progress
                    .wait(registry::CONVERSATION_MODELS, position, CATCH_UP_TIMEOUT)
                    .await;
                match self.finish().await {
                    Ok(true) => continue,
                    Ok(false) => self.retry_budget.reset(),
                    Err(error) if self.retry_budget.is_exhausted() => return Err(error),
                    Err(error) => {
                        tracing::debug!(%error, "failed to query reply; retrying");
                        self.poll_at = Instant::now() + CATCH_UP_TIMEOUT;
                    }
                }
                self.query_at = None;
                if self.live.borrow().ended.is_some() {
                    // The reply has ended but the model that shows its outcome lags: query again after a pause.
                    tokio::time::sleep(CATCH_UP_TIMEOUT).await;
                }
            }
            let live = self.live.borrow_and_update().clone();
            if let Some(position) = live.ended {
                self.query_at = Some(position);
                continue;
            }
            // An attempt older than the client's means that the next one has not begun here yet.
            if live.attempt >= self.at.attempt {
                self.text(live.attempt, &live.text);
            }
            if live.closing && self.ready.is_empty() {
                self.done = true;
                return Ok(Some(Frame::Closing));
            }
            if self.ready.is_empty()
                && tokio::time::timeout_at(self.poll_at, self.live.changed()).await.is_err()
            {
                self.query_at = Some(self.requested_at);
                self.poll_at = Instant::now() + POLL_INTERVAL;
            }
        }
    }

    /// Queues the end, if the read models know it.
    async fn finish(&mut self) -> Result<bool, sqlx::Error> {
        let querying = self.querying.get_or_insert_with(|| {
            let query = query_status(self.read_models.clone(), self.owner, self.reply, self.requested_at);
            self.read_models.tasks.spawn(query)
        });
        let found = querying.await.unwrap_or(Err(sqlx::Error::WorkerCrashed));
        self.querying = None;
        match found? {
            ReplyStatus::Running => return Ok(false),
            ReplyStatus::Deleted => self.ready.push_back(Frame::Deleted),
            ReplyStatus::Ended(ended) => {
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

    /// Queues the part of an attempt's text that the client does not have.
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
            // We never issued this offset: start again.
            self.ready.push_back(Frame::Restart { attempt });
            self.at.offset = text.len();
            self.ready.push_back(Frame::Delta { attempt, offset: text.len(), text: text.to_owned() });
        }
    }
}

impl Drop for ReplyFollower {
    fn drop(&mut self) {
        // Replace the own receiver first, so that it does not count as a follower.
        let unused = watch::Sender::new(LiveReply::default()).subscribe();
        self.live_replies.leave(self.reply, std::mem::replace(&mut self.live, unused));
    }
}

/// State of a reply in the read models.
#[derive(Debug)]
enum ReplyStatus {
    /// Not ended, or not shown yet.
    Running,
    /// Deleted with its conversation.
    Deleted,
    /// Ended.
    Ended(Box<Ended>),
}

async fn query_status(
    read_models: ReadModels,
    owner: Uuid,
    reply: ReplyId,
    requested_at: i64,
) -> Result<ReplyStatus, sqlx::Error> {
    let ReadModels { pool, progress, .. } = read_models;
    // The progress in memory may be ahead for a moment after a database crash.
    let min_position = query::min_position(&pool, registry::CONVERSATION_MODELS).await?;
    let Some(reply) = replies::query::by_id(&pool, owner, reply.uuid()).await? else {
        // The models have passed the request, so the conversation was deleted and the reply cancelled with it.
        return Ok(if min_position >= requested_at { ReplyStatus::Deleted } else { ReplyStatus::Running });
    };
    // Answers are in another model, which may lag behind the one that shows the end.
    if !reply.has_ended() || !progress.wait(&["messages"], reply.position, CATCH_UP_TIMEOUT).await {
        return Ok(ReplyStatus::Running);
    }
    let answer = messages::query::by_id(&pool, reply.answer_id).await?;
    Ok(ReplyStatus::Ended(Box::new(Ended { reply, answer })))
}
