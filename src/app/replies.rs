//! Replies: provenance, following, awaiting the end, cancelling.

use std::time::Duration;

use aggregates::Personal;
use aggregates::conversation::{Conversation, ConversationCommand};
use aggregates::ids::{ConversationId, MessageId, ReplyId};
use aggregates::values::ReplyText;
use projections::replies::query::ReplyRow;
use projections::{registry, replies};
use serde_json::json;
use uuid::Uuid;

use super::{Actor, AppError, Core, Kind, RequestContext};
use crate::live::stream::Ended;
use crate::live::{Frame, LiveReplies, ReadModels, ReplyFollower, Resume};

/// Note for the model after a user has stopped an answer.
const STOPPED_NOTE: &str =
    "The person stopped the answer before it was complete. Do not go on with it unless asked to.";

/// Following, awaiting and cancelling replies.
pub struct ReplyService {
    /// The log, the read models, time and ids.
    pub core: Core,
    /// Replies that are being written.
    pub live_replies: LiveReplies,
    /// Read models for those who follow a reply.
    pub read_models: ReadModels,
    /// How long a request waits for the end of its reply.
    pub reply_wait: Duration,
}

impl ReplyService {
    /// Returns a reply of the actor, with its provenance.
    ///
    /// # Errors
    /// `NotFound`, or the database's.
    pub async fn reply(&self, actor: Actor, reply: ReplyId) -> Result<ReplyRow, AppError> {
        replies::query::by_id(&self.core.pool, actor.user.uuid(), reply.uuid())
            .await?
            .ok_or_else(AppError::not_found)
    }

    /// Follows a reply of the actor. `asked` is the position of its request, if it was requested just now.
    pub fn follow(&self, actor: Actor, reply: ReplyId, from: Resume, asked: Option<i64>) -> ReplyFollower {
        ReplyFollower::new(
            &self.live_replies,
            self.read_models.clone(),
            actor.user.uuid(),
            reply,
            from,
            asked,
        )
    }

    /// Waits for the end of a reply, at most [`Self::reply_wait`]; `None` if it takes longer.
    ///
    /// # Errors
    /// `NotFound` if its conversation is deleted; the database's.
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
        match tokio::time::timeout(self.reply_wait, ended).await {
            Ok(ended) => ended,
            Err(_) => Ok(None),
        }
    }

    /// Cancels a reply, keeping its partial text. Cancelling it again changes nothing.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` if it has ended otherwise, or was cancelled and its conversation deleted since; those of the
    /// log.
    pub async fn cancel_reply(
        &self,
        request: &RequestContext,
        actor: Actor,
        reply: ReplyId,
    ) -> Result<(ReplyRow, Option<i64>), AppError> {
        let key = request.key_of(actor.user);
        let conversation: Uuid = match (self.reply(actor, reply).await, &key) {
            (Ok(row), _) => row.conversation_id,
            // A repetition returns the first outcome, although the reply is no longer visible.
            (Err(error), Some(key)) if error.kind == Kind::NotFound => {
                return Err(match self.core.executor.repeated(key).await? {
                    Some(outcome) => self.core.unseen(error, outcome.position),
                    None => error,
                });
            }
            (Err(error), _) => return Err(error),
        };
        let partial = self.live_replies.text(reply).await;
        let text =
            if partial.is_empty() { None } else { ReplyText::parse(&partial).ok().map(Personal::Known) };
        let command = ConversationCommand::CancelReply {
            reply_id: reply,
            by: actor.user,
            text,
            note: None,
            at: self.core.clock.now(),
        };
        let batch = self
            .core
            .batch(request, actor.user)
            .command::<Conversation>(conversation, command)
            .with_key(key, json!({"reply_id": reply}));
        let outcome = self.core.executor.run(batch).await?;
        self.core.catch_up(registry::CONVERSATION_MODELS, outcome.position).await;
        match self.reply(actor, reply).await {
            Ok(row) => Ok((row, outcome.position)),
            Err(error) => Err(self.core.unseen(error, outcome.position)),
        }
    }

    /// Cancels a reply whose client has disconnected, keeping the text that was sent, with a note for the model under the id
    /// `note`. Does nothing if the reply has ended.
    ///
    /// # Errors
    /// Those of the log.
    pub async fn cancel_on_disconnect(
        &self,
        request: &RequestContext,
        actor: Actor,
        (conversation, reply): (ConversationId, ReplyId),
        read: &str,
        note: MessageId,
    ) -> Result<(), AppError> {
        let (by, at) = (actor.user, self.core.clock.now());
        let text = ReplyText::parse(read).ok().filter(|_| !read.trim().is_empty()).map(Personal::Known);
        let note = Some((note, Personal::Known(STOPPED_NOTE.to_owned())));
        let command = ConversationCommand::CancelReply { reply_id: reply, by, text, note, at };
        let batch = self.core.batch(request, actor.user).command::<Conversation>(conversation, command);
        match self.core.executor.run(batch).await.map_err(AppError::from) {
            Ok(_) => Ok(()),
            Err(error) if matches!(error.kind, Kind::NotFound | Kind::Conflict) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
