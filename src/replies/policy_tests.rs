//! Who is asked next.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn settings() -> RetrySettings {
    RetrySettings::default()
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_900_000_000 + seconds, 0).unwrap()
}

/// Candidates with their keys, in order; the place is the index.
fn chain(of: &[(&'static str, u32)]) -> Vec<Candidate> {
    of.iter()
        .enumerate()
        .map(|(place, &(provider, key))| Candidate { place, provider, key: Some(key), opens_in: None })
        .collect()
}

fn failed(provider: &str, key: u32, reason: FailureReason, when: i64, pause: Duration) -> Tried {
    let failed = Failed { reason, at: at(when), pause };
    Tried { provider: provider.to_owned(), key: Some(key), failed: Some(failed) }
}

fn down(provider: &str, when: i64) -> Tried {
    failed(provider, 1, FailureReason::ProviderUnavailable, when, Duration::ZERO)
}

fn died(provider: &str) -> Tried {
    Tried { provider: provider.to_owned(), key: Some(1), failed: None }
}

/// Just after the last failure, which asked to wait so many seconds.
fn told(candidates: &[Candidate], tried: &[Tried], asked: Option<u64>) -> Option<Next> {
    let known = Known::Told(asked.map(Duration::from_secs));
    next(&settings(), Uuid::nil(), candidates, tried, known, at(0))
}

/// Later, from the record.
fn place(candidates: &[Candidate], tried: &[Tried], now: i64) -> Option<usize> {
    let next = next(&settings(), Uuid::nil(), candidates, tried, Known::Recorded, at(now));
    next.map(|next| next.place)
}

/// A reply whose every attempt fails at once in these ways: who is asked and after which pause, until nobody is.
fn play(
    settings: &RetrySettings,
    candidates: &[Candidate],
    fail: impl Fn(&'static str, Option<u32>) -> (FailureReason, Option<Duration>),
) -> Vec<(usize, Duration)> {
    let (reply, mut now) = (Uuid::from_u128(7), at(0));
    let mut tried: Vec<Tried> = Vec::new();
    let mut asked = vec![];
    let mut chosen = next(settings, reply, candidates, &[], Known::Recorded, now);
    while let Some(Next { place, wait }) = chosen {
        asked.push((place, wait));
        now += wait;
        if let Some(failed) = tried.last_mut().and_then(|last| last.failed.as_mut()) {
            failed.pause = wait;
        }
        // What the record says leads to the same one.
        let again = next(settings, reply, candidates, &tried, Known::Recorded, now);
        assert_eq!(again.map(|next| next.place), Some(place), "{tried:?}");
        let Candidate { provider, key, .. } = candidates[place];
        let (reason, wish) = fail(provider, key);
        let failed = Failed { reason, at: now, pause: Duration::ZERO };
        tried.push(Tried { provider: provider.to_owned(), key, failed: Some(failed) });
        chosen = next(settings, reply, candidates, &tried, Known::Told(wish), now);
        assert!(asked.len() < 100);
    }
    asked
}

fn places(asked: &[(usize, Duration)]) -> Vec<usize> {
    asked.iter().map(|(place, _)| *place).collect()
}

#[test]
fn one_provider_that_is_down_is_asked_four_times_with_growing_pauses() {
    let one = chain(&[("openai", 1)]);
    let asked = play(&settings(), &one, |_, _| (FailureReason::ProviderUnavailable, None));
    assert_eq!(places(&asked), [0, 0, 0, 0]);
    for (n, (_, wait)) in asked.iter().enumerate().skip(1) {
        let backoff = SECOND * 2_u32.pow(u32::try_from(n).unwrap() - 1);
        assert!((backoff / 2..=backoff * 3 / 2).contains(wait), "pause {n}: {wait:?}");
    }
    let in_all: Duration = asked.iter().map(|(_, wait)| *wait).sum();
    assert!(in_all < Duration::from_secs(60));
}

#[test]
fn pauses_are_spread_by_the_reply() {
    let one = chain(&[("openai", 1)]);
    let wait = |reply: u128| {
        let tried = [down("openai", 0)];
        next(&settings(), Uuid::from_u128(reply), &one, &tried, Known::Told(None), at(0)).unwrap().wait
    };
    let mut waits: Vec<Duration> = (0..20).map(wait).collect();
    waits.sort();
    waits.dedup();
    assert!(waits.len() > 15 && waits[waits.len() - 1] - waits[0] > SECOND / 3, "{waits:?}");
    assert_eq!(wait(3), wait(3));
}

#[test]
fn another_provider_is_asked_at_once_and_those_before_again_when_all_have_failed() {
    let three = chain(&[("openai", 1), ("groq", 1), ("gemini", 1)]);
    let asked = play(&settings(), &three, |_, _| (FailureReason::ProviderUnavailable, None));
    // Three strangers, and three tries more.
    assert_eq!(asked.len(), 6);
    assert_eq!(asked[..3], [(0, Duration::ZERO), (1, Duration::ZERO), (2, Duration::ZERO)]);
    assert!(asked[3].1 > Duration::ZERO);
}

#[test]
fn a_refused_key_or_an_empty_account_is_never_asked_again() {
    let keys = chain(&[("openrouter", 1), ("openrouter", 2), ("groq", 1)]);
    for reason in [FailureReason::KeyInvalid, FailureReason::QuotaExceeded, FailureReason::KeyMissing] {
        let asked = play(&settings(), &keys, |_, _| (reason, None));
        assert_eq!(asked, [(0, Duration::ZERO), (1, Duration::ZERO), (2, Duration::ZERO)], "{reason:?}");
    }
}

#[test]
fn a_provider_without_the_model_or_without_sense_is_done_with_whatever_the_key() {
    let keys = chain(&[("openrouter", 1), ("openrouter", 2), ("groq", 1)]);
    for reason in [FailureReason::ModelUnknown, FailureReason::BadResponse] {
        assert_eq!(places(&play(&settings(), &keys, |_, _| (reason, None))), [0, 2], "{reason:?}");
    }
}

#[test]
fn a_limit_of_one_key_is_passed_on_to_the_next_at_once() {
    let keys = chain(&[("openrouter", 1), ("openrouter", 2)]);
    let tried = [failed("openrouter", 1, FailureReason::RateLimited, 0, Duration::ZERO)];
    let next = told(&keys, &tried, Some(2)).unwrap();
    assert_eq!(next, Next { place: 1, wait: Duration::ZERO });
}

#[test]
fn a_limit_within_the_cap_is_waited_for_and_one_beyond_it_is_not() {
    let two = chain(&[("openai", 1), ("groq", 1)]);
    let limited = |pause| [failed("openai", 1, FailureReason::RateLimited, 0, pause)];
    let next = told(&two, &limited(Duration::ZERO), Some(2)).unwrap();
    assert_eq!(next.place, 0);
    assert!((2 * SECOND..=SECOND * 23 / 10).contains(&next.wait), "{:?}", next.wait);
    // The record says that it was waited for.
    assert_eq!(place(&two, &limited(2 * SECOND), 2), Some(0));
    let next = told(&two, &limited(Duration::ZERO), Some(86_400)).unwrap();
    assert_eq!(next, Next { place: 1, wait: Duration::ZERO });
    assert_eq!(place(&two, &limited(Duration::ZERO), 1), Some(1), "the record says that it was not");
}

#[test]
fn a_limit_that_does_not_pass_ends_with_another_provider() {
    let two = chain(&[("openai", 1), ("groq", 1)]);
    let fail = |provider, _| match provider {
        "openai" => (FailureReason::RateLimited, Some(2 * SECOND)),
        _ => (FailureReason::KeyInvalid, None),
    };
    assert_eq!(places(&play(&settings(), &two, fail)), [0, 0, 0, 0, 1]);
}

#[test]
fn waits_are_capped_one_by_one_and_in_all() {
    let one = chain(&[("openai", 1)]);
    let limited = |wish| move |_, _| (FailureReason::RateLimited, Some(Duration::from_secs(wish)));
    let asked = play(&settings(), &one, limited(86_400));
    let cap = Duration::from_secs(20);
    assert_eq!(asked, [(0, Duration::ZERO), (0, cap), (0, cap), (0, cap)]);
    let patient = RetrySettings { max_attempts: 20, ..settings() };
    let asked = play(&patient, &one, limited(15));
    let in_all: Duration = asked.iter().map(|(_, wait)| *wait).sum();
    assert!(asked.len() < 6 && in_all <= Duration::from_secs(60), "{asked:?}");
}

#[test]
fn other_keys_of_a_provider_that_is_down_come_after_other_providers_and_not_at_once() {
    let keys = chain(&[("openrouter", 1), ("openrouter", 2), ("groq", 1)]);
    let tried = [down("openrouter", 0)];
    assert_eq!(place(&keys, &tried, 0), Some(2));
    let only = chain(&[("openrouter", 1), ("openrouter", 2)]);
    let next = told(&only, &tried, None).unwrap();
    assert!(next.place == 1 && next.wait > Duration::ZERO, "{next:?}");
}

#[test]
fn open_circuits_are_passed_over_and_waited_for_when_there_is_nobody_else() {
    let mut two = chain(&[("openai", 1), ("groq", 1)]);
    two[0].opens_in = Some(4 * SECOND);
    assert_eq!(place(&two, &[], 0), Some(1));
    two[1].opens_in = Some(3 * SECOND);
    assert_eq!(told(&two, &[], None), Some(Next { place: 1, wait: 3 * SECOND }));
    // After a failure the longer of the two waits counts.
    let next = told(&two[..1], &[down("openai", 0)], None).unwrap();
    assert_eq!(next.wait, 4 * SECOND);
}

#[test]
fn a_process_that_died_costs_a_try_and_is_held_against_nobody() {
    let two = chain(&[("openai", 1), ("groq", 1)]);
    assert_eq!(place(&two, &[died("openai")], 0), Some(0));
    let one = chain(&[("openai", 1)]);
    let four = [died("openai"), died("openai"), died("openai"), died("openai")];
    assert_eq!(place(&one, &four, 0), None);
    assert_eq!(place(&one, &four[..3], 0), Some(0));
}

#[test]
fn what_is_no_longer_configured_is_in_nobodys_way() {
    let one = chain(&[("groq", 1)]);
    assert_eq!(told(&one, &[down("gone", 0)], None), Some(Next { place: 0, wait: Duration::ZERO }));
    assert_eq!(told(&[], &[], None), None);
}

#[test]
fn a_provider_that_is_away_is_waited_for_as_long_as_it_asks_up_to_the_cap() {
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
    // Nobody waits while another one has not been asked.
    let two = chain(&[("openai", 1), ("groq", 1)]);
    assert_eq!(told(&two, &[down("openai", 0)], Some(6)), Some(Next { place: 1, wait: Duration::ZERO }));
}

#[test]
fn what_is_too_large_for_one_account_is_for_another_provider_and_no_other_key() {
    let keys = chain(&[("groq", 1), ("groq", 2), ("gemini", 1)]);
    let fail = |provider, _| match provider {
        "groq" => (FailureReason::TooLong, None),
        _ => (FailureReason::KeyInvalid, None),
    };
    assert_eq!(play(&settings(), &keys, fail), [(0, Duration::ZERO), (2, Duration::ZERO)]);
}
