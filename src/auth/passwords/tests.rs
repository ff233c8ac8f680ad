//! The password rule, the stored form, and the cap.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, Version};
use futures::future::join_all;

use super::*;
use crate::auth::common_passwords::COMMON;

fn password(text: &str) -> Password {
    Password::new(text.to_owned())
}

fn passwords() -> Passwords {
    Passwords::new(PasswordLimits::default()).unwrap()
}

/// A stored hash with other parameters than the current ones.
fn stored(algorithm: Algorithm, version: Version, memory: u32, passes: u32, text: &str) -> String {
    let params = Params::new(memory, passes, 1, Some(32)).unwrap();
    Argon2::new(algorithm, version, params)
        .hash_password_with_salt(text.as_bytes(), b"0123456789abcdef")
        .unwrap()
        .to_string()
}

/// S15.
#[test]
fn rule_rejects_each_kind_of_weak_password() {
    let (wide_8, wide_128) = (format!("{}a1", "🦀".repeat(6)), format!("{}a1", "🦀".repeat(126)));
    for (text, outcome) in [
        ("abc1234", Err(PasswordRule::TooShort)),
        ("🦀🦀🦀🦀🦀a1", Err(PasswordRule::TooShort)),
        ("", Err(PasswordRule::TooShort)),
        (wide_8.as_str(), Ok(())),
        ("xkcd9361", Ok(())),
        (wide_128.as_str(), Ok(())),
        (&format!("{}a1", "x".repeat(126)), Ok(())),
        (&format!("{}a1", "x".repeat(127)), Err(PasswordRule::TooLong)),
        ("        a1", Ok(())),
        ("12345678", Err(PasswordRule::NoLetter)),
        ("пароль12", Err(PasswordRule::NoLetter)),
        ("abcdefgh", Err(PasswordRule::NoDigit)),
        ("abcdefg٣", Err(PasswordRule::NoDigit)),
        ("ada1@example.org", Err(PasswordRule::OwnEmail)),
        ("ADA1@Example.ORG", Err(PasswordRule::OwnEmail)),
        ("bob1@example.org", Ok(())),
        ("qwerty123", Err(PasswordRule::Common)),
        ("QwErTy123", Err(PasswordRule::Common)),
        ("password123", Ok(())),
        ("SecurePass123", Ok(())),
        ("SuperSecret123!", Ok(())),
    ] {
        assert_eq!(password(text).check(Some("Ada1@example.org")), outcome, "{text:?}");
    }
    assert_eq!(password("ada1@example.org").check(None), Ok(()));
}

#[test]
fn common_passwords_are_sorted_and_pass_the_rest_of_the_rule() {
    assert!(COMMON.is_sorted());
    assert!(COMMON.len() > 500);
    for entry in COMMON.iter() {
        assert_eq!(password(entry).check(None), Err(PasswordRule::Common), "{entry}");
        // One more character, and only the list's part of the rule has changed.
        assert_eq!(password(&format!("{entry}§")).check(None), Ok(()), "{entry}");
    }
}

#[tokio::test]
async fn verify_tells_correct_wrong_and_unknown_user() {
    let passwords = passwords();
    let hash = passwords.hash(password(" xkcd9361")).await.unwrap();
    assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
    assert_ne!(hash, passwords.hash(password(" xkcd9361")).await.unwrap());
    let right = passwords.verify(Some(hash.clone()), password(" xkcd9361")).await;
    assert_eq!(right, Ok(Verification::Correct { needs_rehash: false }));
    for wrong in ["xkcd9361", " xkcd9361 ", " Xkcd9361", ""] {
        assert_eq!(
            passwords.verify(Some(hash.clone()), password(wrong)).await,
            Ok(Verification::Wrong),
            "{wrong:?}"
        );
    }
    assert_eq!(passwords.verify(None, password(" xkcd9361")).await, Ok(Verification::Wrong));
}

/// S15: long passwords are not truncated.
#[tokio::test]
async fn the_last_of_128_characters_matters() {
    let passwords = passwords();
    let text = format!("{}a1", "🦀".repeat(126));
    let hash = passwords.hash(password(&text)).await.unwrap();
    let other = format!("{}a2", "🦀".repeat(126));
    assert_eq!(
        passwords.verify(Some(hash.clone()), password(&text)).await,
        Ok(Verification::Correct { needs_rehash: false })
    );
    assert_eq!(passwords.verify(Some(hash), password(&other)).await, Ok(Verification::Wrong));
}

/// S13, without a clock: the hash computed for an unknown user costs exactly as much as a stored one.
#[tokio::test]
async fn unknown_user_costs_as_much_as_known() {
    let real = PasswordHash::new(&passwords().hash(password("xkcd9361")).await.unwrap()).unwrap();
    let dummy = dummy().unwrap();
    let text = real.to_string();
    let tasks = [
        Comparison::plan(Some(&text), &dummy),
        Comparison::plan(None, &dummy),
        Comparison::plan(Some("rubbish"), &dummy),
    ];
    assert!(matches!(tasks, [Comparison::Stored(_), Comparison::UnknownUser(_), Comparison::Unusable(_)]));
    for task in &tasks {
        let target = task.target();
        assert_eq!(target.algorithm, real.algorithm);
        assert_eq!(target.version, real.version);
        assert_eq!(target.params, real.params);
        assert_eq!(target.salt.as_ref().map(|s| s.len()), real.salt.as_ref().map(|s| s.len()));
        assert_eq!(target.hash.as_ref().map(|h| h.len()), real.hash.as_ref().map(|h| h.len()));
    }
}

/// S16.
#[tokio::test]
async fn weak_stored_hash_verifies_and_needs_rehash() {
    let passwords = passwords();
    for (hash, renew) in [
        (stored(Algorithm::Argon2id, Version::V0x13, 19_456, 2, "xkcd9361"), false),
        (stored(Algorithm::Argon2id, Version::V0x13, 20_000, 3, "xkcd9361"), false),
        (stored(Algorithm::Argon2id, Version::V0x13, 19_455, 2, "xkcd9361"), true),
        (stored(Algorithm::Argon2id, Version::V0x13, 19_456, 1, "xkcd9361"), true),
        (stored(Algorithm::Argon2i, Version::V0x13, 19_456, 2, "xkcd9361"), true),
        (stored(Algorithm::Argon2id, Version::V0x10, 19_456, 2, "xkcd9361"), true),
    ] {
        assert_eq!(needs_rehash(&hash), renew, "{hash}");
        let verdict = passwords.verify(Some(hash.clone()), password("xkcd9361")).await;
        assert_eq!(verdict, Ok(Verification::Correct { needs_rehash: renew }), "{hash}");
        assert_eq!(passwords.verify(Some(hash), password("xkcd9362")).await, Ok(Verification::Wrong));
    }
}

/// S16.
#[tokio::test]
async fn costly_and_unsupported_hashes_are_not_computed() {
    let (salt, hash) = ("MDEyMzQ1Njc4OWFiY2RlZg", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    let dummy = dummy().unwrap();
    for text in [
        format!("$argon2id$v=19$m=65537,t=2,p=1${salt}${hash}"),
        format!("$argon2id$v=19$m=4294967295,t=1,p=1${salt}${hash}"),
        format!("$argon2id$v=19$m=19456,t=11,p=1${salt}${hash}"),
        format!("$argon2id$v=18$m=19456,t=2,p=1${salt}${hash}"),
        format!("$argon2id$v=19$m=19456,t=2,p=1${salt}"),
        format!("$scrypt$ln=16,r=8,p=1${salt}${hash}"),
        "$2b$12$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW".to_owned(),
        String::new(),
    ] {
        let task = Comparison::plan(Some(&text), &dummy);
        assert!(matches!(task, Comparison::Unusable(_)), "{text}");
        assert_eq!(task.target(), &dummy);
        let verdict = passwords().verify(Some(text.clone()), password("xkcd9361")).await;
        assert_eq!(verdict, Err(PasswordError::StoredHash), "{text}");
    }
    let bearable = format!("$argon2id$v=19$m=65536,t=10,p=1${salt}${hash}");
    assert!(matches!(Comparison::plan(Some(&bearable), &dummy), Comparison::Stored(_)));
}

#[test]
fn of_other_systems_hashes_only_bearable_argon2id_is_taken() {
    let (salt, hash) = ("MDEyMzQ1Njc4OWFiY2RlZg", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    let argon2id = |cost: &str| format!("$argon2id$v=19${cost}${salt}${hash}");
    for (stored, outcome) in [
        (argon2id("m=19456,t=2,p=1"), Ok(())),
        // Weaker than ours: replaced at the first sign-in.
        (argon2id("m=4096,t=1,p=1"), Ok(())),
        (argon2id("m=65536,t=4,p=4"), Ok(())),
        (argon2id("m=65537,t=1,p=1"), Err(NotImportable::TooCostly)),
        (argon2id("m=65536,t=5,p=1"), Err(NotImportable::TooCostly)),
        (argon2id("m=65536,t=2,p=5"), Err(NotImportable::TooCostly)),
        (format!("$argon2i$v=19$m=19456,t=2,p=1${salt}${hash}"), Err(NotImportable::Unknown)),
        (format!("$argon2id$v=18$m=19456,t=2,p=1${salt}${hash}"), Err(NotImportable::Unknown)),
        (format!("$argon2id$v=19$m=19456,t=2,p=1${salt}"), Err(NotImportable::TooShort)),
        (format!("$argon2id$v=19$m=19456,t=2,p=1${salt}$AAAAAAAAAAAAAA"), Err(NotImportable::TooShort)),
        (format!("$argon2id$v=19$m=19456,t=2,p=1$AAAAAA${hash}"), Err(NotImportable::Unknown)),
        (format!("$scrypt$ln=16,r=8,p=1${salt}${hash}"), Err(NotImportable::Unknown)),
        (
            "$2b$12$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW".to_owned(),
            Err(NotImportable::Bcrypt),
        ),
        ("pbkdf2_sha256$870000$abc$def".to_owned(), Err(NotImportable::Pbkdf2)),
        ("$pbkdf2-sha256$i=600000$abc$def".to_owned(), Err(NotImportable::Pbkdf2)),
        ("password123".to_owned(), Err(NotImportable::Unknown)),
        (String::new(), Err(NotImportable::Unknown)),
    ] {
        assert_eq!(check_importable(&stored), outcome, "{stored}");
        if outcome.is_ok() {
            assert!(
                matches!(Comparison::plan(Some(&stored), &dummy().unwrap()), Comparison::Stored(_)),
                "{stored}"
            );
        }
    }
}

/// S16.
#[tokio::test]
async fn at_most_two_hashes_run_at_once() {
    let passwords =
        Passwords::new(PasswordLimits { max_wait: Duration::from_secs(60), ..Default::default() });
    let passwords = passwords.unwrap();
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (dummy, outcomes) = (Arc::new(dummy().unwrap()), 20);
    let work = (0..outcomes).map(|_| {
        let (running, most, dummy) = (Arc::clone(&running), Arc::clone(&most), Arc::clone(&dummy));
        passwords.run(move || {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let hashed = Argon2::default().hash_password_with_salt(b"xkcd9361", dummy.salt.as_ref().unwrap());
            running.fetch_sub(1, Ordering::SeqCst);
            hashed.is_ok()
        })
    });
    assert_eq!(join_all(work).await, vec![Ok(true); outcomes]);
    assert_eq!(most.load(Ordering::SeqCst), 2);
}

/// S16.
#[tokio::test]
async fn cancelled_request_holds_its_permit_until_the_hash_ends() {
    let limits = PasswordLimits { max_wait: Duration::from_millis(50), ..Default::default() };
    let passwords = Passwords::new(limits).unwrap();
    let (began, beginnings) = mpsc::channel();
    let mut releases = Vec::new();
    for _ in 0..2 {
        let (release, released) = mpsc::channel::<()>();
        releases.push(release);
        let began = began.clone();
        let mut request = Box::pin(passwords.run(move || {
            began.send(()).unwrap();
            // Ends when the test lets go of its side.
            let _ = released.recv();
        }));
        assert!(futures::poll!(&mut request).is_pending());
        // The client hangs up.
        drop(request);
        beginnings.recv().unwrap();
    }
    assert_eq!(passwords.run(|| ()).await, Err(PasswordError::Busy));
    releases.pop();
    let released = Instant::now();
    while passwords.run(|| ()).await == Err(PasswordError::Busy) {
        assert!(released.elapsed() < Duration::from_secs(10));
    }
}

#[tokio::test]
async fn surplus_request_fails_at_once_and_cancelled_ones_free_slots() {
    let limits = PasswordLimits { max_wait: Duration::from_secs(60), ..Default::default() };
    let passwords = Passwords::new(limits).unwrap();
    let (release, released) = mpsc::channel::<()>();
    let released = Arc::new(std::sync::Mutex::new(released));
    let mut requests: Vec<_> = (0..34)
        .map(|_| {
            let released = Arc::clone(&released);
            Box::pin(passwords.run(move || {
                let _ = released.lock().unwrap().recv();
            }))
        })
        .collect();
    for request in &mut requests {
        assert!(futures::poll!(request).is_pending());
    }
    let mut next = Box::pin(passwords.run(|| ()));
    assert_eq!(futures::poll!(&mut next), std::task::Poll::Ready(Err(PasswordError::Busy)));
    // A waiting client hangs up: its place is free at once.
    requests.pop();
    let mut next = Box::pin(passwords.run(|| ()));
    assert!(futures::poll!(&mut next).is_pending());
    drop(release);
    // Together: a permit given to a request that is not polled would be lost.
    assert_eq!(futures::join!(join_all(requests), next), (vec![Ok(()); 33], Ok(())));
}

#[test]
fn debug_hides_the_password() {
    assert_eq!(format!("{:?}", password("xkcd9361")), "Password(..)");
}
