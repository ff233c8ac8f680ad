//! What somebody who watches for attacks has to know: one line in the log each, under the target `security`, and one count
//! in `verbatim_security_events_total`. Lines hold ids and keyed hashes, never a name, an address or a token.

use std::time::Duration;

use aggregates::ids::{LoginId, UserId};
use aggregates::user::Role;

/// The lines' target.
pub const TARGET: &str = "security";

fn count(event: &'static str) {
    metrics::counter!("verbatim_security_events_total", "event" => event).increment(1);
}

/// The beginning of the keyed hash that an address or name is known by: enough to see that two lines are about the same
/// account.
fn brief(account: &str) -> &str {
    let begin = account.find(':').map_or(0, |colon| colon + 1);
    account.get(..begin + 16).unwrap_or(account)
}

/// Somebody did not know the password of an account, or there is none.
pub fn sign_in_refused(account: &str) {
    count("sign_in_refused");
    tracing::warn!(target: TARGET, event = "sign_in_refused", account = brief(account), "a sign-in was refused");
}

/// So many sign-ins were refused that the account is locked.
pub fn sign_ins_locked(account: &str, lasts: Duration) {
    count("sign_ins_locked");
    tracing::warn!(
        target: TARGET, event = "sign_ins_locked", account = brief(account), seconds = lasts.as_secs(),
        "too many sign-ins were refused: the account takes none for a while"
    );
}

/// Somebody who is signed in did not know the password of the account.
pub fn proof_refused(user: UserId) {
    count("proof_refused");
    tracing::warn!(target: TARGET, event = "proof_refused", user.id = %user, "a password that should prove something was wrong");
}

/// A refresh token that had been replaced was presented again.
pub fn refresh_token_reused(login: LoginId, user: UserId) {
    count("refresh_token_reused");
    tracing::warn!(
        target: TARGET, event = "refresh_token_reused", login.id = %login, user.id = %user,
        "a replaced refresh token was presented again: somebody has a copy, the login is ended"
    );
}

/// A stored password hash cannot be used: somebody has written one that is none of ours.
pub fn stored_hash_unusable(user: UserId) {
    count("stored_hash_unusable");
    tracing::error!(target: TARGET, event = "stored_hash_unusable", user.id = %user, "the stored password hash is unusable");
}

/// A password was replaced by its owner.
pub fn password_changed(user: UserId) {
    count("password_changed");
    tracing::info!(target: TARGET, event = "password_changed", user.id = %user, "a password was changed");
}

/// A password was replaced with a reset token.
pub fn password_reset(user: UserId) {
    count("password_reset");
    tracing::info!(target: TARGET, event = "password_reset", user.id = %user, "a password was reset");
}

/// A token that sets a new password was made. `mailed`: it went to the user's address; else an operator was shown it.
pub fn reset_issued(user: UserId, mailed: bool) {
    count("reset_issued");
    tracing::info!(target: TARGET, event = "reset_issued", user.id = %user, mailed, "a password reset was issued");
}

/// A user was not sent another token, because many were asked for.
pub fn reset_held_back(user: UserId) {
    count("reset_held_back");
    tracing::warn!(target: TARGET, event = "reset_held_back", user.id = %user, "too many password resets were asked for");
}

/// An account goes by another address.
pub fn email_changed(user: UserId) {
    count("email_changed");
    tracing::info!(target: TARGET, event = "email_changed", user.id = %user, "an account goes by another address");
}

/// A role was granted or taken. `by` none: by command.
pub fn role_granted(user: UserId, role: Role, by: Option<UserId>) {
    count("role_granted");
    let by = by.map(|by| by.to_string());
    tracing::warn!(target: TARGET, event = "role_granted", user.id = %user, role = role.as_str(), by, "a role was granted");
}

/// An account was closed, by its owner or by an administrator.
pub fn account_closed(user: UserId, by: UserId) {
    count("account_closed");
    tracing::info!(target: TARGET, event = "account_closed", user.id = %user, by = %by, "an account was closed");
}

/// Every login of a user was ended by an administrator.
pub fn logins_ended(user: UserId, by: UserId) {
    count("logins_ended");
    tracing::warn!(target: TARGET, event = "logins_ended", user.id = %user, by = %by, "the logins of a user were ended");
}

/// Somebody asked for what their role does not allow.
pub fn access_denied(user: UserId, needed: Role) {
    count("access_denied");
    tracing::warn!(
        target: TARGET, event = "access_denied", user.id = %user, needed = needed.as_str(),
        "somebody asked for what their role does not allow"
    );
}

/// Somebody read the log through the API.
pub fn log_read(by: UserId, after: i64, events: usize) {
    count("log_read");
    tracing::info!(target: TARGET, event = "log_read", by = %by, after, events, "events were read");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_named_by_the_beginning_of_its_hash() {
        let hash = "7b3e78218ed8b0a80d6f76e9ef351fdab452136aac18103f4b103961b7a0497f";
        assert_eq!(brief(&format!("email:{hash}")), "email:7b3e78218ed8b0a8");
        assert_eq!(brief(&format!("username:{hash}")), "username:7b3e78218ed8b0a8");
        assert_eq!(brief("short"), "short");
    }
}
