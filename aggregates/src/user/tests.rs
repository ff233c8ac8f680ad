//! Given, when, then: every command of a user, allowed and refused.

use chrono::{DateTime, Utc};
use cqrs_es::test::{AggregateTestExecutor, TestFramework};
use uuid::Uuid;

use super::*;
use crate::ids::UserId;
use crate::personal::Personal;
use crate::values::{EmailAddress, Username};

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_750_000_000 + second, 0).unwrap()
}

fn ada() -> UserId {
    UserId::new(Uuid::from_u128(1))
}

fn email(text: &str) -> Personal<EmailAddress> {
    Personal::Known(EmailAddress::parse(text).unwrap())
}

fn name(text: &str) -> Option<Personal<Username>> {
    Some(Personal::Known(Username::parse(text).unwrap()))
}

fn register() -> UserCommand {
    UserCommand::Register {
        user_id: ada(),
        email: email("ada@example.org"),
        username: name("ada"),
        at: at(0),
    }
}

fn registered() -> UserEvent {
    UserEvent::UserRegistered {
        user_id: ada(),
        email: email("ada@example.org"),
        username: name("ada"),
        at: at(0),
    }
}

fn deactivated() -> UserEvent {
    UserEvent::UserDeactivated { user_id: ada(), at: at(5) }
}

fn given(events: Vec<UserEvent>) -> AggregateTestExecutor<User> {
    TestFramework::with(()).given(events)
}

#[test]
fn a_new_user_is_registered() {
    given(vec![]).when(register()).then_expect_events(vec![registered()]);
}

#[test]
fn registering_again_with_the_same_data_adds_nothing_even_at_another_time() {
    let command = UserCommand::Register {
        user_id: ada(),
        email: email("ada@example.org"),
        username: name("ada"),
        at: at(9),
    };
    given(vec![registered()]).when(command).then_expect_events(vec![]);
}

#[test]
fn registering_again_with_other_data_is_refused() {
    let other = UserId::new(Uuid::from_u128(2));
    for (user_id, email, username) in [
        (other, email("ada@example.org"), name("ada")),
        (ada(), email("eve@example.org"), name("ada")),
        (ada(), email("ada@example.org"), name("eve")),
        (ada(), email("ada@example.org"), None),
        (ada(), Personal::Erased, name("ada")),
    ] {
        given(vec![registered()])
            .when(UserCommand::Register { user_id, email, username, at: at(0) })
            .then_expect_error(UserError::AlreadyRegistered);
    }
}

#[test]
fn registering_a_deactivated_user_is_refused() {
    given(vec![registered(), deactivated()]).when(register()).then_expect_error(UserError::Deactivated);
}

#[test]
fn every_change_of_the_password_is_recorded() {
    let changed = UserEvent::PasswordChanged { user_id: ada(), at: at(3) };
    given(vec![registered()])
        .when(UserCommand::ChangePassword { at: at(3) })
        .then_expect_events(vec![changed.clone()]);
    given(vec![registered(), changed.clone()])
        .when(UserCommand::ChangePassword { at: at(3) })
        .then_expect_events(vec![changed]);
}

#[test]
fn an_unknown_user_cannot_change_a_password() {
    given(vec![]).when(UserCommand::ChangePassword { at: at(3) }).then_expect_error(UserError::NotRegistered);
}

#[test]
fn a_deactivated_user_cannot_change_a_password() {
    given(vec![registered(), deactivated()])
        .when(UserCommand::ChangePassword { at: at(6) })
        .then_expect_error(UserError::Deactivated);
}

#[test]
fn a_user_is_deactivated() {
    given(vec![registered()])
        .when(UserCommand::Deactivate { at: at(5) })
        .then_expect_events(vec![deactivated()]);
}

#[test]
fn deactivating_again_adds_nothing() {
    given(vec![registered(), deactivated()])
        .when(UserCommand::Deactivate { at: at(6) })
        .then_expect_events(vec![]);
}

#[test]
fn an_unknown_user_cannot_be_deactivated() {
    given(vec![]).when(UserCommand::Deactivate { at: at(5) }).then_expect_error(UserError::NotRegistered);
}

#[test]
fn the_state_shows_who_is_registered_and_whether_the_account_is_open() {
    use cqrs_es::Aggregate;

    let mut user = User::default();
    assert_eq!((user.id(), user.email(), user.username(), user.is_active()), (None, None, None, false));
    let empty = user.approximate_bytes();
    user.apply(registered());
    assert_eq!(user.id(), Some(ada()));
    assert_eq!(user.email(), Some(&email("ada@example.org")));
    assert_eq!(user.username(), name("ada").as_ref());
    assert!(user.is_active());
    assert_eq!(user.approximate_bytes(), empty + "ada@example.org".len() + "ada".len());
    user.apply(deactivated());
    assert!(!user.is_active());
}
