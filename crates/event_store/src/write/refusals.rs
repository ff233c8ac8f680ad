//! What people were refused, remembered for a while: whoever goes on asking costs the database nothing.

use std::time::{Duration, Instant};

use moka::sync::Cache;
use uuid::Uuid;

use super::charge::{QuotaCharge, QuotaEntries, QuotaExceeded, REPLIES_AT_ONCE, TOKENS_PER_DAY};

/// Most refusals remembered; of more, the database is asked each time.
const MOST: u64 = 100_000;
/// How long a refusal is remembered at most, before the database is asked again.
const REMEMBERED: Duration = Duration::from_secs(60);
/// How long, when the end of a reply would lift it: it may end at another process, which does not tell.
const REMEMBERED_OF_REPLIES: Duration = Duration::from_secs(2);
/// From this wait on, a refusal does not hang on replies that are under way.
const LONG: Duration = Duration::from_secs(6);

/// RejectionCache, by whose and of which policy, until when. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RejectionCache(Cache<(Uuid, String), Refused>);

#[derive(Debug, Clone)]
struct Refused {
    /// Until when it holds.
    until: Instant,
    /// Until when it is believed.
    believed: Instant,
    what: QuotaExceeded,
}

impl Default for RejectionCache {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(MOST).time_to_live(REMEMBERED).build())
    }
}

impl RejectionCache {
    /// Remembers a refusal.
    pub(super) fn remember(&self, user: Uuid, exceeded: &QuotaExceeded) {
        let now = Instant::now();
        let lifted = is_lifted_by_ends(exceeded);
        let believed = now + exceeded.wait.min(if lifted { REMEMBERED_OF_REPLIES } else { REMEMBERED });
        let refused = Refused { until: now + exceeded.wait, believed, what: exceeded.clone() };
        self.0.insert((user, exceeded.policy.clone()), refused);
    }

    /// The refusal that still holds for one of the charge's rates.
    pub fn of_rates(&self, charge: &QuotaCharge) -> Option<QuotaExceeded> {
        charge.rates.iter().find_map(|rate| self.known(charge.user, &rate.name))
    }

    /// The refusal that still holds for one of the replies that the charge opens.
    pub(super) fn of_replies(&self, charged: &QuotaEntries) -> Option<QuotaExceeded> {
        let conversations = charged.opens();
        if conversations.is_empty() {
            return None;
        }
        QuotaExceeded::OF_REPLIES.iter().find_map(|policy| {
            let known = self.known(charged.user, policy)?;
            if charged.ends() && is_lifted_by_ends(&known) {
                return None;
            }
            conversations.iter().all(|one| !known.except.iter().any(|owed| owed == one)).then_some(known)
        })
    }

    /// A reply of this person has ended: what it stood in the way of may go on.
    pub(super) fn ended(&self, user: Uuid) {
        for policy in [REPLIES_AT_ONCE, TOKENS_PER_DAY] {
            let key = (user, policy.to_owned());
            if self.0.get(&key).is_some_and(|refused| is_lifted_by_ends(&refused.what)) {
                self.0.invalidate(&key);
            }
        }
    }

    fn known(&self, user: Uuid, policy: &str) -> Option<QuotaExceeded> {
        let now = Instant::now();
        let Refused { until, believed, what } = self.0.get(&(user, policy.to_owned()))?;
        (believed > now).then(|| QuotaExceeded { wait: until.saturating_duration_since(now), ..what })
    }
}

/// Whether the end of a reply may lift it before its time.
fn is_lifted_by_ends(exceeded: &QuotaExceeded) -> bool {
    exceeded.policy == REPLIES_AT_ONCE || (exceeded.policy == TOKENS_PER_DAY && exceeded.wait < LONG)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::charge::{MESSAGES_PER_DAY, Quotas, Rate};
    use super::*;

    fn exceeded(policy: &str, seconds: u64, except: &[&str]) -> QuotaExceeded {
        let except = except.iter().map(|one| (*one).to_owned()).collect();
        QuotaExceeded { policy: policy.to_owned(), wait: Duration::from_secs(seconds), bound: 2, except }
    }

    fn opening(user: Uuid, conversation: &str) -> QuotaEntries {
        QuotaEntries { user, entries: json!({"opens": [["reply", conversation, 0]]}) }
    }

    #[test]
    fn a_quota_that_is_used_up_is_remembered_for_whatever_opens_a_reply() {
        let (refusals, user) = (RejectionCache::default(), Uuid::from_u128(1));
        refusals.remember(user, &exceeded(MESSAGES_PER_DAY, 4_000, &[]));
        let known = refusals.of_replies(&opening(user, "c")).unwrap();
        assert!(known.wait > Duration::from_secs(3_990), "until the day ends: {known:?}");
        assert_eq!(refusals.of_replies(&opening(Uuid::from_u128(2), "c")), None, "another person");
        let note = QuotaEntries { user, entries: json!({"rates": [["user", 30]]}) };
        assert_eq!(refusals.of_replies(&note), None, "what asks for no reply is held against no quota");
        refusals.ended(user);
        assert!(refusals.of_replies(&opening(user, "c")).is_some(), "no reply gives a message back");
    }

    #[test]
    fn the_end_of_a_reply_lifts_what_it_stood_in_the_way_of() {
        let (refusals, user) = (RejectionCache::default(), Uuid::from_u128(1));
        refusals.remember(user, &exceeded(REPLIES_AT_ONCE, 5, &["a", "b"]));
        assert!(refusals.of_replies(&opening(user, "c")).is_some());
        assert_eq!(refusals.of_replies(&opening(user, "b")), None, "a reply is owed there already");
        refusals.ended(user);
        assert_eq!(refusals.of_replies(&opening(user, "c")), None);
        // Tokens that are set aside are there again; those that are used are not.
        for (seconds, stays) in [(5, false), (4_000, true)] {
            refusals.remember(user, &exceeded(TOKENS_PER_DAY, seconds, &[]));
            refusals.ended(user);
            assert_eq!(refusals.of_replies(&opening(user, "c")).is_some(), stays, "{seconds}");
        }
    }

    #[test]
    fn what_ends_a_reply_itself_is_held_against_no_reply() {
        let (refusals, user) = (RejectionCache::default(), Uuid::from_u128(1));
        let entries = json!({"opens": [["next", "c", 0]], "ends": [["reply", null, 0]]});
        let instead = QuotaEntries { user, entries };
        refusals.remember(user, &exceeded(TOKENS_PER_DAY, 5, &[]));
        refusals.remember(user, &exceeded(REPLIES_AT_ONCE, 5, &["a"]));
        assert_eq!(refusals.of_replies(&instead), None, "it gives back what it takes");
        refusals.remember(user, &exceeded(TOKENS_PER_DAY, 4_000, &[]));
        assert!(refusals.of_replies(&instead).is_some(), "what is used is not given back");
    }

    #[test]
    fn a_rate_is_remembered_for_whatever_takes_of_it() {
        let (refusals, user) = (RejectionCache::default(), Uuid::from_u128(1));
        refusals.remember(user, &exceeded("user", 30, &[]));
        let rate = |name: &str| Rate { name: name.to_owned(), per_minute: 2 };
        let charge = |name: &str| QuotaCharge { user, rates: vec![rate(name)], quotas: Quotas::default() };
        assert!(refusals.of_rates(&charge("user")).is_some());
        assert_eq!(refusals.of_rates(&charge("channel api")), None);
        assert_eq!(refusals.of_replies(&opening(user, "c")), None);
    }
}
