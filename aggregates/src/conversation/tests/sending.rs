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
fn a_message_is_kept_and_asks_for_its_reply() {
    given(vec![started()]).when(send(1)).then_expect_events(vec![sent(1), requested(1)]);
}

#[test]
fn the_model_wished_for_is_passed_on() {
    let command = Command::Send {
        message_id: message(1),
        by: ada(),
        text: text("hello"),
        enclosed: Enclosed::default(),
        reply: Some(WantedReply { model: Some("big".to_owned()), interactive: true }),
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
fn a_message_that_wants_no_reply_is_only_kept() {
    given(vec![started()]).when(send_only(1)).then_expect_events(vec![sent(1)]);
}

#[test]
fn a_message_sent_while_a_reply_is_being_made_is_kept_and_waits() {
    given(asked([begun(1, 1, "w")])).when(send(2)).then_expect_events(vec![sent(2), requested(2)]);
}

#[test]
fn the_same_message_again_adds_nothing_whatever_has_become_of_its_reply() {
    for more in
        [vec![], vec![begun(1, 1, "w")], vec![begun(1, 1, "w"), completed(1, 1)], vec![cancelled(1, 0)]]
    {
        given(asked(more)).when(send(1)).then_expect_events(vec![]);
    }
    given(vec![started(), sent(1)]).when(send_only(1)).then_expect_events(vec![]);
}

#[test]
fn the_same_message_again_adds_nothing_even_when_no_more_may_wait() {
    given(waiting(8)).when(send(8)).then_expect_events(vec![]);
}

#[test]
fn the_id_of_a_message_cannot_be_used_for_one_with_another_wish() {
    given(asked([])).when(send_only(1)).then_expect_error(Error::MessageIdTaken);
    given(vec![started(), sent(1)]).when(send(1)).then_expect_error(Error::MessageIdTaken);
}

#[test]
fn the_id_of_an_answer_cannot_be_used_for_a_message_before_or_after_it_is_there() {
    let command = || Command::Send {
        message_id: MessageId::answering(reply(1)),
        by: ada(),
        text: text("hello"),
        enclosed: Enclosed::default(),
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
fn eight_replies_may_be_owed_and_a_ninth_is_refused() {
    assert_eq!(MAX_WAITING, 8);
    given(waiting(7)).when(send(8)).then_expect_events(vec![sent(8), requested(8)]);
    given(waiting(8)).when(send(9)).then_expect_error(Error::TooManyWaiting { limit: 8 });
}

#[test]
fn a_message_that_wants_no_reply_is_kept_even_when_no_more_may_wait() {
    given(waiting(8)).when(send_only(9)).then_expect_events(vec![sent(9)]);
}

#[test]
fn the_end_of_any_reply_owed_makes_room_for_another() {
    for end in [failed(1, 0), cancelled(5, 0)] {
        given(waiting(8)).and(vec![end]).when(send(9)).then_expect_events(vec![sent(9), requested(9)]);
    }
}
