//! Read model of the provenance of every reply: request, inputs, attempts, usage and cost.

pub mod query;

use std::sync::Arc;

use aggregates::Event;
use aggregates::conversation::{ConversationEvent, EventBody, FailureReason, LifecycleEvent, ReplyEvent};
use aggregates::ids::{MessageId, ReplyId};
use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::PgConnection;
use sqlx::types::Json;

use crate::runner::{ApplyFuture, Projection};
use event_store::RecordedEvent;

/// Writes the table `replies`.
#[derive(Debug)]
pub struct Replies;

impl Projection for Replies {
    fn name(&self) -> &'static str {
        "replies"
    }

    fn handles(&self, event: &Event) -> bool {
        match event {
            Event::Conversation(event) => matches!(
                event.body,
                EventBody::Reply { .. } | EventBody::Lifecycle(LifecycleEvent::ConversationDeleted {})
            ),
            Event::User(_) | Event::Claim(_) | Event::Quiz(_) | Event::File(_) => false,
        }
    }

    fn tables(&self) -> &'static [&'static str] {
        &["replies"]
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
    match &event.body {
        EventBody::Reply { message_id, reply_id, event: reply } => {
            apply_reply(connection, position, event, (*message_id, *reply_id), reply).await
        }
        EventBody::Lifecycle(LifecycleEvent::ConversationDeleted {}) => {
            // The log keeps the events of a deleted conversation; the read model drops the rows.
            sqlx::query("DELETE FROM replies WHERE conversation_id = $1")
                .bind(event.conversation_id.uuid())
                .execute(connection)
                .await?;
            Ok(())
        }
        EventBody::Lifecycle(LifecycleEvent::ConversationStarted { .. })
        | EventBody::Settings(_)
        | EventBody::Message(_)
        | EventBody::Branch(_)
        | EventBody::Item(_) => Ok(()),
    }
}

async fn apply_reply(
    connection: &mut PgConnection,
    position: i64,
    &ConversationEvent { conversation_id, owner, at, .. }: &ConversationEvent,
    (message_id, reply_id): (MessageId, ReplyId),
    event: &ReplyEvent,
) -> Result<(), sqlx::Error> {
    let query = match event {
        ReplyEvent::ReplyRequested { model, .. } => {
            sqlx::query(
                "INSERT INTO replies (reply_id, conversation_id, owner, message_id, answer_id, state, requested_model,
                                      attempts, requested_at, position)
                 VALUES ($1, $2, $3, $4, $5, 'requested', $6, '[]', $7, $8)",
            )
            .bind(reply_id.uuid())
            .bind(conversation_id.uuid())
            .bind(owner.uuid())
            .bind(message_id.uuid())
            .bind(MessageId::answering(reply_id).uuid())
            .bind(model.as_deref())
            .bind(at)
            .bind(position)
        }
        ReplyEvent::ReplyBegun { attempt, plan } => sqlx::query(
            "UPDATE replies SET state = 'begun', attempts = attempts || $2, position = $3 WHERE reply_id = $1",
        )
        .bind(reply_id.uuid())
        .bind(Json(json!([{"attempt": attempt, "begun_at": at, "plan": plan}])))
        .bind(position),
        ReplyEvent::ReplyAttemptFailed { attempt, reason, not_before } => {
            // The end goes into the attempt's own entry.
            sqlx::query(
                "UPDATE replies SET state = 'requested', position = $4, attempts = jsonb_set(attempts, $2,
                        coalesce(attempts #> $2, '{}') || $3)
                 WHERE reply_id = $1",
            )
            .bind(reply_id.uuid())
            .bind(place(*attempt))
            .bind(Json(json!({"failed_at": at, "failure": reason, "next_not_before": not_before})))
            .bind(position)
        }
        ReplyEvent::ReplyCompleted {
            attempt,
            items,
            finish,
            usage,
            timings,
            model,
            provider_reply_id,
            ..
        } => sqlx::query(
            "UPDATE replies SET state = 'completed', finish = $2, usage = $3, timings = $4, model = $5,
                    provider_reply_id = $6, ended_at = $7, position = $8, items = $9,
                    attempts = CASE WHEN attempts #> $10 IS NULL THEN attempts
                                    ELSE jsonb_set(attempts, $10, attempts #> $10 || $11) END
             WHERE reply_id = $1",
        )
        .bind(reply_id.uuid())
        .bind(finish.as_str())
        .bind(Json(usage))
        .bind(Json(timings))
        .bind(model.as_str())
        .bind(provider_reply_id.as_deref())
        .bind(at)
        .bind(position)
        .bind(Json(items))
        .bind(place(*attempt))
        .bind(Json(json!({"completed_at": at}))),
        ReplyEvent::ReplyFailed { attempt, reason, .. } => {
            ended("failed", reply_id, *attempt, Some(*reason), at, position)
        }
        ReplyEvent::ReplyCancelled { attempt, .. } => {
            ended("cancelled", reply_id, *attempt, None, at, position)
        }
    };
    query.execute(connection).await?;
    Ok(())
}

/// Path of an attempt in the list; attempts are counted from 1.
fn place(attempt: u32) -> Vec<String> {
    vec![attempt.saturating_sub(1).to_string()]
}

/// Ends a reply without an answer, and its last attempt unless that failed before.
fn ended<'q>(
    state: &'static str,
    reply: ReplyId,
    attempt: u32,
    reason: Option<FailureReason>,
    at: DateTime<Utc>,
    position: i64,
) -> sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments> {
    let end = match reason {
        Some(reason) => json!({"failed_at": at, "failure": reason}),
        None => json!({"cancelled_at": at}),
    };
    sqlx::query(
        "UPDATE replies SET state = $2, failure = $3, ended_at = $4, position = $5,
                attempts = CASE WHEN attempts #> $6 IS NULL OR attempts #> $6 ? 'failed_at' THEN attempts
                                ELSE jsonb_set(attempts, $6, attempts #> $6 || $7) END
         WHERE reply_id = $1",
    )
    .bind(reply.uuid())
    .bind(state)
    .bind(reason.map(FailureReason::as_str))
    .bind(at)
    .bind(position)
    .bind(place(attempt))
    .bind(Json(end))
}
