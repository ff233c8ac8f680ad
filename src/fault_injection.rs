//! Injected faults of the use cases (feature `fault-injection`, test builds only); see [`event_store::fault_injection`].

use aggregates::ids::{ConversationId, UserId};
use event_store::fault_injection::{Fault, is_injected};
use sqlx::PgPool;
use uuid::Uuid;

/// Returns the user; or the owner of the conversation in their place, when the missing ownership check is injected.
///
/// # Errors
/// Those of the database.
pub async fn owner_instead_of(
    pool: &PgPool,
    user: UserId,
    conversation: ConversationId,
) -> Result<UserId, sqlx::Error> {
    if !is_injected(Fault::NoOwnerCheck) {
        return Ok(user);
    }
    let owner: Option<Uuid> =
        sqlx::query_scalar("SELECT owner FROM conversations WHERE conversation_id = $1")
            .bind(conversation.uuid())
            .fetch_optional(pool)
            .await?;
    Ok(owner.map_or(user, UserId::new))
}
