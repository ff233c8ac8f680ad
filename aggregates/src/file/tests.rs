//! Given, when, then: every command of a file, allowed and rejected.

use chrono::{DateTime, Utc};
use cqrs_es::test::{AggregateTestExecutor, TestFramework};
use uuid::Uuid;

use super::*;
use crate::ids::{ConversationId, FileId, MessageId, UserId};
use crate::personal::Personal;
use crate::values::FileName;

use FileCommand as Command;
use FileError as Error;
use FileEvent as Event;

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_750_000_000 + second, 0).unwrap()
}

fn ada() -> UserId {
    UserId::new(Uuid::from_u128(1))
}

fn eve() -> UserId {
    UserId::new(Uuid::from_u128(2))
}

fn file() -> FileId {
    FileId::new(Uuid::from_u128(3))
}

fn other() -> FileId {
    FileId::new(Uuid::from_u128(4))
}

fn talk(n: u128) -> ConversationId {
    ConversationId::new(Uuid::from_u128(n))
}

fn message(n: u128) -> MessageId {
    MessageId::new(Uuid::from_u128(n))
}

fn name() -> Personal<FileName> {
    Personal::Known(FileName::of("map.png").unwrap())
}

fn announce(id: FileId, by: UserId, size: u64) -> Command {
    Command::Announce { id, by, name: name(), mime_type: "image/png".to_owned(), size, at: at(0) }
}

fn announced() -> Event {
    Event::FileAnnounced {
        file_id: file(),
        owner: ada(),
        name: name(),
        mime_type: "image/png".to_owned(),
        size: 9,
        at: at(0),
    }
}

fn store(id: FileId, by: UserId, sha256: &str, second: i64) -> Command {
    Command::Store {
        id,
        by,
        name: name(),
        mime_type: "image/png".to_owned(),
        size: 9,
        sha256: sha256.to_owned(),
        image: Some(ImageSize { width: 3, height: 2 }),
        at: at(second),
    }
}

fn stored() -> Event {
    Event::FileStored {
        file_id: file(),
        owner: ada(),
        name: name(),
        mime_type: "image/png".to_owned(),
        size: 9,
        sha256: "ab".to_owned(),
        image: Some(ImageSize { width: 3, height: 2 }),
        at: at(1),
    }
}

fn attach(by: UserId, conversation: u128, with: u128) -> Command {
    Command::Attach { by, conversation_id: talk(conversation), message_id: message(with), at: at(2) }
}

fn attached(conversation: u128, with: u128) -> Event {
    Event::FileAttached {
        file_id: file(),
        owner: ada(),
        conversation_id: talk(conversation),
        message_id: message(with),
        at: at(2),
    }
}

fn delete(by: UserId) -> Command {
    Command::Delete { by, at: at(3) }
}

fn deleted() -> Event {
    Event::FileDeleted { file_id: file(), owner: ada(), at: at(3) }
}

fn given(events: Vec<Event>) -> AggregateTestExecutor<File> {
    TestFramework::with(()).given(events)
}

#[track_caller]
fn rejected(events: Vec<Event>, command: Command, error: Error) {
    given(events).when(command).then_expect_error(error);
}

#[track_caller]
fn nothing(events: Vec<Event>, command: Command) {
    given(events).when(command).then_expect_events(vec![]);
}

#[test]
fn file_is_announced_once() {
    given(vec![]).when(announce(file(), ada(), 9)).then_expect_events(vec![announced()]);
    nothing(vec![announced()], announce(file(), ada(), 9));
    nothing(vec![announced(), stored()], announce(file(), ada(), 9));
}

#[test]
fn second_announcement_is_rejected() {
    rejected(vec![announced()], announce(file(), ada(), 10), Error::AlreadyAnnounced);
    rejected(vec![announced()], announce(other(), ada(), 9), Error::AlreadyAnnounced);
    rejected(vec![stored()], announce(file(), ada(), 9), Error::AlreadyAnnounced);
    rejected(vec![announced()], announce(file(), eve(), 9), Error::NotOwner);
    rejected(vec![announced(), deleted()], announce(file(), ada(), 9), Error::Deleted);
}

#[test]
fn file_is_stored_announced_or_not() {
    given(vec![announced()]).when(store(file(), ada(), "ab", 1)).then_expect_events(vec![stored()]);
    given(vec![]).when(store(file(), ada(), "ab", 1)).then_expect_events(vec![stored()]);
}

#[test]
fn same_bytes_add_nothing_and_others_are_rejected() {
    nothing(vec![announced(), stored()], store(file(), ada(), "ab", 7));
    rejected(vec![announced(), stored()], store(file(), ada(), "cd", 7), Error::AlreadyStored);
    nothing(vec![stored(), attached(5, 6)], store(file(), ada(), "ab", 7));
}

#[test]
fn bytes_for_another_or_deleted_file_are_rejected() {
    rejected(vec![announced()], store(other(), ada(), "ab", 1), Error::AlreadyAnnounced);
    rejected(vec![announced()], store(file(), eve(), "ab", 1), Error::NotOwner);
    rejected(vec![announced(), deleted()], store(file(), ada(), "ab", 1), Error::Deleted);
    rejected(vec![stored(), deleted()], store(file(), ada(), "ab", 1), Error::Deleted);
}

#[test]
fn stored_file_is_sent_in_one_conversation() {
    given(vec![stored()]).when(attach(ada(), 5, 6)).then_expect_events(vec![attached(5, 6)]);
    nothing(vec![stored(), attached(5, 6)], attach(ada(), 5, 6));
    given(vec![stored(), attached(5, 6)]).when(attach(ada(), 5, 7)).then_expect_events(vec![attached(5, 7)]);
    nothing(vec![stored(), attached(5, 6), attached(5, 7)], attach(ada(), 5, 6));
    rejected(vec![stored(), attached(5, 6)], attach(ada(), 8, 6), Error::AttachedElsewhere);
}

#[test]
fn missing_or_other_users_file_is_not_sent() {
    rejected(vec![], attach(ada(), 5, 6), Error::Unknown);
    rejected(vec![announced()], attach(ada(), 5, 6), Error::NotStored);
    rejected(vec![stored()], attach(eve(), 5, 6), Error::NotOwner);
    rejected(vec![stored(), deleted()], attach(ada(), 5, 6), Error::Deleted);
    // Another user learns nothing of the deletion.
    rejected(vec![stored(), deleted()], attach(eve(), 5, 6), Error::NotOwner);
}

#[test]
fn file_is_deleted_once_and_only_before_it_is_sent() {
    given(vec![announced()]).when(delete(ada())).then_expect_events(vec![deleted()]);
    given(vec![stored()]).when(delete(ada())).then_expect_events(vec![deleted()]);
    nothing(vec![stored(), deleted()], delete(ada()));
    rejected(vec![], delete(ada()), Error::Unknown);
    rejected(vec![stored()], delete(eve()), Error::NotOwner);
    rejected(vec![stored(), attached(5, 6)], delete(ada()), Error::Attached);
}

#[test]
fn state_shows_stored_attached_and_deleted() {
    use cqrs_es::Aggregate as _;
    let mut state = File::default();
    let told = |state: &File| (state.owner(), state.is_stored(), state.conversation(), state.is_deleted());
    assert_eq!(told(&state), (None, false, None, false));
    let empty = state.approximate_bytes();
    state.apply(announced());
    assert_eq!(told(&state), (Some(ada()), false, None, false));
    state.apply(stored());
    assert_eq!(told(&state), (Some(ada()), true, None, false));
    assert_eq!(state.sha256(), Some("ab"));
    let mut gone = state.clone();
    gone.apply(deleted());
    assert_eq!(told(&gone), (Some(ada()), false, None, true));
    state.apply(attached(5, 6));
    assert_eq!(told(&state), (Some(ada()), true, Some(talk(5)), false));
    assert!(state.approximate_bytes() > empty);
}
