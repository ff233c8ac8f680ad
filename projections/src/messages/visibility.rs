//! Visibility of rows, and the reply that a message refers to. Both follow from the branches of a conversation and from which
//! of them is active.

use sqlx::PgConnection;
use uuid::Uuid;

/// Path of branch $2 of conversation $1: branches, and the range of positions of each. A branch's own rows come
/// after its start and shared rows before, so the ranges of a path are disjoint. Each branch is
/// looked up separately: a join might read all branches for each one of a path.
macro_rules! on_path {
    ($statement:literal) => {
        concat!(
            "WITH RECURSIVE path (branch, parent, fork_position, since, upto) AS (
                 SELECT branch, parent, fork_position, coalesce(position, 0), 9223372036854775807 FROM branches
                 WHERE conversation_id = $1 AND branch = $2
                 UNION ALL
                 SELECT b.branch, b.parent, b.fork_position, coalesce(b.position, 0),
                        least(path.upto, path.fork_position)
                 FROM path CROSS JOIN LATERAL (
                     SELECT * FROM branches WHERE conversation_id = $1 AND branch = path.parent LIMIT 1) AS b
             ) ",
            $statement
        )
    };
}
pub(super) use on_path;

/// Makes exactly the path of a branch visible. Rows that are correct already are not touched.
pub(super) async fn activate_path(
    connection: &mut PgConnection,
    conversation: Uuid,
    branch: i32,
) -> Result<(), sqlx::Error> {
    for statement in [
        on_path!(
            "UPDATE messages AS m SET is_active = false
             WHERE m.conversation_id = $1 AND m.is_active
                 AND NOT EXISTS (SELECT FROM path WHERE path.branch = m.branch AND m.position <= path.upto)"
        ),
        on_path!(
            "UPDATE messages AS m SET is_active = true FROM path
             WHERE m.conversation_id = $1 AND NOT m.is_active
                 AND m.branch = path.branch AND m.position > path.since AND m.position <= path.upto"
        ),
        on_path!(
            "UPDATE items AS i SET is_active = false
             WHERE i.conversation_id = $1 AND i.is_active
                 AND NOT EXISTS (SELECT FROM path WHERE path.branch = i.branch AND i.position <= path.upto)"
        ),
        on_path!(
            "UPDATE items AS i SET is_active = true FROM path
             WHERE i.conversation_id = $1 AND NOT i.is_active
                 AND i.branch = path.branch AND i.position > path.since AND i.position <= path.upto"
        ),
    ] {
        sqlx::query(statement).bind(conversation).bind(branch).execute(&mut *connection).await?;
    }
    update_active_replies(connection, conversation, Some(branch)).await
}

/// Points every message with regenerated replies to the latest one on the path of the active branch; a message off that
/// path, to the latest on its own branch.
pub(super) async fn update_active_replies(
    connection: &mut PgConnection,
    conversation: Uuid,
    active: Option<i32>,
) -> Result<(), sqlx::Error> {
    let active = match active {
        Some(active) => active,
        None => {
            let found =
                sqlx::query_scalar("SELECT branch FROM branches WHERE conversation_id = $1 AND active")
                    .bind(conversation)
                    .fetch_optional(&mut *connection)
                    .await?;
            found.unwrap_or(0)
        }
    };
    // A conversation with a single branch has no branch rows.
    sqlx::query(on_path!(
        "UPDATE messages AS m SET reply_id = a.reply_id, requested_model = a.model
         FROM (SELECT DISTINCT ON (a.message_id) a.message_id, a.reply_id, a.model
               FROM reply_requests AS a JOIN messages AS m ON m.message_id = a.message_id
                   LEFT JOIN path ON path.branch = a.branch AND a.position <= path.upto
               WHERE a.conversation_id = $1
                   AND (CASE WHEN NOT m.is_active THEN a.branch = m.branch ELSE path.branch IS NOT NULL END
                        OR NOT EXISTS (SELECT FROM path))
               ORDER BY a.message_id, a.position DESC) AS a
         WHERE m.message_id = a.message_id
             AND (m.reply_id, m.requested_model) IS DISTINCT FROM (a.reply_id, a.model)"
    ))
    .bind(conversation)
    .bind(active)
    .execute(connection)
    .await?;
    Ok(())
}
