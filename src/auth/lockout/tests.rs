//! Failed sign-ins against a real database.

use std::time::Duration;

use sqlx::PgPool;

use super::*;
use crate::schema::MIGRATOR;

const ADA: &str = "email:ada";
const EVE: &str = "email:eve";

fn lockout(pool: &PgPool) -> Lockout {
    Lockout::new(pool.clone(), LockoutPolicy::default())
}

/// Moves every stored time into the past.
async fn later(pool: &PgPool, seconds: u32) {
    sqlx::query(
        "UPDATE sign_in_failures SET since = since - make_interval(secs => $1),
            locked_until = locked_until - make_interval(secs => $1),
            expires_at = expires_at - make_interval(secs => $1)",
    )
    .bind(f64::from(seconds))
    .execute(pool)
    .await
    .unwrap();
}

async fn fail(lockout: &Lockout, account: &str, times: u32) -> LockoutOutcome {
    let mut last = LockoutOutcome::Counted;
    for _ in 0..times {
        last = lockout.record_attempt(account, false).await.unwrap();
    }
    last
}

fn minutes(count: u64) -> LockoutOutcome {
    LockoutOutcome::Locked(Duration::from_secs(60 * count))
}

/// S14.
#[sqlx::test(migrator = "MIGRATOR")]
async fn tenth_failure_locks_and_correct_password_reveals_nothing(pool: PgPool) {
    let lockout = lockout(&pool);
    assert_eq!(fail(&lockout, ADA, 9).await, LockoutOutcome::Counted);
    assert_eq!(lockout.locked_for(ADA).await.unwrap(), None);
    assert_eq!(fail(&lockout, ADA, 1).await, minutes(1));
    let refused = lockout.locked_for(ADA).await.unwrap().unwrap();
    assert!((55..=60).contains(&refused.as_secs()), "{refused:?}");
    for right in [true, false] {
        assert!(matches!(lockout.record_attempt(ADA, right).await.unwrap(), LockoutOutcome::Rejected(_)));
    }
    // Another account is not concerned, and another node counts the same.
    assert_eq!(lockout.locked_for(EVE).await.unwrap(), None);
    let there = Lockout::new(pool.clone(), LockoutPolicy::default());
    assert!(there.locked_for(ADA).await.unwrap().is_some());

    later(&pool, 61).await;
    assert_eq!(lockout.locked_for(ADA).await.unwrap(), None);
    assert_eq!(lockout.record_attempt(ADA, true).await.unwrap(), LockoutOutcome::Counted);
    // A right password clears it.
    assert_eq!(fail(&lockout, ADA, 9).await, LockoutOutcome::Counted);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn lock_doubles_up_to_fifteen_minutes(pool: PgPool) {
    let lockout = lockout(&pool);
    assert_eq!(fail(&lockout, ADA, 10).await, minutes(1));
    for (passed, next) in [(61, 2), (121, 4), (241, 8), (481, 15), (901, 15), (901, 15)] {
        later(&pool, passed).await;
        assert_eq!(fail(&lockout, ADA, 1).await, minutes(next));
    }
    // After a quiet quarter of an hour it begins anew.
    later(&pool, 901 + 900).await;
    assert_eq!(fail(&lockout, ADA, 9).await, LockoutOutcome::Counted);
    assert_eq!(fail(&lockout, ADA, 1).await, minutes(1));
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn failures_older_than_the_window_do_not_count(pool: PgPool) {
    let lockout = lockout(&pool);
    for _ in 0..4 {
        assert_eq!(fail(&lockout, ADA, 9).await, LockoutOutcome::Counted);
        later(&pool, 901).await;
    }
}

/// However many attempts run at once, ten results reveal whether the password was correct; the others do not.
#[sqlx::test(migrator = "MIGRATOR")]
async fn concurrent_attempts_reveal_at_most_ten_results(pool: PgPool) {
    let lockout = lockout(&pool);
    let outcomes = futures::future::join_all((0..200).map(|_| lockout.record_attempt(ADA, false))).await;
    let told =
        outcomes.iter().filter(|outcomes| !matches!(outcomes, Ok(LockoutOutcome::Rejected(_)))).count();
    assert_eq!(told, 10);
    assert!(matches!(lockout.record_attempt(ADA, true).await.unwrap(), LockoutOutcome::Rejected(_)));
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn purge_drops_expired_and_surplus_counts(pool: PgPool) {
    let lockout = lockout(&pool);
    fail(&lockout, ADA, 10).await;
    fail(&lockout, EVE, 1).await;
    assert_eq!(lockout.purge().await.unwrap(), 0);
    // A lock and the time after it: a minute and a quarter of an hour.
    later(&pool, 901).await;
    assert_eq!(lockout.purge().await.unwrap(), 1);
    assert_eq!(fail(&lockout, ADA, 1).await, minutes(2));
    later(&pool, 60 * 18).await;
    assert_eq!(lockout.purge().await.unwrap(), 1);

    for n in 0..20 {
        fail(&lockout, &format!("email:{n}"), 1).await;
    }
    fail(&lockout, ADA, 10).await;
    assert_eq!(lockout.purge_beyond(5).await.unwrap(), 16);
    // Those that end last stay.
    assert!(lockout.locked_for(ADA).await.unwrap().is_some());
}
