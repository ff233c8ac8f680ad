//! Security events: each is a log line under the target `security` and a count in `verbatim_security_events_total`. Lines
//! hold ids and keyed hashes, never a name, an address or a token.

use std::time::Duration;

use aggregates::ids::{LoginId, UserId};
use aggregates::user::Role;

/// Target of the log lines.
pub const TARGET: &str = "security";

fn count(event: &'static str) {
    metrics::counter!("verbatim_security_events_total", "event" => event).increment(1);
}

/// Returns the first 16 digits of an account's keyed hash: enough to correlate lines about the same account.
fn short_hash(account: &str) -> &str {
    let begin = account.find(':').map_or(0, |colon| colon + 1);
    account.get(..begin + 16).unwrap_or(account)
}

/// A sign-in failed: wrong password, or no such account.
pub fn sign_in_failed(account: &str) {
    count("sign_in_failed");
    tracing::warn!(target: TARGET, event = "sign_in_failed", account = short_hash(account), "sign-in failed");
}

/// Repeated failures locked the account's sign-ins for a while.
pub fn sign_ins_locked(account: &str, duration: Duration) {
    count("sign_ins_locked");
    tracing::warn!(
        target: TARGET, event = "sign_ins_locked", account = short_hash(account), seconds = duration.as_secs(),
        "sign-ins locked after repeated failures"
    );
}

/// A signed-in client gave a wrong password where the password was required again.
pub fn reauthentication_failed(user: UserId) {
    count("reauthentication_failed");
    tracing::warn!(target: TARGET, event = "reauthentication_failed", user.id = %user, "re-authentication failed: wrong password");
}

/// A replaced refresh token was presented again: the login is ended.
pub fn refresh_token_reused(login: LoginId, user: UserId) {
    count("refresh_token_reused");
    tracing::warn!(
        target: TARGET, event = "refresh_token_reused", login.id = %login, user.id = %user,
        "refresh token reused: login ended"
    );
}

/// A stored password hash is unusable: it was not written by this program.
pub fn stored_hash_unusable(user: UserId) {
    count("stored_hash_unusable");
    tracing::error!(target: TARGET, event = "stored_hash_unusable", user.id = %user, "stored password hash is unusable");
}

/// A user changed the password.
pub fn password_changed(user: UserId) {
    count("password_changed");
    tracing::info!(target: TARGET, event = "password_changed", user.id = %user, "password changed");
}

/// A password was reset with a token.
pub fn password_reset(user: UserId) {
    count("password_reset");
    tracing::info!(target: TARGET, event = "password_reset", user.id = %user, "password reset");
}

/// A reset token was issued, by mail (`mailed`) or to an operator at the command line.
pub fn reset_issued(user: UserId, mailed: bool) {
    count("reset_issued");
    tracing::info!(target: TARGET, event = "reset_issued", user.id = %user, mailed, "password reset token issued");
}

/// A reset mail was not sent, because the user has the most valid tokens allowed.
pub fn reset_rate_limited(user: UserId) {
    count("reset_rate_limited");
    tracing::warn!(target: TARGET, event = "reset_rate_limited", user.id = %user, "password reset mail withheld: limit of valid tokens reached");
}

/// The e-mail address of an account was changed.
pub fn email_changed(user: UserId) {
    count("email_changed");
    tracing::info!(target: TARGET, event = "email_changed", user.id = %user, "e-mail address changed");
}

/// A role was granted or revoked, by an administrator or (`None`) at the command line.
pub fn role_granted(user: UserId, role: Role, by: Option<UserId>) {
    count("role_granted");
    let by = by.map(|by| by.to_string());
    tracing::warn!(target: TARGET, event = "role_granted", user.id = %user, role = role.as_str(), by, "role granted");
}

/// An account was closed, by its owner or an administrator.
pub fn account_closed(user: UserId, by: UserId) {
    count("account_closed");
    tracing::info!(target: TARGET, event = "account_closed", user.id = %user, by = %by, "account closed");
}

/// An administrator ended every login of a user.
pub fn logins_ended(user: UserId, by: UserId) {
    count("logins_ended");
    tracing::warn!(target: TARGET, event = "logins_ended", user.id = %user, by = %by, "logins of a user ended");
}

/// A request was rejected because the user's role does not allow it.
pub fn access_denied(user: UserId, needed: Role) {
    count("access_denied");
    tracing::warn!(
        target: TARGET, event = "access_denied", user.id = %user, needed = needed.as_str(),
        "access denied: role required"
    );
}

/// The log was read through the API.
pub fn log_read(by: UserId, after: i64, events: usize) {
    count("log_read");
    tracing::info!(target: TARGET, event = "log_read", by = %by, after, events, "log read");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_hash_keeps_kind_and_sixteen_digits() {
        let hash = "7b3e78218ed8b0a80d6f76e9ef351fdab452136aac18103f4b103961b7a0497f";
        assert_eq!(short_hash(&format!("email:{hash}")), "email:7b3e78218ed8b0a8");
        assert_eq!(short_hash(&format!("username:{hash}")), "username:7b3e78218ed8b0a8");
        assert_eq!(short_hash("short"), "short");
    }
}
