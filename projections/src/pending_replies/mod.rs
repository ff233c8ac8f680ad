//! Read model of pending replies: requested and not ended. The queue's source of truth.

pub mod query;

use std::sync::Arc;

use aggregates::Event;
use aggregates::conversation::{ConversationEvent, EventBody, ReplyEvent};
use sqlx::PgConnection;

use crate::runner::{ApplyFuture, Projection};
use event_store::RecordedEvent;

/// Writes the table `pending_replies`.
#[derive(Debug)]
pub struct PendingReplies;

impl Projection for PendingReplies {
    fn name(&self) -> &'static str {
        "pending_replies"
    }

    fn handles(&self, event: &Event) -> bool {
        match event {
            Event::Conversation(event) => matches!(event.body, EventBody::Reply { .. }),
            Event::User(_) | Event::Claim(_) | Event::Quiz(_) | Event::File(_) => false,
        }
    }

    fn tables(&self) -> &'static [&'static str] {
        &["pending_replies"]
    }

    fn apply<'a>(
        &'a self,
        connection: &'a mut PgConnection,
        events: &'a [Arc<RecordedEvent>],
    ) -> ApplyFuture<'a> {
        Box::pin(async move {
            for recorded in events {
                match &recorded.event {
                    Event::Conversation(event) => apply(connection, recorded.position, event).await?,
                    Event::User(_) | Event::Claim(_) | Event::Quiz(_) | Event::File(_) => {}
                }
            }
            Ok(())
        })
    }
}

async fn apply(
    connection: &mut PgConnection,
    position: i64,
    event: &ConversationEvent,
) -> Result<(), sqlx::Error> {
    let EventBody::Reply { message_id, reply_id, event: reply } = &event.body else { return Ok(()) };
    let query = match reply {
        ReplyEvent::ReplyRequested { model, interactive, deadline } => sqlx::query(
            "INSERT INTO pending_replies
                 (reply_id, conversation_id, owner, message_id, position, model, requested_at, deadline, attempt,
                  interactive)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9)",
        )
        .bind(reply_id.uuid())
        .bind(event.conversation_id.uuid())
        .bind(event.owner.uuid())
        .bind(message_id.uuid())
        .bind(position)
        .bind(model.as_deref())
        .bind(event.at)
        .bind(*deadline)
        .bind(*interactive),
        ReplyEvent::ReplyBegun { attempt, .. } => {
            sqlx::query("UPDATE pending_replies SET attempt = $2, not_before = NULL WHERE reply_id = $1")
                .bind(reply_id.uuid())
                .bind(i32::try_from(*attempt).unwrap_or(i32::MAX))
        }
        ReplyEvent::ReplyAttemptFailed { not_before, .. } => {
            sqlx::query("UPDATE pending_replies SET not_before = $2 WHERE reply_id = $1")
                .bind(reply_id.uuid())
                .bind(*not_before)
        }
        ReplyEvent::ReplyCompleted { .. }
        | ReplyEvent::ReplyFailed { .. }
        | ReplyEvent::ReplyCancelled { .. } => {
            sqlx::query("DELETE FROM pending_replies WHERE reply_id = $1").bind(reply_id.uuid())
        }
    };
    query.execute(connection).await?;
    Ok(())
}
