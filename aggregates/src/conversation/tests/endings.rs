//! The one end of a reply: completed, failed or cancelled.

use super::*;

#[test]
fn the_running_attempt_completes_the_reply() {
    given(asked([begun(1, 1, "w")])).when(record(1, 1)).then_expect_events(vec![completed(1, 1)]);
    given(asked([begun(1, 1, "w"), attempt_failed(1, 1), begun(1, 2, "w")]))
        .when(record(1, 2))
        .then_expect_events(vec![completed(1, 2)]);
}

#[test]
fn recording_the_same_attempt_again_adds_nothing() {
    given(asked([begun(1, 1, "w"), completed(1, 1)])).when(record(1, 1)).then_expect_events(vec![]);
}

#[test]
fn the_answer_of_another_attempt_than_the_running_one_is_refused() {
    given(asked([])).when(record(1, 0)).then_expect_error(Error::StaleAttempt { current: 0 });
    given(asked([])).when(record(1, 1)).then_expect_error(Error::StaleAttempt { current: 0 });
    let second = || asked([begun(1, 1, "w"), begun(1, 2, "x")]);
    given(second()).when(record(1, 1)).then_expect_error(Error::StaleAttempt { current: 2 });
    given(second()).when(record(1, 3)).then_expect_error(Error::StaleAttempt { current: 2 });
}

#[test]
fn the_answer_of_an_attempt_that_was_noted_as_failed_is_refused() {
    given(asked([begun(1, 1, "w"), attempt_failed(1, 1)]))
        .when(record(1, 1))
        .then_expect_error(Error::StaleAttempt { current: 1 });
}

#[test]
fn a_waiting_reply_cannot_be_recorded() {
    given(asked([begun(1, 1, "w"), sent(2), requested(2)]))
        .when(record(2, 1))
        .then_expect_error(Error::StaleAttempt { current: 0 });
}

#[test]
fn an_ended_reply_takes_no_other_answer() {
    let twice = || asked([begun(1, 1, "w"), begun(1, 2, "x")]);
    given(twice()).and(vec![completed(1, 2)]).when(record(1, 1)).then_expect_error(Error::ReplyEnded);
    for end in [failed(1, 2), cancelled(1, 2)] {
        given(twice()).and(vec![end]).when(record(1, 2)).then_expect_error(Error::ReplyEnded);
    }
}

#[test]
fn the_last_attempt_fails_the_reply_running_or_not() {
    given(asked([begun(1, 1, "w")])).when(fail(1, Some(1))).then_expect_events(vec![failed(1, 1)]);
    given(asked([begun(1, 1, "w"), attempt_failed(1, 1)]))
        .when(fail(1, Some(1)))
        .then_expect_events(vec![failed(1, 1)]);
}

#[test]
fn a_failed_reply_keeps_what_had_come() {
    let command = Command::FailReply {
        reply_id: reply(1),
        attempt: Some(1),
        reason: FailureReason::Timeout,
        text: Some(answer("half an ans")),
        at: at(5),
    };
    given(asked([begun(1, 1, "w")])).when(command).then_expect_events(vec![reply_event(
        1,
        5,
        ReplyEvent::ReplyFailed {
            attempt: 1,
            reason: FailureReason::Timeout,
            text: Some(answer("half an ans")),
        },
    )]);
}

#[test]
fn attempt_zero_fails_the_reply_only_while_none_was_begun() {
    given(asked([])).when(fail(1, Some(0))).then_expect_events(vec![failed(1, 0)]);
    given(asked([begun(1, 1, "w")]))
        .when(fail(1, Some(0)))
        .then_expect_error(Error::StaleAttempt { current: 1 });
}

#[test]
fn an_overtaken_attempt_cannot_fail_the_reply() {
    given(asked([begun(1, 1, "w"), begun(1, 2, "x")]))
        .when(fail(1, Some(1)))
        .then_expect_error(Error::StaleAttempt { current: 2 });
}

#[test]
fn the_sweeper_fails_a_reply_whatever_its_attempt_and_wherever_it_waits() {
    given(asked([])).when(fail(1, None)).then_expect_events(vec![failed(1, 0)]);
    given(asked([begun(1, 1, "w"), begun(1, 2, "w")]))
        .when(fail(1, None))
        .then_expect_events(vec![failed(1, 2)]);
    given(asked([begun(1, 1, "w"), sent(2), requested(2)]))
        .when(fail(2, None))
        .then_expect_events(vec![failed(2, 0)]);
}

#[test]
fn failing_a_failed_reply_again_adds_nothing() {
    for attempt in [None, Some(1)] {
        given(asked([begun(1, 1, "w"), failed(1, 1)])).when(fail(1, attempt)).then_expect_events(vec![]);
    }
}

#[test]
fn a_reply_that_ended_otherwise_cannot_fail() {
    given(asked([begun(1, 1, "w"), begun(1, 2, "x"), failed(1, 2)]))
        .when(fail(1, Some(1)))
        .then_expect_error(Error::ReplyEnded);
    for end in [completed(1, 1), cancelled(1, 1)] {
        for attempt in [None, Some(1)] {
            given(asked([begun(1, 1, "w"), end.clone()]))
                .when(fail(1, attempt))
                .then_expect_error(Error::ReplyEnded);
        }
    }
}

#[test]
fn its_asker_cancels_a_reply_running_or_waiting() {
    given(asked([])).when(cancel(1, ada())).then_expect_events(vec![cancelled(1, 0)]);
    given(asked([begun(1, 1, "w")])).when(cancel(1, ada())).then_expect_events(vec![cancelled(1, 1)]);
    given(asked([begun(1, 1, "w"), sent(2), requested(2)]))
        .when(cancel(2, ada()))
        .then_expect_events(vec![cancelled(2, 0)]);
}

#[test]
fn a_reply_that_ends_while_it_waits_leaves_the_one_before_it_running() {
    for end in [cancelled(2, 0), failed(2, 0)] {
        given(asked([begun(1, 1, "w"), sent(2), requested(2), end]))
            .when(record(1, 1))
            .then_expect_events(vec![completed(1, 1)]);
    }
}

#[test]
fn a_cancelled_reply_keeps_what_had_come() {
    let command = Command::CancelReply {
        reply_id: reply(1),
        by: ada(),
        text: Some(answer("half")),
        note: None,
        at: at(6),
    };
    given(asked([begun(1, 1, "w")])).when(command).then_expect_events(vec![reply_event(
        1,
        6,
        ReplyEvent::ReplyCancelled { attempt: 1, text: Some(answer("half")) },
    )]);
}

#[test]
fn cancelling_a_cancelled_reply_again_adds_nothing() {
    given(asked([begun(1, 1, "w"), cancelled(1, 1)])).when(cancel(1, ada())).then_expect_events(vec![]);
}

#[test]
fn a_reply_that_ended_otherwise_cannot_be_cancelled() {
    for end in [completed(1, 1), failed(1, 1)] {
        given(asked([begun(1, 1, "w"), end])).when(cancel(1, ada())).then_expect_error(Error::ReplyEnded);
    }
}

#[test]
fn a_reply_that_was_never_asked_for_cannot_end() {
    for command in [record(2, 1), fail(2, None), cancel(2, ada())] {
        given(asked([sent(2)])).when(command.clone()).then_expect_error(Error::UnknownReply);
        given(asked([])).when(command).then_expect_error(Error::UnknownReply);
    }
}

#[test]
fn repeating_the_end_of_a_reply_adds_nothing_even_after_the_deletion() {
    for (end, command) in [
        (completed(1, 1), record(1, 1)),
        (failed(1, 1), fail(1, Some(1))),
        (failed(1, 1), fail(1, None)),
        (cancelled(1, 1), cancel(1, ada())),
    ] {
        given(asked([begun(1, 1, "w"), end, deleted()])).when(command).then_expect_events(vec![]);
    }
}

#[test]
fn a_worker_that_is_late_for_a_deleted_conversation_is_told_so() {
    for command in [record(1, 1), retry(1, 1), fail(1, Some(1)), begin(1, 2, "w")] {
        given(asked([begun(1, 1, "w"), cancelled(1, 1), deleted()]))
            .when(command)
            .then_expect_error(Error::Deleted);
    }
}
