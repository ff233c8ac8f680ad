//! Starting, naming, pinning, archiving and deleting; and who may.

use super::*;

#[test]
fn conversation_starts_with_or_without_title() {
    given(vec![]).when(start(ada())).then_expect_events(vec![started()]);
    given(vec![])
        .when(Command::Start { id: talk(), by: ada(), title: Some(title("Garden")), at: at(0) })
        .then_expect_events(vec![event(
            0,
            LifecycleEvent::ConversationStarted { title: Some(title("Garden")) },
        )]);
}

#[test]
fn repeated_start_adds_nothing() {
    given(vec![started()]).when(start(ada())).then_expect_events(vec![]);
}

#[test]
fn other_users_conversation_cannot_be_restarted() {
    given(vec![started()]).when(start(eve())).then_expect_error(Error::NotOwner);
}

#[test]
fn stream_cannot_be_started_under_a_second_id() {
    let id = ConversationId::new(Uuid::from_u128(99));
    given(vec![started()])
        .when(Command::Start { id, by: ada(), title: None, at: at(0) })
        .then_expect_error(Error::AlreadyStarted);
}

#[test]
fn deleted_conversation_cannot_be_restarted() {
    given(vec![started(), deleted()]).when(start(ada())).then_expect_error(Error::Deleted);
}

#[test]
fn commands_before_the_start_are_rejected() {
    for command in all_but_start(ada()) {
        given(vec![]).when(command).then_expect_error(Error::NotStarted);
    }
}

#[test]
fn other_users_commands_are_rejected() {
    for command in owners(eve()) {
        given(asked([])).when(command).then_expect_error(Error::NotOwner);
    }
}

#[test]
fn other_user_learns_nothing_about_a_deleted_conversation() {
    for command in owners(eve()).into_iter().chain([start(eve())]) {
        given(asked([cancelled(1, 0), deleted()])).when(command).then_expect_error(Error::NotOwner);
    }
}

#[test]
fn deleted_conversation_rejects_commands() {
    // The reply ended as failed, so that no command below is the repetition of its end.
    let repeats = [delete(ada()), fail(1, None)];
    for command in all_but_start(ada()).into_iter().filter(|command| !repeats.contains(command)) {
        given(asked([failed(1, 0), deleted()])).when(command).then_expect_error(Error::Deleted);
    }
    given(vec![started(), deleted()]).when(send_only(5)).then_expect_error(Error::Deleted);
    given(vec![started(), deleted()]).when(fail(7, None)).then_expect_error(Error::Deleted);
}

#[test]
fn conversation_is_renamed_on_every_request() {
    let renamed = event(7, SettingsEvent::ConversationRenamed { title: title("Garden") });
    given(vec![started()]).when(rename(ada())).then_expect_events(vec![renamed.clone()]);
    given(vec![started(), renamed.clone()]).when(rename(ada())).then_expect_events(vec![renamed]);
}

#[test]
fn conversation_is_pinned_and_unpinned_once() {
    let pinned = event(8, SettingsEvent::ConversationPinned {});
    let unpinned = event(8, SettingsEvent::ConversationUnpinned {});
    given(vec![started()]).when(pin(ada(), true)).then_expect_events(vec![pinned.clone()]);
    given(vec![started(), pinned.clone()]).when(pin(ada(), true)).then_expect_events(vec![]);
    given(vec![started(), pinned.clone()]).when(pin(ada(), false)).then_expect_events(vec![unpinned.clone()]);
    given(vec![started(), pinned, unpinned]).when(pin(ada(), false)).then_expect_events(vec![]);
    given(vec![started()]).when(pin(ada(), false)).then_expect_events(vec![]);
}

#[test]
fn conversation_is_archived_and_unarchived_once() {
    let archived = event(9, SettingsEvent::ConversationArchived {});
    let unarchived = event(9, SettingsEvent::ConversationUnarchived {});
    given(vec![started()]).when(archive(ada(), true)).then_expect_events(vec![archived.clone()]);
    given(vec![started(), archived.clone()]).when(archive(ada(), true)).then_expect_events(vec![]);
    given(vec![started(), archived.clone()])
        .when(archive(ada(), false))
        .then_expect_events(vec![unarchived.clone()]);
    given(vec![started(), archived, unarchived]).when(archive(ada(), false)).then_expect_events(vec![]);
    given(vec![started()]).when(archive(ada(), false)).then_expect_events(vec![]);
}

#[test]
fn archived_conversation_accepts_messages() {
    let archived = event(9, SettingsEvent::ConversationArchived {});
    given(vec![started(), archived]).when(send_only(1)).then_expect_events(vec![sent(1)]);
}

#[test]
fn read_position_only_moves_forward() {
    let read = |n, position| {
        event(10, MessageEvent::ConversationRead { message_id: message(n), message_position: position })
    };
    given(vec![started()]).when(mark_read(ada(), 1, 5)).then_expect_events(vec![read(1, 5)]);
    given(vec![started(), read(1, 5)]).when(mark_read(ada(), 1, 5)).then_expect_events(vec![]);
    given(vec![started(), read(2, 9)]).when(mark_read(ada(), 1, 5)).then_expect_events(vec![]);
    given(vec![started(), read(1, 5)]).when(mark_read(ada(), 2, 9)).then_expect_events(vec![read(2, 9)]);
}

#[test]
fn conversation_is_deleted_once() {
    given(vec![started()]).when(delete(ada())).then_expect_events(vec![deleted()]);
    given(vec![started(), deleted()]).when(delete(ada())).then_expect_events(vec![]);
}

#[test]
fn deletion_first_cancels_pending_replies_in_order() {
    let cancelled = |n, attempt| reply_event(n, 90, ReplyEvent::ReplyCancelled { attempt, text: None });
    given(asked([
        begun(1, 1, "w"),
        completed(1, 1),
        sent(2),
        requested(2),
        sent(3),
        sent(4),
        requested(4),
        begun(2, 1, "w"),
        attempt_failed(2, 1),
        begun(2, 2, "w"),
    ]))
    .when(delete(ada()))
    .then_expect_events(vec![cancelled(2, 2), cancelled(4, 0), deleted()]);
}
