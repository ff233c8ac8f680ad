//! What the state shows, that it stays small and is cheap to clone.

use cqrs_es::Aggregate;

use super::*;

fn after(events: impl IntoIterator<Item = Event>) -> Conversation {
    let mut state = Conversation::default();
    events.into_iter().for_each(|event| state.apply(event));
    state
}

/// A conversation of `n` messages, each answered.
fn long(n: u128) -> Conversation {
    after(
        [started()]
            .into_iter()
            .chain((1..=n).flat_map(|n| [sent(n), requested(n), begun(n, 1, "w"), completed(n, 1)])),
    )
}

#[test]
fn unstarted_conversation_shows_nothing() {
    let state = Conversation::default();
    assert_eq!((state.id(), state.owner(), state.next_reply()), (None, None, None));
    assert!(!state.is_started() && !state.is_deleted() && !state.is_pinned() && !state.is_archived());
    assert_eq!((state.askers(), state.pending_replies().count()), (0, 0));
    assert!(!state.has_message(message(1)));
}

#[test]
fn events_before_the_start_change_nothing() {
    assert_eq!(after([sent(1), requested(1), completed(1, 1), deleted()]), Conversation::default());
}

#[test]
fn state_shows_next_reply_and_its_progress() {
    let state = after(asked([sent(2), requested(2), begun(1, 1, "w")]));
    let expected = PendingReply {
        message_id: message(1),
        reply_id: reply(1),
        model: None,
        interactive: false,
        deadline: at(180),
        attempt: 1,
        worker: Some("w".to_owned()),
        not_before: None,
    };
    assert_eq!(state.next_reply(), Some(&expected));
    assert_eq!(state.pending_replies().map(|open| open.reply_id).collect::<Vec<_>>(), [reply(1), reply(2)]);

    let state = after(asked([begun(1, 1, "w"), attempt_failed(1, 1)]));
    let paused = PendingReply { worker: None, not_before: Some(at(60)), ..expected.clone() };
    assert_eq!(state.next_reply(), Some(&paused));

    let state = after(asked([begun(1, 1, "w"), attempt_failed(1, 1), begun(1, 2, "x")]));
    assert_eq!(
        state.next_reply(),
        Some(&PendingReply { attempt: 2, worker: Some("x".to_owned()), ..expected })
    );
}

#[test]
fn state_shows_how_each_reply_ended() {
    let state = after(asked([
        begun(1, 1, "w"),
        completed(1, 1),
        sent(2),
        requested(2),
        failed(2, 0),
        sent(3),
        requested(3),
        cancelled(3, 0),
        sent(4),
        sent(5),
        requested(5),
    ]));
    let ended = |ending, attempt| Some(ReplyState::Ended { ending, attempt });
    assert_eq!(state.reply(reply(1)), ended(ReplyEnding::Completed, 1));
    assert_eq!(state.reply(reply(2)), ended(ReplyEnding::Failed, 0));
    assert_eq!(state.reply(reply(3)), ended(ReplyEnding::Cancelled, 0));
    assert_eq!(state.reply(reply(4)), Some(ReplyState::NotAsked));
    assert_eq!(state.reply(reply(5)), Some(ReplyState::Open));
    assert_eq!(state.reply(reply(6)), None);
    assert!(state.has_message(message(4)) && !state.has_message(message(6)));
    assert_eq!(state.askers(), 5);
}

#[test]
fn state_shows_pin_archive_owner_and_deletion() {
    let pinned = event(8, SettingsEvent::ConversationPinned {});
    let archived = event(9, SettingsEvent::ConversationArchived {});
    let state = after([started(), pinned, archived, deleted()]);
    assert_eq!((state.id(), state.owner()), (Some(talk()), Some(ada())));
    assert!(state.is_started() && state.is_pinned() && state.is_archived() && state.is_deleted());
}

#[test]
fn state_holds_no_text() {
    let named = event(7, SettingsEvent::ConversationRenamed { title: title("Garden") });
    let state = after(asked([named, begun(1, 1, "w"), completed(1, 1)]));
    let written = serde_json::to_string(&state).unwrap();
    assert!(
        !["Garden", "hello", "\"hi\"", "$personal"].iter().any(|text| written.contains(text)),
        "{written}"
    );
}

#[test]
fn clone_of_long_conversation_shares_index_and_is_independent() {
    let state = long(10_000);
    let mut copy = state.clone();
    let index = |state: &Conversation| state.started().unwrap().replies.clone();
    assert!(index(&state).ptr_eq(&index(&copy)));
    copy.apply(sent(10_001));
    assert_eq!((state.askers(), copy.askers()), (10_000, 10_001));
}

#[test]
fn long_conversation_round_trips_through_json() {
    let state = long(10_000);
    let written = serde_json::to_string(&state).unwrap();
    assert_eq!(serde_json::from_str::<Conversation>(&written).unwrap(), state);
}

#[test]
fn size_grows_with_messages_and_pending_replies() {
    let (short, longer) = (long(10).approximate_bytes(), long(1_010).approximate_bytes());
    let each = (longer - short) / 1_000;
    assert!((64..=256).contains(&each), "{each} bytes a message");
    let idle = after([started(), sent(1)]).approximate_bytes();
    assert!(after(asked([begun(1, 1, "a worker with a name")])).approximate_bytes() > idle);
}

#[test]
fn every_reason_is_written_under_its_own_name() {
    for reason in FailureReason::ALL {
        assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
    }
    for reason in FinishReason::ALL {
        assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
    }
    // The decoder names all it knows, so the lists above are checked against the enums.
    let known = |error: serde_json::Error| error.to_string().matches('`').count() / 2 - 1;
    let unknown = || json!("no_such_reason");
    assert_eq!(
        serde_json::from_value::<FailureReason>(unknown()).map_err(known),
        Err(FailureReason::ALL.len())
    );
    assert_eq!(
        serde_json::from_value::<FinishReason>(unknown()).map_err(known),
        Err(FinishReason::ALL.len())
    );
}
