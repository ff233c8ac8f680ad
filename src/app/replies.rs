//! Replies: following one, awaiting its end, cancelling it, and its provenance.

use std::time::Duration;

use aggregates::Personal;
use aggregates::conversation::{Conversation, ConversationCommand};
use aggregates::ids::ReplyId;
use aggregates::values::ReplyText;
use projections::replies::query::ReplyRow;
use projections::{models, replies};
use serde_json::json;
use uuid::Uuid;

use super::{Actor, App, AppError, Kind, RequestContext};
use crate::live::stream::Ended;
use crate::live::{Frame, ReplyFollower, Resume};
use event_store::CommandBatch;

impl App {
    /// A reply of the actor's, with its provenance.
    ///
    /// # Errors
    /// `NotFound`, or the database's.
    pub async fn reply(&self, actor: Actor, reply: ReplyId) -> Result<ReplyRow, AppError> {
        replies::query::by_id(&self.parts.pool, actor.user.uuid(), reply.uuid())
            .await?
            .ok_or_else(AppError::not_found)
    }

    /// Follows a reply of the actor's. `asked` is the position at which it was asked for, when that was just now.
    pub fn follow(&self, actor: Actor, reply: ReplyId, from: Resume, asked: Option<i64>) -> ReplyFollower {
        let parts = &self.parts;
        ReplyFollower::new(&parts.hub, parts.stored(), actor.user.uuid(), reply, from, asked)
    }

    /// Waits for the end of a reply, at most as long as requests may wait; none when it takes longer.
    ///
    /// # Errors
    /// `NotFound` when its conversation is deleted; the database's.
    pub async fn await_reply(
        &self,
        actor: Actor,
        reply: ReplyId,
        asked: Option<i64>,
    ) -> Result<Option<Box<Ended>>, AppError> {
        let mut follower = self.follow(actor, reply, Resume::default(), asked);
        let ended = async {
            while let Some(frame) = follower.next().await? {
                match frame {
                    Frame::End(ended) => return Ok(Some(ended)),
                    Frame::Closing => return Ok(None),
                    Frame::Deleted => return Err(AppError::not_found()),
                    Frame::Restart { .. } | Frame::Delta { .. } => {}
                }
            }
            Ok(None)
        };
        match tokio::time::timeout(self.parts.settings.reply_wait, ended).await {
            Ok(ended) => ended,
            Err(_) => Ok(None),
        }
    }

    /// Cancels a reply, keeping what has come so far. Cancelling it again changes nothing.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when it has ended otherwise, or was cancelled and its conversation deleted since; those of
    /// the log.
    pub async fn cancel_reply(
        &self,
        request: &RequestContext,
        actor: Actor,
        reply: ReplyId,
    ) -> Result<(ReplyRow, Option<i64>), AppError> {
        let parts = &self.parts;
        let key = request.key_of(actor.user);
        let conversation: Uuid = match (self.reply(actor, reply).await, &key) {
            (Ok(row), _) => row.conversation_id,
            // A repetition is answered for what the first one did, although there is nothing left to look at.
            (Err(error), Some(key)) if error.kind == Kind::NotFound => {
                return Err(match parts.executor.repeated(key).await? {
                    Some(outcome) => self.unseen(error, outcome.position),
                    None => error,
                });
            }
            (Err(error), _) => return Err(error),
        };
        let so_far = parts.hub.text(reply).await;
        let text = if so_far.is_empty() { None } else { ReplyText::parse(&so_far).ok().map(Personal::Known) };
        let command = ConversationCommand::CancelReply {
            reply_id: reply,
            by: actor.user,
            text,
            note: None,
            at: parts.clock.now(),
        };
        let batch = CommandBatch::new(actor.user.uuid(), request.metadata(Some(actor.user), &parts.clock))
            .command::<Conversation>(conversation, command)
            .with_key(key, json!({"reply_id": reply}));
        let outcome = parts.executor.run(batch).await?;
        self.catch_up(models::CONVERSATION_MODELS, outcome.position).await;
        match self.reply(actor, reply).await {
            Ok(row) => Ok((row, outcome.position)),
            Err(error) => Err(self.unseen(error, outcome.position)),
        }
    }

    /// From a request to the end of its reply, at most.
    pub fn reply_deadline(&self) -> Duration {
        self.parts.settings.reply_deadline
    }
}
