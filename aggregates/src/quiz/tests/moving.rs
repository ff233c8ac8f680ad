//! From question to question, and the end.

use super::*;

#[test]
fn next_question_opens_after_the_correct_answer() {
    adds(begun([submitted("one", "b", 1, true)]), next("one"), moved_on("two"));
}

#[test]
fn early_move_or_finish_adds_nothing() {
    let first = [
        begun([]),
        begun([selected("one", "b")]),
        begun([submitted("one", "a", 1, false)]),
        begun([submitted("one", "a", 1, false), cleared("one")]),
    ];
    for events in first {
        adds_nothing(events.clone(), next("one"), false);
        adds_nothing(events, finish("one"), false);
    }
    adds_nothing(begun([submitted("one", "b", 1, true)]), finish("one"), false);
    for events in [second([]), second([submitted("two", "a", 1, false)])] {
        adds_nothing(events.clone(), next("two"), false);
        adds_nothing(events, finish("two"), false);
    }
}

#[test]
fn double_press_moves_once() {
    adds_nothing(second([]), next("one"), false);
    adds_nothing(second([submitted("two", "c", 1, true)]), next("one"), false);
}

#[test]
fn closed_question_cannot_be_left() {
    adds_nothing(begun([submitted("one", "b", 1, true)]), next("two"), true);
    adds_nothing(begun([submitted("one", "b", 1, true)]), finish("two"), true);
    adds_nothing(second([]), finish("one"), true);
    let third = Event::QuizStarted {
        quiz_id: quiz(),
        conversation_id: talk(),
        owner: ada(),
        topic: "letters".to_owned(),
        questions: vec![question("one", "a"), question("two", "a"), question("three", "a")],
        at: at(0),
    };
    let events = vec![
        third,
        submitted("one", "a", 1, true),
        moved_on("two"),
        submitted("two", "a", 1, true),
        moved_on("three"),
    ];
    adds_nothing(events.clone(), next("one"), true);
    adds_nothing(events, next("two"), false);
}

#[test]
fn last_question_is_followed_by_the_score() {
    for command in [next("two"), finish("two")] {
        adds(second([submitted("two", "c", 1, true)]), command.clone(), finished(1));
        let twice = second([submitted("two", "a", 1, false), submitted("two", "c", 2, true)]);
        adds(twice, command.clone(), finished(0));
        let both = begun([submitted("one", "b", 1, true), moved_on("two"), submitted("two", "c", 1, true)]);
        adds(both, command, finished(2));
    }
}

#[test]
fn finished_quiz_accepts_nothing() {
    for command in [next("one"), next("two"), finish("two"), clear("two"), submit("two", "c", None)] {
        adds_nothing(over(), command, false);
    }
    for command in [
        select("two", "a"),
        submit("two", "a", None),
        submit("two", "c", Some(2)),
        submit("one", "b", None),
        clear("one"),
        finish("one"),
    ] {
        adds_nothing(over(), command, true);
    }
}
