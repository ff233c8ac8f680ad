//! Projects branches: which there are, which rows each holds, and which rows are visible.
//!
//! A row belongs to the branch that was active when it was added. Visible is the path of the active branch: its own rows, and
//! those of its parent up to the fork, and so on. Rows off that path are flagged, so that every query for
//! visible rows has one plain condition. A message on several paths refers to the reply requested on the
//! active one.
//!
//! Visibility depends on branches, positions and the active branch only. It is updated once per batch, for the
//! branch that is active at its end: a row changes at most once however often a batch switches branches, and the result does not
//! depend on where batches end. So no write within a batch may depend on visibility.

use std::collections::{BTreeMap, BTreeSet};

use aggregates::conversation::{
    BranchEvent, ConversationEvent, EventBody, LifecycleEvent, MessageEvent, ReplyEvent,
};
use aggregates::ids::{MessageId, ReplyId};
use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::visibility::{self, on_path};

/// A branch that begins.
#[derive(Clone, Copy)]
struct Begun {
    /// Number and parent; `None` means the next number, forked from the branch of the message.
    numbered: Option<(i32, i32)>,
    message: MessageId,
    edited: bool,
    fork_position: i64,
    at: DateTime<Utc>,
}

/// Branch changes of a batch that are not written yet.
#[derive(Debug, Default)]
pub(super) struct BranchChanges {
    /// Active branch of each conversation that switched.
    active: BTreeMap<Uuid, i32>,
    /// Conversations in which a reply was regenerated.
    conversations_with_requests: BTreeSet<Uuid>,
    /// Deleted conversations. Rows that are added later belong to none of their branches.
    deleted: BTreeSet<Uuid>,
}

/// Whether an event reads or changes earlier message rows, which must be written first.
pub(super) fn reads_rows(event: &ConversationEvent) -> bool {
    match &event.body {
        EventBody::Branch(event) => match event {
            BranchEvent::BranchBegun { .. } | BranchEvent::ConversationRewound { .. } => true,
            BranchEvent::BranchSwitched { .. } => false,
        },
        EventBody::Message(event) => matches!(event, MessageEvent::FeedbackGiven { .. }),
        EventBody::Reply { message_id, reply_id, event } => {
            matches!(event, ReplyEvent::ReplyRequested { .. }) && is_again(*message_id, *reply_id)
        }
        EventBody::Lifecycle(_) | EventBody::Settings(_) | EventBody::Item(_) => false,
    }
}

/// Whether a reply is a regenerated one.
pub(super) fn is_again(message: MessageId, reply: ReplyId) -> bool {
    reply != ReplyId::of(message)
}

/// Converts a branch number to the column's type.
pub(crate) fn number(branch: u32) -> i32 {
    i32::try_from(branch).unwrap_or(i32::MAX)
}

impl BranchChanges {
    /// Returns the branch of a conversation's next row; `None` means the one stored as active.
    pub(super) fn branch_of(&self, conversation: Uuid) -> Option<i32> {
        if self.deleted.contains(&conversation) { Some(0) } else { self.active.get(&conversation).copied() }
    }

    /// Applies an event to the branches of its conversation. Most events change nothing.
    pub(super) async fn apply(
        &mut self,
        connection: &mut PgConnection,
        position: i64,
        event: &ConversationEvent,
    ) -> Result<(), sqlx::Error> {
        let &ConversationEvent { conversation_id, at, .. } = event;
        let conversation = conversation_id.uuid();
        match &event.body {
            EventBody::Branch(event) => match event {
                BranchEvent::BranchBegun { branch, parent, message_id, edited, fork_position, .. } => {
                    let begun = Begun {
                        numbered: Some((number(*branch), number(*parent))),
                        message: *message_id,
                        edited: *edited,
                        fork_position: *fork_position,
                        at,
                    };
                    self.begin(connection, conversation, position, begun).await
                }
                BranchEvent::ConversationRewound { message_id, message_position } => {
                    let begun = Begun {
                        numbered: None,
                        message: *message_id,
                        edited: false,
                        fork_position: *message_position,
                        at,
                    };
                    self.begin(connection, conversation, position, begun).await
                }
                BranchEvent::BranchSwitched { branch } => {
                    self.active.insert(conversation, number(*branch));
                    Ok(())
                }
            },
            EventBody::Reply { message_id, reply_id, event: ReplyEvent::ReplyRequested { model, .. } }
                if is_again(*message_id, *reply_id) =>
            {
                self.conversations_with_requests.insert(conversation);
                let active = self.branch_of(conversation);
                insert_reply_request(
                    connection,
                    (position, active),
                    (*message_id, *reply_id),
                    model.as_deref(),
                )
                .await
            }
            EventBody::Lifecycle(LifecycleEvent::ConversationDeleted {}) => {
                self.active.remove(&conversation);
                self.conversations_with_requests.remove(&conversation);
                self.deleted.insert(conversation);
                Ok(())
            }
            EventBody::Lifecycle(LifecycleEvent::ConversationStarted { .. })
            | EventBody::Settings(_)
            | EventBody::Message(_)
            | EventBody::Reply { .. }
            | EventBody::Item(_) => Ok(()),
        }
    }

    /// Begins a branch.
    async fn begin(
        &mut self,
        connection: &mut PgConnection,
        conversation: Uuid,
        position: i64,
        begun: Begun,
    ) -> Result<(), sqlx::Error> {
        sqlx::query(
            "INSERT INTO branches (conversation_id, branch, edited, shared, active) VALUES ($1, 0, false, 0, false)
             ON CONFLICT DO NOTHING",
        )
        .bind(conversation)
        .execute(&mut *connection)
        .await?;
        let (branch, parent) =
            match begun.numbered {
                Some(numbered) => numbered,
                None => sqlx::query_as(
                    "SELECT max(branch) + 1, coalesce((SELECT branch FROM messages WHERE message_id = $2), 0)
                     FROM branches WHERE conversation_id = $1",
                )
                .bind(conversation)
                .bind(begun.message.uuid())
                .fetch_one(&mut *connection)
                .await?,
            };
        // It shares the parent's current path up to the fork, without dropped calls.
        // Two partial indexes cover a conversation's rows, so each query uses both.
        sqlx::query(on_path!(
            ", shared AS (
                 SELECT r.id, r.position, r.said FROM path CROSS JOIN LATERAL (
                     SELECT message_id AS id, position, true AS said FROM messages
                     WHERE conversation_id = $1 AND is_active AND branch = path.branch
                         AND position > path.since AND position <= least(path.upto, $4)
                     UNION ALL
                     SELECT message_id, position, true FROM messages
                     WHERE conversation_id = $1 AND NOT is_active AND branch = path.branch
                         AND position > path.since AND position <= least(path.upto, $4)
                     UNION ALL
                     SELECT item_id, position, false FROM items
                     WHERE conversation_id = $1 AND is_active AND branch = path.branch
                         AND position > path.since AND position <= least(path.upto, $4)
                         AND kind <> 'note' AND status <> 'dropped'
                     UNION ALL
                     SELECT item_id, position, false FROM items
                     WHERE conversation_id = $1 AND NOT is_active AND branch = path.branch
                         AND position > path.since AND position <= least(path.upto, $4)
                         AND kind <> 'note' AND status <> 'dropped') AS r
             )
             INSERT INTO branches (conversation_id, branch, parent, fork_position, message_id, edited, forked_after, shared,
                                   position, created_at, active)
             SELECT $1, $3, $2, $4, $5, $6, (SELECT id FROM shared ORDER BY position DESC LIMIT 1),
                    (SELECT count(*) FROM shared WHERE said), $7, $8, false"
        ))
        .bind(conversation)
        .bind(parent)
        .bind(branch)
        // A fork is in the past: the result must not depend on later events.
        .bind(begun.fork_position.min(position - 1))
        .bind(begun.message.uuid())
        .bind(begun.edited)
        .bind(position)
        .bind(begun.at)
        .execute(connection)
        .await?;
        self.active.insert(conversation, branch);
        Ok(())
    }

    /// Stores the active branches and makes their paths visible.
    pub(super) async fn write(self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        for (conversation, branch) in &self.active {
            // In this order, since at most one branch may be active.
            for statement in [
                "UPDATE branches SET active = false WHERE conversation_id = $1 AND active AND branch <> $2",
                "UPDATE branches SET active = true WHERE conversation_id = $1 AND NOT active AND branch = $2",
            ] {
                sqlx::query(statement).bind(conversation).bind(branch).execute(&mut *connection).await?;
            }
            visibility::activate_path(connection, *conversation, *branch).await?;
        }
        for conversation in
            self.conversations_with_requests.iter().filter(|id| !self.active.contains_key(*id))
        {
            visibility::update_active_replies(connection, *conversation, None).await?;
        }
        Ok(())
    }
}

/// Records that a reply to a message was regenerated.
async fn insert_reply_request(
    connection: &mut PgConnection,
    (position, active): (i64, Option<i32>),
    (message, reply): (MessageId, ReplyId),
    model: Option<&str>,
) -> Result<(), sqlx::Error> {
    // The first reply was requested with the message.
    sqlx::query(
        "INSERT INTO reply_requests (conversation_id, message_id, position, branch, reply_id, model)
         SELECT conversation_id, message_id, position, branch, reply_id, requested_model FROM messages AS m
         WHERE message_id = $1 AND reply_id IS NOT NULL
             AND NOT EXISTS (SELECT FROM reply_requests AS a WHERE a.message_id = m.message_id)",
    )
    .bind(message.uuid())
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "INSERT INTO reply_requests (conversation_id, message_id, position, branch, reply_id, model)
         SELECT m.conversation_id, m.message_id, $4, coalesce($5, b.branch, 0), $2, $3
         FROM messages AS m LEFT JOIN branches AS b ON b.conversation_id = m.conversation_id AND b.active
         WHERE m.message_id = $1",
    )
    .bind(message.uuid())
    .bind(reply.uuid())
    .bind(model)
    .bind(position)
    .bind(active)
    .execute(connection)
    .await?;
    Ok(())
}

/// Deletes the branches of deleted conversations.
pub(super) async fn forget(connection: &mut PgConnection, conversations: &[Uuid]) -> Result<(), sqlx::Error> {
    for statement in [
        "DELETE FROM branches WHERE conversation_id = ANY($1)",
        "DELETE FROM reply_requests WHERE conversation_id = ANY($1)",
    ] {
        sqlx::query(statement).bind(conversations).execute(&mut *connection).await?;
    }
    Ok(())
}
