//! Messages, with and without a reply, and how many may wait.

use super::*;

/// `n` messages that wait for their replies.
fn waiting(n: u128) -> Vec<Event> {
    let mut events = vec![started()];
    for n in 1..=n {
        events.extend([sent(n), requested(n)]);
    }
    events
}

#[test]
fn message_is_stored_and_asks_for_reply() {
    given(vec![started()]).when(send(1)).then_expect_events(vec![sent(1), requested(1)]);
}

#[test]
fn requested_model_is_recorded() {
    let command = Command::Send {
        message_id: message(1),
        by: ada(),
        text: text("hello"),
        enclosed: MessageContext::default(),
        reply: Some(ReplyOptions { model: Some("big".to_owned()), interactive: true }),
        at: at(1),
        deadline: at(99),
    };
    given(vec![started()]).when(command).then_expect_events(vec![
        sent(1),
        reply_event(
            1,
            1,
            ReplyEvent::ReplyRequested { model: Some("big".to_owned()), interactive: true, deadline: at(99) },
        ),
    ]);
}

#[test]
fn message_without_reply_is_only_stored() {
    given(vec![started()]).when(send_only(1)).then_expect_events(vec![sent(1)]);
}

#[test]
fn message_sent_during_a_reply_waits() {
    given(asked([begun(1, 1, "w")])).when(send(2)).then_expect_events(vec![sent(2), requested(2)]);
}

#[test]
fn repeated_message_adds_nothing_whatever_its_reply_state() {
    for more in
        [vec![], vec![begun(1, 1, "w")], vec![begun(1, 1, "w"), completed(1, 1)], vec![cancelled(1, 0)]]
    {
        given(asked(more)).when(send(1)).then_expect_events(vec![]);
    }
    given(vec![started(), sent(1)]).when(send_only(1)).then_expect_events(vec![]);
}

#[test]
fn repeated_message_adds_nothing_even_at_the_pending_limit() {
    given(waiting(8)).when(send(8)).then_expect_events(vec![]);
}

#[test]
fn message_id_cannot_be_reused_with_other_reply_options() {
    given(asked([])).when(send_only(1)).then_expect_error(Error::MessageIdTaken);
    given(vec![started(), sent(1)]).when(send(1)).then_expect_error(Error::MessageIdTaken);
}

#[test]
fn answer_id_cannot_be_used_for_a_message() {
    let command = || Command::Send {
        message_id: MessageId::answering(reply(1)),
        by: ada(),
        text: text("hello"),
        enclosed: MessageContext::default(),
        reply: None,
        at: at(1),
        deadline: at(180),
    };
    given(asked([])).when(command()).then_expect_error(Error::MessageIdTaken);
    given(asked([begun(1, 1, "w"), completed(1, 1)]))
        .when(command())
        .then_expect_error(Error::MessageIdTaken);
}

#[test]
fn eight_replies_may_be_pending_and_a_ninth_is_rejected() {
    assert_eq!(MAX_PENDING_REPLIES, 8);
    given(waiting(7)).when(send(8)).then_expect_events(vec![sent(8), requested(8)]);
    given(waiting(8)).when(send(9)).then_expect_error(Error::TooManyReplies { limit: 8 });
}

#[test]
fn message_without_reply_is_accepted_at_the_pending_limit() {
    given(waiting(8)).when(send_only(9)).then_expect_events(vec![sent(9)]);
}

#[test]
fn any_ended_reply_makes_room_for_another() {
    for end in [failed(1, 0), cancelled(5, 0)] {
        given(waiting(8)).and(vec![end]).when(send(9)).then_expect_events(vec![sent(9), requested(9)]);
    }
}
