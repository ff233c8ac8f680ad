//! Recent rejections: a client that keeps retrying costs the database nothing.

use std::time::{Duration, Instant};

use event_store::AppendCharge;
use moka::sync::Cache;
use uuid::Uuid;

use super::entries::{ends_replies, opened_conversations};
use super::{MESSAGES_PER_DAY, QuotaCharge, QuotaExceeded, REPLIES_AT_ONCE, TOKENS_PER_DAY};

/// Most rejections cached.
const MAX_REJECTIONS: u64 = 100_000;
/// How long a rejection is cached at most before the database is asked again.
const REJECTION_TTL: Duration = Duration::from_secs(60);
/// How long, if the end of a reply may lift it: the reply may end in another process.
const LIFTABLE_TTL: Duration = Duration::from_secs(2);
/// A wait of at least this does not depend on replies in progress.
const LONG_WAIT: Duration = Duration::from_secs(6);
/// Limits that reject replies, in the order in which they are checked.
const REPLY_POLICIES: [&str; 3] = [REPLIES_AT_ONCE, MESSAGES_PER_DAY, TOKENS_PER_DAY];

/// Rejections by user and policy. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RejectionCache(Cache<(Uuid, String), CachedRejection>);

#[derive(Debug, Clone)]
struct CachedRejection {
    /// When a retry makes sense.
    retry_at: Instant,
    /// When the entry expires.
    expires: Instant,
    exceeded: QuotaExceeded,
}

impl Default for RejectionCache {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(MAX_REJECTIONS).time_to_live(REJECTION_TTL).build())
    }
}

impl RejectionCache {
    /// Caches a rejection.
    pub(super) fn remember(&self, user: Uuid, exceeded: &QuotaExceeded) {
        let now = Instant::now();
        let ttl = if is_lifted_by_ends(exceeded) { LIFTABLE_TTL } else { REJECTION_TTL };
        let rejection = CachedRejection {
            retry_at: now + exceeded.wait,
            expires: now + exceeded.wait.min(ttl),
            exceeded: exceeded.clone(),
        };
        self.0.insert((user, exceeded.policy.clone()), rejection);
    }

    /// Returns a cached rejection by one of the charge's rates.
    pub fn of_rates(&self, charge: &QuotaCharge) -> Option<QuotaExceeded> {
        charge.rates.iter().find_map(|rate| self.get(charge.user, &rate.name))
    }

    /// Returns a cached rejection of the replies that the charge opens.
    pub(super) fn of_replies(&self, charge: &AppendCharge) -> Option<QuotaExceeded> {
        let conversations = opened_conversations(charge);
        if conversations.is_empty() {
            return None;
        }
        REPLY_POLICIES.iter().find_map(|policy| {
            let known = self.get(charge.user, policy)?;
            if ends_replies(charge) && is_lifted_by_ends(&known) {
                return None;
            }
            conversations.iter().all(|id| !known.except.iter().any(|except| except == id)).then_some(known)
        })
    }

    /// Drops the rejections that the end of one of the user's replies may have lifted.
    pub(super) fn reply_ended(&self, user: Uuid) {
        for policy in [REPLIES_AT_ONCE, TOKENS_PER_DAY] {
            let key = (user, policy.to_owned());
            if self.0.get(&key).is_some_and(|rejection| is_lifted_by_ends(&rejection.exceeded)) {
                self.0.invalidate(&key);
            }
        }
    }

    fn get(&self, user: Uuid, policy: &str) -> Option<QuotaExceeded> {
        let now = Instant::now();
        let CachedRejection { retry_at, expires, exceeded } = self.0.get(&(user, policy.to_owned()))?;
        (expires > now).then(|| QuotaExceeded { wait: retry_at.saturating_duration_since(now), ..exceeded })
    }
}

/// Returns whether the end of a reply may lift a rejection early.
fn is_lifted_by_ends(exceeded: &QuotaExceeded) -> bool {
    exceeded.policy == REPLIES_AT_ONCE || (exceeded.policy == TOKENS_PER_DAY && exceeded.wait < LONG_WAIT)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::quotas::{Quotas, Rate};

    fn exceeded(policy: &str, seconds: u64, except: &[&str]) -> QuotaExceeded {
        let except = except.iter().map(|one| (*one).to_owned()).collect();
        QuotaExceeded { policy: policy.to_owned(), wait: Duration::from_secs(seconds), bound: 2, except }
    }

    fn opening(user: Uuid, conversation: &str) -> AppendCharge {
        AppendCharge { user, entries: json!({"opens": [["reply", conversation, 0]]}) }
    }

    #[test]
    fn exceeded_quota_is_cached_for_requests_that_open_a_reply() {
        let (rejections, user) = (RejectionCache::default(), Uuid::from_u128(1));
        rejections.remember(user, &exceeded(MESSAGES_PER_DAY, 4_000, &[]));
        let known = rejections.of_replies(&opening(user, "c")).unwrap();
        assert!(known.wait > Duration::from_secs(3_990), "until the end of the day: {known:?}");
        assert_eq!(rejections.of_replies(&opening(Uuid::from_u128(2), "c")), None, "another user");
        let note = AppendCharge { user, entries: json!({"rates": [["user", 30]]}) };
        assert_eq!(
            rejections.of_replies(&note),
            None,
            "a request without a reply is not checked against quotas"
        );
        rejections.reply_ended(user);
        assert!(
            rejections.of_replies(&opening(user, "c")).is_some(),
            "the end of a reply does not return a message"
        );
    }

    #[test]
    fn ended_reply_lifts_cached_rejections_that_depend_on_it() {
        let (rejections, user) = (RejectionCache::default(), Uuid::from_u128(1));
        rejections.remember(user, &exceeded(REPLIES_AT_ONCE, 5, &["a", "b"]));
        assert!(rejections.of_replies(&opening(user, "c")).is_some());
        assert_eq!(rejections.of_replies(&opening(user, "b")), None, "a reply is pending there already");
        rejections.reply_ended(user);
        assert_eq!(rejections.of_replies(&opening(user, "c")), None);
        // Reserved tokens are returned; used ones are not.
        for (seconds, stays) in [(5, false), (4_000, true)] {
            rejections.remember(user, &exceeded(TOKENS_PER_DAY, seconds, &[]));
            rejections.reply_ended(user);
            assert_eq!(rejections.of_replies(&opening(user, "c")).is_some(), stays, "{seconds}");
        }
    }

    #[test]
    fn request_that_ends_a_reply_is_not_rejected_for_its_reservation() {
        let (rejections, user) = (RejectionCache::default(), Uuid::from_u128(1));
        let entries = json!({"opens": [["next", "c", 0]], "ends": [["reply", null, 0]]});
        let instead = AppendCharge { user, entries };
        rejections.remember(user, &exceeded(TOKENS_PER_DAY, 5, &[]));
        rejections.remember(user, &exceeded(REPLIES_AT_ONCE, 5, &["a"]));
        assert_eq!(rejections.of_replies(&instead), None, "it returns what it reserves");
        rejections.remember(user, &exceeded(TOKENS_PER_DAY, 4_000, &[]));
        assert!(rejections.of_replies(&instead).is_some(), "used tokens are not returned");
    }

    #[test]
    fn exceeded_rate_is_cached_for_its_own_requests() {
        let (rejections, user) = (RejectionCache::default(), Uuid::from_u128(1));
        rejections.remember(user, &exceeded("user", 30, &[]));
        let rate = |name: &str| Rate { name: name.to_owned(), per_minute: 2 };
        let charge = |name: &str| QuotaCharge { user, rates: vec![rate(name)], quotas: Quotas::default() };
        assert!(rejections.of_rates(&charge("user")).is_some());
        assert_eq!(rejections.of_rates(&charge("channel api")), None);
        assert_eq!(rejections.of_replies(&opening(user, "c")), None);
    }
}
