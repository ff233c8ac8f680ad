//! Starting; and who may do anything.

use super::*;

#[test]
fn quiz_is_started() {
    adds(vec![], start_with(ada(), questions()), started());
}

#[test]
fn repeated_start_adds_nothing() {
    adds_nothing(begun([]), start_with(ada(), questions()), false);
    adds_nothing(over(), start_with(ada(), vec![]), false);
}

#[test]
fn other_users_quiz_cannot_be_restarted() {
    rejects(begun([]), start_with(eve(), questions()), Error::NotOwner);
}

#[test]
fn stream_holds_one_quiz_in_one_conversation() {
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
        rejects(begun([]), command, Error::AlreadyStarted);
    }
}

#[test]
fn invalid_questions_are_rejected() {
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
        rejects(vec![], start_with(ada(), questions), Error::Questions(fault));
    }
    assert_eq!(check_questions(&questions()), Ok(()));
}

#[test]
fn commands_before_the_start_are_rejected() {
    for command in all_but_start(ada(), "one") {
        rejects(vec![], command, Error::NotStarted);
    }
}

#[test]
fn other_users_commands_are_rejected() {
    for events in [begun([]), second([]), over()] {
        for command in ["one", "two", "three"].into_iter().flat_map(|question| all_but_start(eve(), question))
        {
            rejects(events.clone(), command, Error::NotOwner);
        }
    }
}

#[test]
fn question_of_another_quiz_is_rejected() {
    for events in [begun([]), second([]), over()] {
        for command in all_but_start(ada(), "three") {
            rejects(events.clone(), command, Error::UnknownQuestion);
        }
    }
}
