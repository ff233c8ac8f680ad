//! Which rows are shown, and which reply a message names: what follows from the branches of a conversation and from which of
//! them is active.

use sqlx::PgConnection;
use uuid::Uuid;

/// The path of branch $2 of conversation $1: branches, and after and up to which position each belongs to it. A branch's rows come
/// after its beginning, and those that it shares before: the ranges of a path are apart from each other. Each branch is
/// looked up by itself: a join might read all branches for each one of a path.
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

/// Has the path of a branch shown, and nothing else of the conversation. Rows that are as they should be are not touched.
pub(super) async fn show(
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
    name_replies(connection, conversation, Some(branch)).await
}

/// Has every message that was asked again name the reply that it was asked for last: on the path of the active branch, and where
/// it is not on that, on its own branch.
pub(super) async fn name_replies(
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
    // As long as a conversation has one branch there is no row of it.
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
