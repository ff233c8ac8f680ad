//! Starting; and who may do anything.

use super::*;

#[test]
fn a_quiz_is_started() {
    adds(vec![], start_with(ada(), questions()), started());
}

#[test]
fn starting_it_again_adds_nothing() {
    adds_nothing(begun([]), start_with(ada(), questions()), false);
    adds_nothing(over(), start_with(ada(), vec![]), false);
}

#[test]
fn somebody_elses_quiz_cannot_be_started_again() {
    refuses(begun([]), start_with(eve(), questions()), Error::NotOwner);
}

#[test]
fn a_stream_holds_one_quiz_in_one_conversation() {
    let other = Uuid::from_u128(99);
    for (quiz_id, conversation_id) in [(QuizId::new(other), talk()), (quiz(), ConversationId::new(other))] {
        let command = Command::Start {
            quiz_id,
            conversation_id,
            by: ada(),
            topic: "letters".to_owned(),
            questions: questions(),
            at: at(0),
        };
        refuses(begun([]), command, Error::AlreadyStarted);
    }
}

#[test]
fn questions_that_cannot_be_asked_are_refused() {
    let alone = |change: fn(&mut Question)| {
        let mut changed = question("two", "c");
        change(&mut changed);
        vec![question("one", "b"), changed]
    };
    for (questions, fault) in [
        (vec![], QuestionFault::None),
        (alone(|question| question.id = "one".to_owned()), QuestionFault::SameId),
        (alone(|question| drop(question.options.drain(..2))), QuestionFault::TooFewOptions),
        (alone(|question| question.options.clear()), QuestionFault::TooFewOptions),
        (alone(|question| question.options[0].value = "c".to_owned()), QuestionFault::SameOption),
        (alone(|question| question.correct = "d".to_owned()), QuestionFault::CorrectNotAnOption),
    ] {
        assert_eq!(check_questions(&questions), Err(fault));
        refuses(vec![], start_with(ada(), questions), Error::Questions(fault));
    }
    assert_eq!(check_questions(&questions()), Ok(()));
}

#[test]
fn nothing_else_can_be_done_before_the_start() {
    for command in all_but_start(ada(), "one") {
        refuses(vec![], command, Error::NotStarted);
    }
}

#[test]
fn nobody_but_the_owner_may_do_anything() {
    for events in [begun([]), second([]), over()] {
        for command in ["one", "two", "three"].into_iter().flat_map(|question| all_but_start(eve(), question))
        {
            refuses(events.clone(), command, Error::NotOwner);
        }
    }
}

#[test]
fn a_question_of_another_quiz_is_refused() {
    for events in [begun([]), second([]), over()] {
        for command in all_but_start(ada(), "three") {
            refuses(events.clone(), command, Error::UnknownQuestion);
        }
    }
}
