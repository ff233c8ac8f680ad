//! The set of administrators, kept in a table so that an append can check that one is left.

use aggregates::ids::UserId;
use event_store::TransactionalWrite;
use serde_json::json;

/// SQLSTATE of [`set`] when it would remove the last administrator.
pub const LAST_ADMINISTRATOR: &str = "VB007";

/// Adds the user to the administrators, or removes the user, in an append's transaction. Fails with
/// [`LAST_ADMINISTRATOR`].
#[must_use]
pub fn set(user: UserId, is_administrator: bool) -> TransactionalWrite {
    TransactionalWrite::new(
        "administrator_set",
        [("user_id", json!(user)), ("is_administrator", json!(is_administrator))],
    )
}
