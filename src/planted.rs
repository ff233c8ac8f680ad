//! Planted defects (feature `planted`, test builds only): each can be switched on, to show that the tests notice it.
//!
//! A build without the feature has none of this. With it, nothing is planted until one is asked for by name.

use std::sync::OnceLock;

use aggregates::ids::{ConversationId, UserId};
use sqlx::PgPool;
use uuid::Uuid;

use crate::app::Actor;

/// A defect that can be planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    /// Access tokens are good without a look at their login.
    NoLoginCheck,
    /// The log is read up to the highest position that can be seen.
    NaiveReader,
    /// Anybody's conversation can be read.
    NoOwnerCheck,
    /// Idempotency keys are ignored.
    NoCommandKey,
    /// Idempotency keys are kept in memory only.
    KeyInMemory,
    /// A command is acknowledged before it is in the log.
    EarlyAnswer,
    /// A projection's checkpoint moves in a transaction of its own, before its rows.
    CheckpointApart,
    /// A handler panics over a message that ends with [`PANIC`], and says what is in it.
    Panic,
}

/// What a message ends with that the planted panic is over.
pub const PANIC: &str = "and then it breaks";

static PLANTED: OnceLock<Defect> = OnceLock::new();

/// Plants a defect for the life of the process; the first one stays. `die-at:PLACE:N` is no defect but an end: at the N-th
/// time past one of [`projections::dying::PLACES`].
///
/// # Errors
/// The name is unknown.
pub fn plant(name: &str) -> Result<(), String> {
    if let Some((place, nth)) = name.strip_prefix("die-at:").and_then(|rest| rest.split_once(':')) {
        let armed = nth.parse().is_ok_and(|nth| projections::dying::arm(place, nth));
        return if armed { Ok(()) } else { Err(format!("nothing can die at {place}:{nth}")) };
    }
    let defect = match name {
        "no-login-check" => Defect::NoLoginCheck,
        "naive-reader" => Defect::NaiveReader,
        "no-owner-check" => Defect::NoOwnerCheck,
        "no-command-key" => Defect::NoCommandKey,
        "key-in-memory" => Defect::KeyInMemory,
        "early-answer" => Defect::EarlyAnswer,
        "checkpoint-apart" => {
            projections::runner::plant_checkpoint_apart();
            Defect::CheckpointApart
        }
        "panic" => Defect::Panic,
        other => return Err(format!("no defect is called {other}")),
    };
    PLANTED.get_or_init(|| defect);
    Ok(())
}

/// Whether this defect is planted.
pub fn is(defect: Defect) -> bool {
    PLANTED.get() == Some(&defect)
}

/// The planted panic.
#[expect(clippy::panic, reason = "it is what is planted")]
pub fn panic_over(text: &str) {
    if is(Defect::Panic) && text.ends_with(PANIC) {
        panic!("a planted panic over {text:?}");
    }
}

/// The actor, or, where the missing ownership check is planted, the owner of the conversation in their place.
///
/// # Errors
/// Those of the database.
pub async fn asked_by_owner(
    pool: &PgPool,
    actor: Actor,
    conversation: ConversationId,
) -> Result<Actor, sqlx::Error> {
    if !is(Defect::NoOwnerCheck) {
        return Ok(actor);
    }
    let owner: Option<Uuid> =
        sqlx::query_scalar("SELECT owner FROM conversations WHERE conversation_id = $1")
            .bind(conversation.uuid())
            .fetch_optional(pool)
            .await?;
    Ok(owner.map_or(actor, |owner| Actor { user: UserId::new(owner), ..actor }))
}
