//! Beginning a reply, and trying it again.

use super::*;

#[test]
fn first_attempt_has_number_one() {
    given(asked([])).when(begin(1, 1, "w")).then_expect_events(vec![begun(1, 1, "w")]);
    for attempt in [0, 2, u32::MAX] {
        given(asked([])).when(begin(1, attempt, "w")).then_expect_error(Error::StaleAttempt { current: 0 });
    }
}

#[test]
fn repeated_begin_by_the_same_worker_adds_nothing() {
    given(asked([begun(1, 1, "w")])).when(begin(1, 1, "w")).then_expect_events(vec![]);
}

#[test]
fn another_worker_cannot_begin_the_same_attempt() {
    given(asked([begun(1, 1, "w")]))
        .when(begin(1, 1, "x"))
        .then_expect_error(Error::StaleAttempt { current: 1 });
}

#[test]
fn next_attempt_takes_over_from_a_lost_worker() {
    given(asked([begun(1, 1, "w")])).when(begin(1, 2, "x")).then_expect_events(vec![begun(1, 2, "x")]);
}

#[test]
fn attempt_number_may_not_skip_or_repeat() {
    let events = || asked([begun(1, 1, "w"), begun(1, 2, "w")]);
    for attempt in [0, 1, 4] {
        given(events()).when(begin(1, attempt, "w")).then_expect_error(Error::StaleAttempt { current: 2 });
    }
}

#[test]
fn no_attempt_follows_the_maximum_number() {
    given(asked([begun(1, u32::MAX, "w")]))
        .when(begin(1, 0, "w"))
        .then_expect_error(Error::StaleAttempt { current: u32::MAX });
}

#[test]
fn only_the_first_reply_of_the_queue_may_be_begun() {
    let waits = || asked([sent(2), requested(2)]);
    given(waits()).when(begin(2, 1, "w")).then_expect_error(Error::NotYourTurn);
    given(waits()).and(vec![begun(1, 1, "w")]).when(begin(2, 1, "w")).then_expect_error(Error::NotYourTurn);
}

#[test]
fn next_reply_may_begin_after_any_end() {
    for end in [completed(1, 1), failed(1, 1), cancelled(1, 1)] {
        given(asked([begun(1, 1, "w"), sent(2), requested(2), end]))
            .when(begin(2, 1, "w"))
            .then_expect_events(vec![begun(2, 1, "w")]);
    }
}

#[test]
fn unrequested_reply_cannot_be_begun() {
    given(asked([])).when(begin(2, 1, "w")).then_expect_error(Error::UnknownReply);
    given(asked([sent(2)])).when(begin(2, 1, "w")).then_expect_error(Error::UnknownReply);
}

#[test]
fn ended_reply_cannot_be_begun() {
    for end in [completed(1, 1), failed(1, 1), cancelled(1, 1)] {
        for command in [begin(1, 1, "w"), begin(1, 2, "w")] {
            given(asked([begun(1, 1, "w"), end.clone()])).when(command).then_expect_error(Error::ReplyEnded);
        }
    }
}

#[test]
fn failed_attempt_leaves_reply_pending() {
    given(asked([begun(1, 1, "w")])).when(retry(1, 1)).then_expect_events(vec![attempt_failed(1, 1)]);
}

#[test]
fn repeated_attempt_failure_adds_nothing() {
    given(asked([begun(1, 1, "w"), attempt_failed(1, 1)])).when(retry(1, 1)).then_expect_events(vec![]);
}

#[test]
fn only_the_current_attempt_can_fail() {
    given(asked([])).when(retry(1, 0)).then_expect_error(Error::StaleAttempt { current: 0 });
    given(asked([])).when(retry(1, 1)).then_expect_error(Error::StaleAttempt { current: 0 });
    let second = || asked([begun(1, 1, "w"), begun(1, 2, "x")]);
    given(second()).when(retry(1, 1)).then_expect_error(Error::StaleAttempt { current: 2 });
    given(second()).when(retry(1, 3)).then_expect_error(Error::StaleAttempt { current: 2 });
}

#[test]
fn unknown_or_ended_reply_cannot_be_retried() {
    given(asked([])).when(retry(2, 1)).then_expect_error(Error::UnknownReply);
    for end in [completed(1, 1), failed(1, 1), cancelled(1, 1)] {
        given(asked([begun(1, 1, "w"), end])).when(retry(1, 1)).then_expect_error(Error::ReplyEnded);
    }
}

#[test]
fn next_attempt_may_begin_any_time_after_a_failed_one() {
    // At second 2, though the queue was asked not to before second 60: when is the queue's business.
    given(asked([begun(1, 1, "w"), attempt_failed(1, 1)]))
        .when(begin(1, 2, "w"))
        .then_expect_events(vec![begun(1, 2, "w")]);
}

#[test]
fn failed_attempt_cannot_be_begun_again_by_its_worker() {
    given(asked([begun(1, 1, "w"), attempt_failed(1, 1)]))
        .when(begin(1, 1, "w"))
        .then_expect_error(Error::StaleAttempt { current: 1 });
}
