//! Row of a conversation when its active branch changes.
//!
//! The row counts and shows the messages on the path of the active branch. The values of the branch that is left are saved
//! and restored when the user switches back. A new branch counts the messages it shares, which its event states, and
//! shows no message before its first own one. `ConversationRewound` does not state the number: then the count stays
//! as it was.

use aggregates::conversation::BranchEvent;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::messages::number;

/// Applies the event to the row of its conversation.
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

/// Begins a branch for `ConversationRewound`, which has no branch number: it is the next one.
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
