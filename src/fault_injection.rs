//! Injected faults of the use cases, and the list of all faults (feature `fault-injection`, test builds only); see
//! [`event_store::fault_injection`].

use aggregates::ids::{ConversationId, UserId};
#[cfg(feature = "fault-injection")]
use event_store::crash_points;
#[cfg(feature = "fault-injection")]
use event_store::fault_injection::{EARLY_ANSWER, KEY_IN_MEMORY, NAIVE_READER};
use event_store::fault_injection::{Fault, is_injected};
#[cfg(feature = "fault-injection")]
use projections::runner::CHECKPOINT_APART;
use sqlx::PgPool;
use uuid::Uuid;

/// Access tokens are accepted without a check of their login.
pub const NO_LOGIN_CHECK: Fault = Fault::new("no-login-check");
/// Any user can read any conversation.
pub const NO_OWNER_CHECK: Fault = Fault::new("no-owner-check");
/// Idempotency keys are ignored.
pub const NO_COMMAND_KEY: Fault = Fault::new("no-command-key");
/// A handler panics over a message that ends with [`PANIC_SUFFIX`].
pub const PANIC: Fault = Fault::new("panic");

/// Ending of the messages that the injected panic reacts to.
pub const PANIC_SUFFIX: &str = "and then it breaks";

/// Every fault.
#[cfg(feature = "fault-injection")]
const FAULTS: [Fault; 8] = [
    NO_LOGIN_CHECK,
    NAIVE_READER,
    NO_OWNER_CHECK,
    NO_COMMAND_KEY,
    KEY_IN_MEMORY,
    EARLY_ANSWER,
    CHECKPOINT_APART,
    PANIC,
];

/// Injects the fault of this name for the life of the process. `crash-at:POINT:N` injects no fault but a crash: when the
/// process passes one of the [`crash_points`] for the N-th time.
///
/// # Errors
/// The name is unknown.
#[cfg(feature = "fault-injection")]
pub fn inject(name: &str) -> Result<(), String> {
    if let Some((point, nth)) = name.strip_prefix("crash-at:").and_then(|rest| rest.split_once(':')) {
        let armed = nth.parse().is_ok_and(|nth| crash_points::arm(point, nth));
        return if armed { Ok(()) } else { Err(format!("there is no crash point {point}:{nth}")) };
    }
    let fault = FAULTS.into_iter().find(|fault| fault.name() == name);
    event_store::fault_injection::inject(fault.ok_or_else(|| format!("there is no fault called {name}"))?);
    Ok(())
}

/// Panics over a message that ends with [`PANIC_SUFFIX`], when [`PANIC`] is injected.
#[expect(clippy::panic, reason = "the panic is the injected fault")]
pub fn panic_over(text: &str) {
    if is_injected(PANIC) && text.ends_with(PANIC_SUFFIX) {
        panic!("an injected panic over {text:?}");
    }
}

/// Returns the user; or the owner of the conversation in their place, when the missing ownership check is injected.
///
/// # Errors
/// Those of the database.
pub async fn owner_instead_of(
    pool: &PgPool,
    user: UserId,
    conversation: ConversationId,
) -> Result<UserId, sqlx::Error> {
    if !is_injected(NO_OWNER_CHECK) {
        return Ok(user);
    }
    let owner: Option<Uuid> =
        sqlx::query_scalar("SELECT owner FROM conversations WHERE conversation_id = $1")
            .bind(conversation.uuid())
            .fetch_optional(pool)
            .await?;
    Ok(owner.map_or(user, UserId::new))
}
