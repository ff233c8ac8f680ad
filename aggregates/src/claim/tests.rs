//! Given, when, then: every command of a claim, allowed and rejected.

use chrono::{DateTime, Utc};
use cqrs_es::test::{AggregateTestExecutor, TestFramework};
use uuid::Uuid;

use super::*;
use crate::ids::UserId;

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_750_000_000 + second, 0).unwrap()
}

fn ada() -> UserId {
    UserId::new(Uuid::from_u128(1))
}

fn eve() -> UserId {
    UserId::new(Uuid::from_u128(2))
}

fn taken(owner: UserId) -> ClaimEvent {
    ClaimEvent::ClaimTaken { owner, at: at(0) }
}

fn released(owner: UserId) -> ClaimEvent {
    ClaimEvent::ClaimReleased { owner, at: at(1) }
}

fn given(events: Vec<ClaimEvent>) -> AggregateTestExecutor<Claim> {
    TestFramework::with(()).given(events)
}

#[test]
fn free_value_is_taken() {
    given(vec![]).when(ClaimCommand::Take { owner: ada(), at: at(0) }).then_expect_events(vec![taken(ada())]);
}

#[test]
fn repeated_take_by_the_holder_adds_nothing() {
    given(vec![taken(ada())]).when(ClaimCommand::Take { owner: ada(), at: at(7) }).then_expect_events(vec![]);
}

#[test]
fn taken_value_is_rejected_for_another_user() {
    given(vec![taken(ada())])
        .when(ClaimCommand::Take { owner: eve(), at: at(0) })
        .then_expect_error(ClaimError::Taken);
}

#[test]
fn owner_releases_value() {
    given(vec![taken(ada())])
        .when(ClaimCommand::Release { owner: ada(), at: at(1) })
        .then_expect_events(vec![released(ada())]);
}

#[test]
fn repeated_release_adds_nothing() {
    given(vec![taken(ada()), released(ada())])
        .when(ClaimCommand::Release { owner: ada(), at: at(2) })
        .then_expect_events(vec![]);
    given(vec![]).when(ClaimCommand::Release { owner: ada(), at: at(2) }).then_expect_events(vec![]);
}

#[test]
fn only_the_holder_releases_the_value() {
    given(vec![taken(ada())])
        .when(ClaimCommand::Release { owner: eve(), at: at(1) })
        .then_expect_events(vec![]);
}

#[test]
fn released_value_may_be_taken_by_any_user() {
    for next in [ada(), eve()] {
        given(vec![taken(ada()), released(ada())])
            .when(ClaimCommand::Take { owner: next, at: at(0) })
            .then_expect_events(vec![taken(next)]);
    }
}

#[test]
fn state_shows_the_holder() {
    use cqrs_es::Aggregate;

    let mut claim = Claim::default();
    assert_eq!(claim.owner(), None);
    claim.apply(taken(ada()));
    assert_eq!(claim.owner(), Some(ada()));
    claim.apply(released(ada()));
    assert_eq!(claim.owner(), None);
    assert!(claim.approximate_bytes() > 0);
}
