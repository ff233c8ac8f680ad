//! Rate limits and quotas of users: requests per minute, messages and tokens per day, concurrent replies.
//!
//! The database books a charge in the append's own transaction (see the migration of the quotas): a message that was not
//! stored costs nothing, a stored one costs exactly once, and all nodes share one count. Use cases name the rates and
//! quotas ([`QuotaCharge`]); which replies they reserve or settle follows from the events (`entries`).
//!
//! * `entries` prices events;
//! * `rejections` caches recent rejections;
//! * `policy` connects both to the event store.

mod entries;
mod policy;
mod rejections;

use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

pub use policy::{QuotaPolicy, consume};
pub use rejections::RejectionCache;

/// A rate limit. Limits with the same name share one count per user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rate {
    /// Name, unique among the limits of one user.
    pub name: String,
    /// Requests per minute.
    pub per_minute: u32,
}

/// Quotas on replies; 0 means unlimited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quotas {
    /// Messages with a reply per day (UTC).
    pub messages_per_day: u64,
    /// Tokens per day.
    pub tokens_per_day: u64,
    /// Tokens reserved for a reply until it ends.
    pub reserved_tokens: u64,
    /// Conversations with a pending reply at the same time.
    pub at_once: u32,
}

/// What a command is charged to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaCharge {
    /// User who is charged.
    pub user: Uuid,
    /// Rate limits that one request is counted for.
    pub rates: Vec<Rate>,
    /// Quotas for the replies that the command requests.
    pub quotas: Quotas,
}

/// What remains of one rate limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateRemaining {
    /// Index of the rate in the charge.
    pub rate: usize,
    /// Requests that are allowed now.
    pub remaining: u64,
    /// Time until the limit is fully available again.
    pub reset: Duration,
}

/// Name of the quota of messages per day, as the database reports it.
pub const MESSAGES_PER_DAY: &str = "messages_per_day";
/// Name of the quota of tokens per day.
pub const TOKENS_PER_DAY: &str = "tokens_per_day";
/// Name of the limit on concurrent replies.
pub const REPLIES_AT_ONCE: &str = "replies_at_once";

/// A rejected charge: nothing was written and nothing was booked.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("quota exceeded: {policy}")]
pub struct QuotaExceeded {
    /// Name of the rate, or [`MESSAGES_PER_DAY`], [`TOKENS_PER_DAY`], [`REPLIES_AT_ONCE`].
    pub policy: String,
    /// Time after which a retry makes sense.
    pub wait: Duration,
    /// The limit that was reached.
    pub bound: u64,
    /// Conversations that the limit does not apply to.
    pub except: Vec<String>,
}

impl QuotaExceeded {
    /// Parses the database's format: `[policy, seconds, bound, conversations?]`.
    pub fn parse(rejection: &Value) -> Option<Self> {
        let policy = rejection.get(0)?.as_str()?.to_owned();
        let wait = Duration::try_from_secs_f64(rejection.get(1)?.as_f64()?.max(0.0)).ok()?;
        let bound = rejection.get(2)?.as_f64()?;
        let except = rejection.get(3).and_then(Value::as_array).map_or_else(Vec::new, |conversations| {
            conversations.iter().filter_map(|id| id.as_str().map(str::to_owned)).collect()
        });
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "limits are whole, positive and far below 2^53"
        )]
        let bound = bound.max(0.0) as u64;
        Some(Self { policy, wait, bound, except })
    }

    /// Encodes it in the database's format.
    fn to_json(&self) -> Value {
        json!([self.policy, self.wait.as_secs_f64(), self.bound, self.except])
    }
}

/// Parses what remains of the charged rates, as the database reports it: `[[rate, remaining, seconds], …]`.
pub fn parse_remaining(remaining: &Value) -> Vec<RateRemaining> {
    let parse = |item: &Value| {
        Some(RateRemaining {
            rate: usize::try_from(item.get(0)?.as_u64()?).ok()?,
            remaining: item.get(1)?.as_u64()?,
            reset: Duration::from_secs(item.get(2)?.as_u64()?),
        })
    };
    remaining.as_array().map(|items| items.iter().filter_map(parse).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejections_and_remaining_rates_are_parsed() {
        let rejection = QuotaExceeded::parse(&json!(["user", 12.5, 30])).unwrap();
        let wait = Duration::from_millis(12_500);
        assert_eq!(
            rejection,
            QuotaExceeded { policy: "user".to_owned(), wait, bound: 30, except: Vec::new() }
        );
        let rejection = QuotaExceeded::parse(&json!(["replies_at_once", 5, 2, ["a", "b"]])).unwrap();
        assert_eq!(rejection.except, ["a", "b"]);
        assert_eq!(QuotaExceeded::parse(&rejection.to_json()), Some(rejection));
        assert_eq!(QuotaExceeded::parse(&json!("too often")), None);
        let remaining = parse_remaining(&json!([[0, 29, 60], [1, 9, 61]]));
        assert_eq!(remaining[1], RateRemaining { rate: 1, remaining: 9, reset: Duration::from_secs(61) });
    }
}
