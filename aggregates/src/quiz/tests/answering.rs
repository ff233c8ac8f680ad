//! Marking, submitting and clearing.

use super::*;

#[test]
fn choice_is_selected_once_and_may_change() {
    adds(begun([]), select("one", "a"), selected("one", "a"));
    adds_nothing(begun([selected("one", "a")]), select("one", "a"), false);
    adds(begun([selected("one", "a")]), select("one", "b"), selected("one", "b"));
    adds(begun([submitted("one", "a", 1, false)]), select("one", "b"), selected("one", "b"));
}

#[test]
fn unknown_choice_is_rejected() {
    for choice in ["d", "", "A"] {
        rejects(begun([]), select("one", choice), Error::UnknownChoice);
        rejects(begun([]), submit("one", choice, None), Error::UnknownChoice);
        rejects(begun([]), submit("one", choice, Some(7)), Error::UnknownChoice);
    }
}

#[test]
fn answer_is_correct_or_wrong_and_counted() {
    adds(begun([]), submit("one", "a", None), submitted("one", "a", 1, false));
    adds(begun([]), submit("one", "b", Some(1)), submitted("one", "b", 1, true));
    let wrong = || begun([submitted("one", "a", 1, false)]);
    adds(wrong(), submit("one", "c", None), submitted("one", "c", 2, false));
    adds(wrong(), submit("one", "b", Some(2)), submitted("one", "b", 2, true));
    // Said to be another try, the same answer is one.
    adds(wrong(), submit("one", "a", Some(2)), submitted("one", "a", 2, false));
}

#[test]
fn repeated_answer_adds_nothing_and_is_not_stale() {
    for (choice, correct) in [("a", false), ("b", true)] {
        for attempt in [None, Some(1)] {
            let events = begun([submitted("one", choice, 1, correct)]);
            adds_nothing(events, submit("one", choice, attempt), false);
        }
    }
    // The mark has moved since: the last answer is the same one still.
    let moved = begun([submitted("one", "a", 1, false), selected("one", "c")]);
    adds_nothing(moved, submit("one", "a", None), false);
}

#[test]
fn answer_with_wrong_try_number_is_stale() {
    for attempt in [0, 2, 3, u32::MAX] {
        adds_nothing(begun([]), submit("one", "b", Some(attempt)), true);
    }
    let wrong = || begun([submitted("one", "a", 1, false)]);
    for (choice, attempt) in [("b", 1), ("b", 0), ("b", 3), ("a", 0), ("a", 3)] {
        adds_nothing(wrong(), submit("one", choice, Some(attempt)), true);
    }
}

#[test]
fn correctly_answered_question_accepts_nothing() {
    for right in [
        begun([submitted("one", "b", 1, true)]),
        begun([submitted("one", "a", 1, false), submitted("one", "b", 2, true)]),
    ] {
        for attempt in [None, Some(1), Some(2), Some(3)] {
            adds_nothing(right.clone(), submit("one", "c", attempt), true);
        }
        adds_nothing(right.clone(), submit("one", "b", Some(3)), true);
        adds_nothing(right.clone(), submit("one", "b", None), false);
        adds_nothing(right.clone(), select("one", "b"), false);
        adds_nothing(right.clone(), select("one", "a"), true);
        adds_nothing(right.clone(), clear("one"), false);
    }
}

#[test]
fn selection_or_wrong_answer_is_cleared_once() {
    adds_nothing(begun([]), clear("one"), false);
    adds(begun([selected("one", "a")]), clear("one"), cleared("one"));
    adds(begun([submitted("one", "a", 1, false)]), clear("one"), cleared("one"));
    adds_nothing(begun([selected("one", "a"), cleared("one")]), clear("one"), false);
}

#[test]
fn cleared_question_may_be_answered_again_and_counts() {
    let events = || begun([submitted("one", "a", 1, false), cleared("one")]);
    adds(events(), submit("one", "a", None), submitted("one", "a", 2, false));
    adds(events(), submit("one", "b", Some(2)), submitted("one", "b", 2, true));
    // The card of before the answer: that try has been made.
    adds_nothing(events(), submit("one", "a", Some(1)), true);
}

#[test]
fn closed_question_accepts_nothing() {
    for command in [
        select("two", "a"),
        submit("two", "c", None),
        submit("two", "c", Some(1)),
        submit("two", "unheard of", None),
        clear("two"),
    ] {
        adds_nothing(begun([]), command, true);
    }
    for command in [select("one", "a"), submit("one", "b", Some(2)), submit("one", "c", None), clear("one")] {
        adds_nothing(second([]), command, true);
    }
}
