//! Given, when, then: every command of a user, allowed and rejected.

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
fn new_user_is_registered() {
    given(vec![]).when(register()).then_expect_events(vec![registered()]);
}

#[test]
fn repeated_registration_adds_nothing_even_later() {
    let command = UserCommand::Register {
        user_id: ada(),
        email: email("ada@example.org"),
        username: name("ada"),
        at: at(9),
    };
    given(vec![registered()]).when(command).then_expect_events(vec![]);
}

#[test]
fn registration_with_other_data_is_rejected() {
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
fn deactivated_user_cannot_register() {
    given(vec![registered(), deactivated()]).when(register()).then_expect_error(UserError::Deactivated);
}

#[test]
fn every_password_change_is_recorded() {
    let changed = UserEvent::PasswordChanged { user_id: ada(), at: at(3) };
    given(vec![registered()])
        .when(UserCommand::ChangePassword { at: at(3) })
        .then_expect_events(vec![changed.clone()]);
    given(vec![registered(), changed.clone()])
        .when(UserCommand::ChangePassword { at: at(3) })
        .then_expect_events(vec![changed]);
}

#[test]
fn unknown_user_cannot_change_password() {
    given(vec![]).when(UserCommand::ChangePassword { at: at(3) }).then_expect_error(UserError::NotRegistered);
}

#[test]
fn deactivated_user_cannot_change_password() {
    given(vec![registered(), deactivated()])
        .when(UserCommand::ChangePassword { at: at(6) })
        .then_expect_error(UserError::Deactivated);
}

#[test]
fn user_is_deactivated() {
    given(vec![registered()])
        .when(UserCommand::Deactivate { at: at(5) })
        .then_expect_events(vec![deactivated()]);
}

#[test]
fn repeated_deactivation_adds_nothing() {
    given(vec![registered(), deactivated()])
        .when(UserCommand::Deactivate { at: at(6) })
        .then_expect_events(vec![]);
}

#[test]
fn unknown_user_cannot_be_deactivated() {
    given(vec![]).when(UserCommand::Deactivate { at: at(5) }).then_expect_error(UserError::NotRegistered);
}

fn changed_email(to: &str) -> UserEvent {
    UserEvent::EmailChanged { user_id: ada(), email: email(to), at: at(2) }
}

fn change_email(from: &str, to: &str) -> UserCommand {
    UserCommand::ChangeEmail { from: email(from), to: email(to), at: at(2) }
}

#[test]
fn address_is_changed() {
    let (old, new) = ("ada@example.org", "ada.l@example.org");
    given(vec![registered()]).when(change_email(old, new)).then_expect_events(vec![changed_email(new)]);
    // Another spelling is another text.
    let louder = "ADA@example.org";
    given(vec![registered()]).when(change_email(old, louder)).then_expect_events(vec![changed_email(louder)]);
    given(vec![registered(), changed_email(new)])
        .when(change_email(new, old))
        .then_expect_events(vec![changed_email(old)]);
}

#[test]
fn current_address_as_new_one_adds_nothing() {
    for from in ["ada@example.org", "eve@example.org"] {
        given(vec![registered()]).when(change_email(from, "ada@example.org")).then_expect_events(vec![]);
    }
}

#[test]
fn outdated_address_is_not_replaced() {
    given(vec![registered(), changed_email("ada.l@example.org")])
        .when(change_email("ada@example.org", "ada.m@example.org"))
        .then_expect_error(UserError::ChangedMeanwhile);
}

fn change_name(from: Option<Personal<Username>>, to: &str) -> UserCommand {
    UserCommand::ChangeUsername { from, to: name(to).unwrap(), at: at(2) }
}

fn changed_name(to: &str) -> UserEvent {
    UserEvent::UsernameChanged { user_id: ada(), username: name(to).unwrap(), at: at(2) }
}

#[test]
fn user_name_is_changed_or_set() {
    given(vec![registered()])
        .when(change_name(name("ada"), "ada-l"))
        .then_expect_events(vec![changed_name("ada-l")]);
    let nameless = UserEvent::UserRegistered {
        user_id: ada(),
        email: email("ada@example.org"),
        username: None,
        at: at(0),
    };
    given(vec![nameless]).when(change_name(None, "ada")).then_expect_events(vec![changed_name("ada")]);
    given(vec![registered()]).when(change_name(None, "ada")).then_expect_events(vec![]);
}

#[test]
fn outdated_user_name_is_not_replaced() {
    for from in [None, name("eve")] {
        given(vec![registered()])
            .when(change_name(from, "ada-l"))
            .then_expect_error(UserError::ChangedMeanwhile);
    }
}

fn granted(role: Role) -> UserEvent {
    UserEvent::RoleGranted { user_id: ada(), role, by: None, at: at(2) }
}

fn grant(role: Role) -> UserCommand {
    UserCommand::GrantRole { role, by: None, at: at(2) }
}

#[test]
fn role_is_granted_revoked_and_not_granted_twice() {
    given(vec![registered()]).when(grant(Role::Admin)).then_expect_events(vec![granted(Role::Admin)]);
    given(vec![registered(), granted(Role::Admin)])
        .when(grant(Role::User))
        .then_expect_events(vec![granted(Role::User)]);
    given(vec![registered(), granted(Role::Admin)]).when(grant(Role::Admin)).then_expect_events(vec![]);
    given(vec![registered()]).when(grant(Role::User)).then_expect_events(vec![]);
    let eve = Some(UserId::new(Uuid::from_u128(2)));
    given(vec![registered()])
        .when(UserCommand::GrantRole { role: Role::Auditor, by: eve, at: at(2) })
        .then_expect_events(vec![UserEvent::RoleGranted {
            user_id: ada(),
            role: Role::Auditor,
            by: eve,
            at: at(2),
        }]);
}

#[test]
fn deactivated_or_unknown_account_cannot_change() {
    for command in [
        change_email("ada@example.org", "ada.l@example.org"),
        change_name(name("ada"), "ada-l"),
        grant(Role::Admin),
    ] {
        given(vec![]).when(command.clone()).then_expect_error(UserError::NotRegistered);
        given(vec![registered(), deactivated()]).when(command).then_expect_error(UserError::Deactivated);
    }
}

#[test]
fn roles_are_ordered_and_have_names() {
    assert!(Role::User < Role::Auditor && Role::Auditor < Role::Admin);
    for role in Role::ALL {
        assert_eq!(Role::named(role.as_str()), Some(*role));
        assert_eq!(serde_json::to_value(role).unwrap(), role.as_str());
    }
    assert_eq!(Role::named("Admin"), None);
}

#[test]
fn state_shows_user_and_whether_the_account_is_active() {
    use cqrs_es::Aggregate;

    let mut user = User::default();
    assert_eq!((user.id(), user.email(), user.username(), user.is_active()), (None, None, None, false));
    let empty = user.approximate_bytes();
    user.apply(registered());
    assert_eq!(user.id(), Some(ada()));
    assert_eq!(user.email(), Some(&email("ada@example.org")));
    assert_eq!(user.username(), name("ada").as_ref());
    assert!(user.is_active());
    assert_eq!(user.role(), Role::User);
    assert_eq!(user.approximate_bytes(), empty + "ada@example.org".len() + "ada".len());
    user.apply(changed_email("ada.l@example.org"));
    user.apply(changed_name("ada-l"));
    user.apply(granted(Role::Admin));
    assert_eq!((user.email(), user.username()), (Some(&email("ada.l@example.org")), name("ada-l").as_ref()));
    assert_eq!(user.role(), Role::Admin);
    user.apply(deactivated());
    assert!(!user.is_active());
    assert_eq!(user.role(), Role::User, "a closed account may do nothing");
}
