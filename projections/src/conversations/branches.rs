//! What the list shows when the branch of a conversation changes.
//!
//! The row of a conversation counts and shows what is on the path of its active branch. What that was is kept for a branch that is
//! left, and brought back when somebody goes to it again. A branch that begins counts what it shares, which its event tells; it
//! shows no message before its first one. Logs that were written before there were branches do not tell it: there everything
//! that was said until then is counted.

use aggregates::conversation::BranchEvent;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::messages::number;

/// Writes what the event does to the row of its conversation.
pub(super) async fn apply(
    connection: &mut PgConnection,
    position: i64,
    conversation: Uuid,
    event: &BranchEvent,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO conversation_branches (conversation_id, branch, message_count, last_message)
         SELECT conversation_id, branch, message_count, last_message FROM conversations WHERE conversation_id = $1
         ON CONFLICT (conversation_id, branch) DO UPDATE
             SET message_count = excluded.message_count, last_message = excluded.last_message",
    )
    .bind(conversation)
    .execute(&mut *connection)
    .await?;
    match event {
        BranchEvent::BranchBegun { branch, messages, .. } => {
            begin(connection, conversation, position, number(*branch), *messages).await
        }
        BranchEvent::BranchSwitched { branch } => {
            switch(connection, conversation, position, number(*branch)).await
        }
        BranchEvent::ConversationRewound { .. } => rewind(connection, conversation, position).await,
    }
}

async fn begin(
    connection: &mut PgConnection,
    conversation: Uuid,
    position: i64,
    branch: i32,
    messages: u32,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE conversations SET branch = $2, message_count = $3, last_message = NULL, rewound_position = $4
         WHERE conversation_id = $1",
    )
    .bind(conversation)
    .bind(branch)
    .bind(i64::from(messages))
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
    sqlx::query(
        "UPDATE conversations AS c
         SET branch = b.branch, message_count = b.message_count, last_message = b.last_message, rewound_position = $3
         FROM conversation_branches AS b
         WHERE c.conversation_id = $1 AND b.conversation_id = $1 AND b.branch = $2",
    )
    .bind(conversation)
    .bind(branch)
    .bind(position)
    .execute(connection)
    .await?;
    Ok(())
}

/// As old logs tell of a branch that begins: without its number, which is the next one.
async fn rewind(connection: &mut PgConnection, conversation: Uuid, position: i64) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE conversations SET rewound_position = $2,
             branch = (SELECT max(branch) + 1 FROM conversation_branches WHERE conversation_id = $1)
         WHERE conversation_id = $1",
    )
    .bind(conversation)
    .bind(position)
    .execute(connection)
    .await?;
    Ok(())
}
