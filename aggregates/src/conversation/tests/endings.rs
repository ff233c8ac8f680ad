//! The one end of a reply: completed, failed or cancelled.

use super::*;

#[test]
fn running_attempt_completes_the_reply() {
    given(asked([begun(1, 1, "w")])).when(record(1, 1)).then_expect_events(vec![completed(1, 1)]);
    given(asked([begun(1, 1, "w"), attempt_failed(1, 1), begun(1, 2, "w")]))
        .when(record(1, 2))
        .then_expect_events(vec![completed(1, 2)]);
}

#[test]
fn repeated_record_adds_nothing() {
    given(asked([begun(1, 1, "w"), completed(1, 1)])).when(record(1, 1)).then_expect_events(vec![]);
}

#[test]
fn answer_of_another_attempt_is_rejected() {
    given(asked([])).when(record(1, 0)).then_expect_error(Error::StaleAttempt { current: 0 });
    given(asked([])).when(record(1, 1)).then_expect_error(Error::StaleAttempt { current: 0 });
    let second = || asked([begun(1, 1, "w"), begun(1, 2, "x")]);
    given(second()).when(record(1, 1)).then_expect_error(Error::StaleAttempt { current: 2 });
    given(second()).when(record(1, 3)).then_expect_error(Error::StaleAttempt { current: 2 });
}

#[test]
fn answer_of_failed_attempt_is_rejected() {
    given(asked([begun(1, 1, "w"), attempt_failed(1, 1)]))
        .when(record(1, 1))
        .then_expect_error(Error::StaleAttempt { current: 1 });
}

#[test]
fn waiting_reply_cannot_be_recorded() {
    given(asked([begun(1, 1, "w"), sent(2), requested(2)]))
        .when(record(2, 1))
        .then_expect_error(Error::StaleAttempt { current: 0 });
}

#[test]
fn ended_reply_rejects_another_answer() {
    let twice = || asked([begun(1, 1, "w"), begun(1, 2, "x")]);
    given(twice()).and(vec![completed(1, 2)]).when(record(1, 1)).then_expect_error(Error::ReplyEnded);
    for end in [failed(1, 2), cancelled(1, 2)] {
        given(twice()).and(vec![end]).when(record(1, 2)).then_expect_error(Error::ReplyEnded);
    }
}

#[test]
fn last_attempt_fails_the_reply_running_or_not() {
    given(asked([begun(1, 1, "w")])).when(fail(1, Some(1))).then_expect_events(vec![failed(1, 1)]);
    given(asked([begun(1, 1, "w"), attempt_failed(1, 1)]))
        .when(fail(1, Some(1)))
        .then_expect_events(vec![failed(1, 1)]);
}

#[test]
fn failed_reply_keeps_partial_text() {
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
fn attempt_zero_fails_reply_only_before_the_first_attempt() {
    given(asked([])).when(fail(1, Some(0))).then_expect_events(vec![failed(1, 0)]);
    given(asked([begun(1, 1, "w")]))
        .when(fail(1, Some(0)))
        .then_expect_error(Error::StaleAttempt { current: 1 });
}

#[test]
fn superseded_attempt_cannot_fail_the_reply() {
    given(asked([begun(1, 1, "w"), begun(1, 2, "x")]))
        .when(fail(1, Some(1)))
        .then_expect_error(Error::StaleAttempt { current: 2 });
}

#[test]
fn sweeper_fails_any_reply_at_any_attempt() {
    given(asked([])).when(fail(1, None)).then_expect_events(vec![failed(1, 0)]);
    given(asked([begun(1, 1, "w"), begun(1, 2, "w")]))
        .when(fail(1, None))
        .then_expect_events(vec![failed(1, 2)]);
    given(asked([begun(1, 1, "w"), sent(2), requested(2)]))
        .when(fail(2, None))
        .then_expect_events(vec![failed(2, 0)]);
}

#[test]
fn repeated_failure_adds_nothing() {
    for attempt in [None, Some(1)] {
        given(asked([begun(1, 1, "w"), failed(1, 1)])).when(fail(1, attempt)).then_expect_events(vec![]);
    }
}

#[test]
fn ended_reply_cannot_fail() {
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
fn owner_cancels_a_running_or_waiting_reply() {
    given(asked([])).when(cancel(1, ada())).then_expect_events(vec![cancelled(1, 0)]);
    given(asked([begun(1, 1, "w")])).when(cancel(1, ada())).then_expect_events(vec![cancelled(1, 1)]);
    given(asked([begun(1, 1, "w"), sent(2), requested(2)]))
        .when(cancel(2, ada()))
        .then_expect_events(vec![cancelled(2, 0)]);
}

#[test]
fn reply_ending_in_the_queue_leaves_the_running_one_alone() {
    for end in [cancelled(2, 0), failed(2, 0)] {
        given(asked([begun(1, 1, "w"), sent(2), requested(2), end]))
            .when(record(1, 1))
            .then_expect_events(vec![completed(1, 1)]);
    }
}

#[test]
fn cancelled_reply_keeps_partial_text() {
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
fn repeated_cancellation_adds_nothing() {
    given(asked([begun(1, 1, "w"), cancelled(1, 1)])).when(cancel(1, ada())).then_expect_events(vec![]);
}

#[test]
fn ended_reply_cannot_be_cancelled() {
    for end in [completed(1, 1), failed(1, 1)] {
        given(asked([begun(1, 1, "w"), end])).when(cancel(1, ada())).then_expect_error(Error::ReplyEnded);
    }
}

#[test]
fn unrequested_reply_cannot_end() {
    for command in [record(2, 1), fail(2, None), cancel(2, ada())] {
        given(asked([sent(2)])).when(command.clone()).then_expect_error(Error::UnknownReply);
        given(asked([])).when(command).then_expect_error(Error::UnknownReply);
    }
}

#[test]
fn repeated_reply_end_adds_nothing_even_after_deletion() {
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
fn late_worker_of_deleted_conversation_is_rejected() {
    for command in [record(1, 1), retry(1, 1), fail(1, Some(1)), begin(1, 2, "w")] {
        given(asked([begun(1, 1, "w"), cancelled(1, 1), deleted()]))
            .when(command)
            .then_expect_error(Error::Deleted);
    }
}
