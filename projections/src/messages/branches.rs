//! The writing side of branches: which there are, which rows stand on which, and which of them are shown.
//!
//! A row stands on the branch that was active when it came. What is shown is the path of the active branch: its own rows, and
//! those of the branch that it forks from up to the fork, and so on. Rows off that path carry the position of the event that
//! took them off it, so that every query for what is shown has one plain condition. A message on several paths names the reply
//! that it was asked for on the one that is shown.

use aggregates::conversation::ConversationEvent;
use aggregates::ids::{MessageId, ReplyId};
use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

/// The path of branch $2 of conversation $1: branches, and up to which position each belongs to it.
macro_rules! on_path {
    ($statement:literal) => {
        concat!(
            "WITH RECURSIVE path (branch, parent, fork_position, upto) AS (
                 SELECT branch, parent, fork_position, 9223372036854775807 FROM branches
                 WHERE conversation_id = $1 AND branch = $2
                 UNION ALL
                 SELECT b.branch, b.parent, b.fork_position, least(path.upto, path.fork_position)
                 FROM path JOIN branches AS b ON b.conversation_id = $1 AND b.branch = path.parent
             ) ",
            $statement
        )
    };
}
pub(super) use on_path;

/// Another branch.
struct Begun {
    /// None: the next one, which forks from the branch that the message stands on.
    numbered: Option<(i32, i32)>,
    message: MessageId,
    edited: bool,
    fork_position: i64,
    at: DateTime<Utc>,
}

/// Writes what an event does to the branches of a conversation; nothing for most events.
pub(super) async fn apply(
    connection: &mut PgConnection,
    position: i64,
    event: &ConversationEvent,
) -> Result<(), sqlx::Error> {
    let conversation = event.conversation_id().uuid();
    match event {
        ConversationEvent::BranchBegun { branch, parent, message_id, edited, fork_position, at, .. } => {
            let begun = Begun {
                numbered: Some((number(*branch), number(*parent))),
                message: *message_id,
                edited: *edited,
                fork_position: *fork_position,
                at: *at,
            };
            begin(connection, conversation, position, begun).await
        }
        ConversationEvent::ConversationRewound { message_id, message_position, at, .. } => {
            let begun = Begun {
                numbered: None,
                message: *message_id,
                edited: false,
                fork_position: *message_position,
                at: *at,
            };
            begin(connection, conversation, position, begun).await
        }
        ConversationEvent::BranchSwitched { branch, .. } => {
            switch(connection, conversation, position, number(*branch)).await
        }
        ConversationEvent::ReplyRequested { message_id, reply_id, model, .. }
            if is_again(*message_id, *reply_id) =>
        {
            asked_again(connection, position, (*message_id, *reply_id), model.as_deref()).await
        }
        ConversationEvent::ConversationStarted { .. }
        | ConversationEvent::ConversationRenamed { .. }
        | ConversationEvent::ConversationPinned { .. }
        | ConversationEvent::ConversationUnpinned { .. }
        | ConversationEvent::ConversationArchived { .. }
        | ConversationEvent::ConversationUnarchived { .. }
        | ConversationEvent::ConversationRead { .. }
        | ConversationEvent::ConversationDeleted { .. }
        | ConversationEvent::MessageSent { .. }
        | ConversationEvent::ReplyRequested { .. }
        | ConversationEvent::ReplyBegun { .. }
        | ConversationEvent::ReplyAttemptFailed { .. }
        | ConversationEvent::ReplyCompleted { .. }
        | ConversationEvent::ReplyFailed { .. }
        | ConversationEvent::ReplyCancelled { .. }
        | ConversationEvent::ClientToolCalled { .. }
        | ConversationEvent::ClientToolAnswered { .. }
        | ConversationEvent::ClientToolDropped { .. }
        | ConversationEvent::InputRequested { .. }
        | ConversationEvent::InputAnswered { .. }
        | ConversationEvent::WidgetShown { .. }
        | ConversationEvent::NoteAdded { .. }
        | ConversationEvent::FeedbackGiven { .. } => Ok(()),
    }
}

/// Whether it is another reply than the first one to a message.
pub(super) fn is_again(message: MessageId, reply: ReplyId) -> bool {
    reply != ReplyId::of(message)
}

/// A branch's number in a column.
pub(crate) fn number(branch: u32) -> i32 {
    i32::try_from(branch).unwrap_or(i32::MAX)
}

async fn begin(
    connection: &mut PgConnection,
    conversation: Uuid,
    position: i64,
    begun: Begun,
) -> Result<(), sqlx::Error> {
    // A fork is in the past. What an event says must not depend on what comes after it.
    let fork_position = begun.fork_position.min(position - 1);
    sqlx::query(
        "INSERT INTO branches (conversation_id, branch, edited, shared, active) VALUES ($1, 0, false, 0, true)
         ON CONFLICT DO NOTHING",
    )
    .bind(conversation)
    .execute(&mut *connection)
    .await?;
    let (branch, parent) = match begun.numbered {
        Some(numbered) => numbered,
        None => {
            sqlx::query_as(
                "SELECT max(branch) + 1, coalesce((SELECT branch FROM messages WHERE message_id = $2), 0)
                 FROM branches WHERE conversation_id = $1",
            )
            .bind(conversation)
            .bind(begun.message.uuid())
            .fetch_one(&mut *connection)
            .await?
        }
    };
    sqlx::query("UPDATE branches SET active = false WHERE conversation_id = $1 AND active")
        .bind(conversation)
        .execute(&mut *connection)
        .await?;
    sqlx::query(
        "INSERT INTO branches (conversation_id, branch, parent, fork_position, message_id, edited, shared, position,
                               created_at, active)
         VALUES ($1, $2, $3, $4, $5, $6, 0, $7, $8, true)",
    )
    .bind(conversation)
    .bind(branch)
    .bind(parent)
    .bind(fork_position)
    .bind(begun.message.uuid())
    .bind(begun.edited)
    .bind(position)
    .bind(begun.at)
    .execute(&mut *connection)
    .await?;
    show(connection, conversation, position, branch).await?;
    // Nothing is its own yet: what is shown is what it shares.
    sqlx::query(
        "UPDATE branches SET
             forked_after = (SELECT id FROM (
                 (SELECT message_id AS id, position FROM messages
                  WHERE conversation_id = $1 AND position < $3 AND left_at IS NULL ORDER BY position DESC LIMIT 1)
                 UNION ALL
                 (SELECT item_id, position FROM items
                  WHERE conversation_id = $1 AND position < $3 AND left_at IS NULL AND kind <> 'note'
                      AND status <> 'dropped'
                  ORDER BY position DESC LIMIT 1)) AS shared ORDER BY position DESC LIMIT 1),
             shared = (SELECT count(*) FROM messages
                       WHERE conversation_id = $1 AND position < $3 AND left_at IS NULL)
         WHERE conversation_id = $1 AND branch = $2",
    )
    .bind(conversation)
    .bind(branch)
    .bind(position)
    .execute(connection)
    .await?;
    Ok(())
}

async fn switch(
    connection: &mut PgConnection,
    conversation: Uuid,
    position: i64,
    branch: i32,
) -> Result<(), sqlx::Error> {
    // One after the other: there is never more than one.
    for statement in [
        "UPDATE branches SET active = false WHERE conversation_id = $1 AND active AND branch <> $2",
        "UPDATE branches SET active = true WHERE conversation_id = $1 AND branch = $2",
    ] {
        sqlx::query(statement).bind(conversation).bind(branch).execute(&mut *connection).await?;
    }
    show(connection, conversation, position, branch).await?;
    // A message that was asked again names the reply that it was asked for on this path.
    sqlx::query(on_path!(
        "UPDATE messages AS m SET reply_id = a.reply_id, wished_model = a.model
         FROM (SELECT DISTINCT ON (a.message_id) a.message_id, a.reply_id, a.model
               FROM asked_again AS a JOIN path ON path.branch = a.branch AND a.position <= path.upto
               WHERE a.conversation_id = $1 ORDER BY a.message_id, a.position DESC) AS a
         WHERE m.message_id = a.message_id"
    ))
    .bind(conversation)
    .bind(branch)
    .execute(connection)
    .await?;
    Ok(())
}

/// Has the path of a branch shown, of all that stands before a position; what comes after it stands on that branch.
async fn show(
    connection: &mut PgConnection,
    conversation: Uuid,
    position: i64,
    branch: i32,
) -> Result<(), sqlx::Error> {
    for statement in [
        on_path!(
            "UPDATE messages AS m SET left_at = $3
             WHERE m.conversation_id = $1 AND m.position < $3 AND m.left_at IS NULL
                 AND NOT EXISTS (SELECT FROM path WHERE path.branch = m.branch AND m.position <= path.upto)"
        ),
        on_path!(
            "UPDATE messages AS m SET left_at = NULL FROM path
             WHERE m.conversation_id = $1 AND m.position < $3 AND m.left_at IS NOT NULL
                 AND path.branch = m.branch AND m.position <= path.upto"
        ),
        on_path!(
            "UPDATE items AS i SET left_at = $3
             WHERE i.conversation_id = $1 AND i.position < $3 AND i.left_at IS NULL
                 AND NOT EXISTS (SELECT FROM path WHERE path.branch = i.branch AND i.position <= path.upto)"
        ),
        on_path!(
            "UPDATE items AS i SET left_at = NULL FROM path
             WHERE i.conversation_id = $1 AND i.position < $3 AND i.left_at IS NOT NULL
                 AND path.branch = i.branch AND i.position <= path.upto"
        ),
    ] {
        sqlx::query(statement)
            .bind(conversation)
            .bind(branch)
            .bind(position)
            .execute(&mut *connection)
            .await?;
    }
    // Rows that come after the event may be in this batch already.
    sqlx::query(
        "UPDATE messages SET branch = $3 WHERE conversation_id = $1 AND position > $2 AND left_at IS NULL",
    )
    .bind(conversation)
    .bind(position)
    .bind(branch)
    .execute(connection)
    .await?;
    Ok(())
}

/// Notes that a message was asked again: another reply than its first one.
async fn asked_again(
    connection: &mut PgConnection,
    position: i64,
    (message, reply): (MessageId, ReplyId),
    model: Option<&str>,
) -> Result<(), sqlx::Error> {
    for statement in [
        // The first reply was asked for with the message.
        "INSERT INTO asked_again (conversation_id, message_id, position, branch, reply_id, model)
         SELECT conversation_id, message_id, position, branch, reply_id, wished_model FROM messages
         WHERE message_id = $1 AND reply_id IS NOT NULL ON CONFLICT DO NOTHING",
        "INSERT INTO asked_again (conversation_id, message_id, position, branch, reply_id, model)
         SELECT m.conversation_id, m.message_id, $4, coalesce(b.branch, 0), $2, $3
         FROM messages AS m LEFT JOIN branches AS b ON b.conversation_id = m.conversation_id AND b.active
         WHERE m.message_id = $1",
        "UPDATE messages SET reply_id = $2, wished_model = $3 WHERE message_id = $1",
    ] {
        sqlx::query(statement)
            .bind(message.uuid())
            .bind(reply.uuid())
            .bind(model)
            .bind(position)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// Forgets the branches of conversations that were deleted.
pub(super) async fn forget(connection: &mut PgConnection, conversations: &[Uuid]) -> Result<(), sqlx::Error> {
    for statement in [
        "DELETE FROM branches WHERE conversation_id = ANY($1)",
        "DELETE FROM asked_again WHERE conversation_id = ANY($1)",
    ] {
        sqlx::query(statement).bind(conversations).execute(&mut *connection).await?;
    }
    Ok(())
}
