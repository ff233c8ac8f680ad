//! The retry policy, played through.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn settings() -> RetrySettings {
    RetrySettings::default()
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_900_000_000 + seconds, 0).unwrap()
}

/// Candidates with their keys, in chain order.
fn chain(of: &[(&'static str, u32)]) -> Vec<Candidate> {
    of.iter()
        .enumerate()
        .map(|(index, &(provider, key))| Candidate { index, provider, key: Some(key), opens_in: None })
        .collect()
}

fn failed(provider: &str, key: u32, reason: FailureReason, when: i64, wait: Duration) -> PastAttempt {
    let failure = Failure { reason, at: at(when), wait };
    PastAttempt { provider: provider.to_owned(), key: Some(key), failure: Some(failure) }
}

fn down(provider: &str, when: i64) -> PastAttempt {
    failed(provider, 1, FailureReason::ProviderUnavailable, when, Duration::ZERO)
}

fn died(provider: &str) -> PastAttempt {
    PastAttempt { provider: provider.to_owned(), key: Some(1), failure: None }
}

/// The decision right after the last failure, whose provider asked for a wait of so many seconds.
fn after_failure(candidates: &[Candidate], past: &[PastAttempt], asked: Option<u64>) -> Option<NextAttempt> {
    let known = RetryHint::FromProvider(asked.map(Duration::from_secs));
    next_attempt(&settings(), Uuid::nil(), candidates, past, known, at(0))
}

/// The decision at a later time, derived from the recorded attempts.
fn index_from_log(candidates: &[Candidate], past: &[PastAttempt], now: i64) -> Option<usize> {
    let next = next_attempt(&settings(), Uuid::nil(), candidates, past, RetryHint::FromLog, at(now));
    next.map(|next| next.index)
}

/// Plays a reply whose every attempt fails at once: the index and the wait of each attempt, until no provider is left.
fn play(
    settings: &RetrySettings,
    candidates: &[Candidate],
    fail: impl Fn(&'static str, Option<u32>) -> (FailureReason, Option<Duration>),
) -> Vec<(usize, Duration)> {
    let (reply, mut now) = (Uuid::from_u128(7), at(0));
    let mut past: Vec<PastAttempt> = Vec::new();
    let mut asked = vec![];
    let mut chosen = next_attempt(settings, reply, candidates, &[], RetryHint::FromLog, now);
    while let Some(NextAttempt { index, wait }) = chosen {
        asked.push((index, wait));
        now += wait;
        if let Some(failure) = past.last_mut().and_then(|last| last.failure.as_mut()) {
            failure.wait = wait;
        }
        // The recorded attempts lead to the same decision.
        let again = next_attempt(settings, reply, candidates, &past, RetryHint::FromLog, now);
        assert_eq!(again.map(|next| next.index), Some(index), "{past:?}");
        let Candidate { provider, key, .. } = candidates[index];
        let (reason, wish) = fail(provider, key);
        let failure = Failure { reason, at: now, wait: Duration::ZERO };
        past.push(PastAttempt { provider: provider.to_owned(), key, failure: Some(failure) });
        chosen = next_attempt(settings, reply, candidates, &past, RetryHint::FromProvider(wish), now);
        assert!(asked.len() < 100);
    }
    asked
}

fn places(asked: &[(usize, Duration)]) -> Vec<usize> {
    asked.iter().map(|(index, _)| *index).collect()
}

#[test]
fn unreachable_provider_is_called_four_times_with_growing_backoff() {
    let one = chain(&[("openai", 1)]);
    let asked = play(&settings(), &one, |_, _| (FailureReason::ProviderUnavailable, None));
    assert_eq!(places(&asked), [0, 0, 0, 0]);
    for (n, (_, wait)) in asked.iter().enumerate().skip(1) {
        let backoff = SECOND * 2_u32.pow(u32::try_from(n).unwrap() - 1);
        assert!((backoff / 2..=backoff * 3 / 2).contains(wait), "wait {n}: {wait:?}");
    }
    let total: Duration = asked.iter().map(|(_, wait)| *wait).sum();
    assert!(total < Duration::from_secs(60));
}

#[test]
fn backoff_has_a_jitter_per_reply() {
    let one = chain(&[("openai", 1)]);
    let wait = |reply: u128| {
        let past = [down("openai", 0)];
        next_attempt(&settings(), Uuid::from_u128(reply), &one, &past, RetryHint::FromProvider(None), at(0))
            .unwrap()
            .wait
    };
    let mut waits: Vec<Duration> = (0..20).map(wait).collect();
    waits.sort();
    waits.dedup();
    assert!(waits.len() > 15 && waits[waits.len() - 1] - waits[0] > SECOND / 3, "{waits:?}");
    assert_eq!(wait(3), wait(3));
}

#[test]
fn untried_providers_come_first_then_failed_ones_again() {
    let three = chain(&[("openai", 1), ("groq", 1), ("gemini", 1)]);
    let asked = play(&settings(), &three, |_, _| (FailureReason::ProviderUnavailable, None));
    // Three untried providers, then three repeated calls.
    assert_eq!(asked.len(), 6);
    assert_eq!(asked[..3], [(0, Duration::ZERO), (1, Duration::ZERO), (2, Duration::ZERO)]);
    assert!(asked[3].1 > Duration::ZERO);
}

#[test]
fn rejected_key_or_empty_account_is_not_used_again() {
    let keys = chain(&[("openrouter", 1), ("openrouter", 2), ("groq", 1)]);
    for reason in [FailureReason::KeyInvalid, FailureReason::QuotaExceeded, FailureReason::KeyMissing] {
        let asked = play(&settings(), &keys, |_, _| (reason, None));
        assert_eq!(asked, [(0, Duration::ZERO), (1, Duration::ZERO), (2, Duration::ZERO)], "{reason:?}");
    }
}

#[test]
fn unknown_model_or_bad_response_excludes_the_whole_provider() {
    let keys = chain(&[("openrouter", 1), ("openrouter", 2), ("groq", 1)]);
    for reason in [FailureReason::ModelUnknown, FailureReason::BadResponse] {
        assert_eq!(places(&play(&settings(), &keys, |_, _| (reason, None))), [0, 2], "{reason:?}");
    }
}

#[test]
fn rate_limited_key_is_followed_by_the_next_key_at_once() {
    let keys = chain(&[("openrouter", 1), ("openrouter", 2)]);
    let past = [failed("openrouter", 1, FailureReason::RateLimited, 0, Duration::ZERO)];
    let next = after_failure(&keys, &past, Some(2)).unwrap();
    assert_eq!(next, NextAttempt { index: 1, wait: Duration::ZERO });
}

#[test]
fn rate_limit_is_waited_for_up_to_max_wait_only() {
    let two = chain(&[("openai", 1), ("groq", 1)]);
    let limited = |pause| [failed("openai", 1, FailureReason::RateLimited, 0, pause)];
    let next = after_failure(&two, &limited(Duration::ZERO), Some(2)).unwrap();
    assert_eq!(next.index, 0);
    assert!((2 * SECOND..=SECOND * 23 / 10).contains(&next.wait), "{:?}", next.wait);
    // The record has a wait: the policy waits for this provider.
    assert_eq!(index_from_log(&two, &limited(2 * SECOND), 2), Some(0));
    let next = after_failure(&two, &limited(Duration::ZERO), Some(86_400)).unwrap();
    assert_eq!(next, NextAttempt { index: 1, wait: Duration::ZERO });
    assert_eq!(index_from_log(&two, &limited(Duration::ZERO), 1), Some(1), "the record has no wait");
}

#[test]
fn lasting_rate_limit_ends_with_another_provider() {
    let two = chain(&[("openai", 1), ("groq", 1)]);
    let fail = |provider, _| match provider {
        "openai" => (FailureReason::RateLimited, Some(2 * SECOND)),
        _ => (FailureReason::KeyInvalid, None),
    };
    assert_eq!(places(&play(&settings(), &two, fail)), [0, 0, 0, 0, 1]);
}

#[test]
fn waits_are_capped_singly_and_in_total() {
    let one = chain(&[("openai", 1)]);
    let limited = |wish| move |_, _| (FailureReason::RateLimited, Some(Duration::from_secs(wish)));
    let asked = play(&settings(), &one, limited(86_400));
    let cap = Duration::from_secs(20);
    assert_eq!(asked, [(0, Duration::ZERO), (0, cap), (0, cap), (0, cap)]);
    let many_attempts = RetrySettings { max_attempts: 20, ..settings() };
    let asked = play(&many_attempts, &one, limited(15));
    let total: Duration = asked.iter().map(|(_, wait)| *wait).sum();
    assert!(asked.len() < 6 && total <= Duration::from_secs(60), "{asked:?}");
}

#[test]
fn other_keys_of_unreachable_provider_come_after_other_providers() {
    let keys = chain(&[("openrouter", 1), ("openrouter", 2), ("groq", 1)]);
    let past = [down("openrouter", 0)];
    assert_eq!(index_from_log(&keys, &past, 0), Some(2));
    let only = chain(&[("openrouter", 1), ("openrouter", 2)]);
    let next = after_failure(&only, &past, None).unwrap();
    assert!(next.index == 1 && next.wait > Duration::ZERO, "{next:?}");
}

#[test]
fn open_circuit_is_skipped_and_waited_for_when_it_is_the_last() {
    let mut two = chain(&[("openai", 1), ("groq", 1)]);
    two[0].opens_in = Some(4 * SECOND);
    assert_eq!(index_from_log(&two, &[], 0), Some(1));
    two[1].opens_in = Some(3 * SECOND);
    assert_eq!(after_failure(&two, &[], None), Some(NextAttempt { index: 1, wait: 3 * SECOND }));
    // After a failure the longer of back-off and open circuit counts.
    let next = after_failure(&two[..1], &[down("openai", 0)], None).unwrap();
    assert_eq!(next.wait, 4 * SECOND);
}

#[test]
fn process_crash_costs_an_attempt_and_blames_no_provider() {
    let two = chain(&[("openai", 1), ("groq", 1)]);
    assert_eq!(index_from_log(&two, &[died("openai")], 0), Some(0));
    let one = chain(&[("openai", 1)]);
    let four = [died("openai"), died("openai"), died("openai"), died("openai")];
    assert_eq!(index_from_log(&one, &four, 0), None);
    assert_eq!(index_from_log(&one, &four[..3], 0), Some(0));
}

#[test]
fn attempts_of_unconfigured_providers_are_ignored() {
    let one = chain(&[("groq", 1)]);
    assert_eq!(
        after_failure(&one, &[down("gone", 0)], None),
        Some(NextAttempt { index: 0, wait: Duration::ZERO })
    );
    assert_eq!(after_failure(&[], &[], None), None);
}

#[test]
fn unreachable_provider_is_waited_for_up_to_max_wait() {
    let one = chain(&[("openai", 1)]);
    let away = |wish| move |_, _| (FailureReason::ProviderUnavailable, Some(Duration::from_secs(wish)));
    let asked = play(&settings(), &one, away(6));
    assert_eq!(places(&asked), [0, 0, 0, 0]);
    for (_, wait) in &asked[1..] {
        assert!((6 * SECOND..=SECOND * 67 / 10).contains(wait), "{asked:?}");
    }
    let cap = Duration::from_secs(20);
    let asked = play(&settings(), &one, away(86_400));
    assert_eq!(asked, [(0, Duration::ZERO), (0, cap), (0, cap), (0, cap)]);
    // No wait while another provider is untried.
    let two = chain(&[("openai", 1), ("groq", 1)]);
    assert_eq!(
        after_failure(&two, &[down("openai", 0)], Some(6)),
        Some(NextAttempt { index: 1, wait: Duration::ZERO })
    );
}

#[test]
fn too_long_prompt_goes_to_another_provider_not_another_key() {
    let keys = chain(&[("groq", 1), ("groq", 2), ("gemini", 1)]);
    let fail = |provider, _| match provider {
        "groq" => (FailureReason::TooLong, None),
        _ => (FailureReason::KeyInvalid, None),
    };
    assert_eq!(play(&settings(), &keys, fail), [(0, Duration::ZERO), (2, Duration::ZERO)]);
}
