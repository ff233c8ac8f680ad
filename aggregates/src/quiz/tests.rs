//! Given, when, then: every command of a quiz, allowed and rejected.
//!
//! The makers here are shared by the files below, one for each part of a quiz's life.

mod answering;
mod moving;
mod starting;
mod viewing;

use chrono::{DateTime, Utc};
use cqrs_es::Aggregate as _;
use cqrs_es::test::{AggregateTestExecutor, TestFramework};
use uuid::Uuid;

use super::*;
use crate::ids::{ConversationId, QuizId, UserId};

use QuizCommand as Command;
use QuizError as Error;
use QuizEvent as Event;

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_750_000_000 + second, 0).unwrap()
}

fn ada() -> UserId {
    UserId::new(Uuid::from_u128(1))
}

fn eve() -> UserId {
    UserId::new(Uuid::from_u128(2))
}

fn talk() -> ConversationId {
    ConversationId::new(Uuid::from_u128(3))
}

fn quiz() -> QuizId {
    QuizId::new(Uuid::from_u128(4))
}

fn question(id: &str, correct: &str) -> Question {
    let option = |value: &str| Choice { value: value.to_owned(), label: format!("{id}, {value}") };
    Question {
        id: id.to_owned(),
        prompt: format!("What is {id}?"),
        options: ["a", "b", "c"].map(option).to_vec(),
        correct: correct.to_owned(),
        hint: Some(format!("think of {id}")),
        explanation: Some(format!("because of {id}")),
    }
}

/// The first one is answered by `b`, the second by `c`.
fn questions() -> Vec<Question> {
    vec![question("one", "b"), question("two", "c")]
}

fn given(events: Vec<Event>) -> AggregateTestExecutor<Quiz> {
    TestFramework::with(()).given(events)
}

fn after(events: Vec<Event>) -> Quiz {
    let mut quiz = Quiz::default();
    events.into_iter().for_each(|event| quiz.apply(event));
    quiz
}

/// The command adds no events, and is reported as stale or not.
#[track_caller]
fn adds_nothing(events: Vec<Event>, command: Command, stale: bool) {
    assert_eq!(after(events.clone()).is_stale(&command), stale, "{command:?}");
    given(events).when(command).then_expect_events(vec![]);
}

/// The command adds this, and so is not stale.
#[track_caller]
fn adds(events: Vec<Event>, command: Command, event: Event) {
    assert!(!after(events.clone()).is_stale(&command), "{command:?}");
    given(events).when(command).then_expect_events(vec![event]);
}

#[track_caller]
fn rejects(events: Vec<Event>, command: Command, error: Error) {
    assert!(!after(events.clone()).is_stale(&command), "{command:?}");
    given(events).when(command).then_expect_error(error);
}

// What happened.

fn started() -> Event {
    Event::QuizStarted {
        quiz_id: quiz(),
        conversation_id: talk(),
        owner: ada(),
        topic: "letters".to_owned(),
        questions: questions(),
        at: at(0),
    }
}

fn selected(question: &str, choice: &str) -> Event {
    Event::QuizChoiceSelected {
        quiz_id: quiz(),
        conversation_id: talk(),
        owner: ada(),
        question_id: question.to_owned(),
        choice: choice.to_owned(),
        at: at(1),
    }
}

fn cleared(question: &str) -> Event {
    Event::QuizChoiceCleared {
        quiz_id: quiz(),
        conversation_id: talk(),
        owner: ada(),
        question_id: question.to_owned(),
        at: at(1),
    }
}

fn submitted(question: &str, choice: &str, attempt: u32, correct: bool) -> Event {
    Event::QuizAnswerSubmitted {
        quiz_id: quiz(),
        conversation_id: talk(),
        owner: ada(),
        question_id: question.to_owned(),
        choice: choice.to_owned(),
        attempt,
        correct,
        at: at(1),
    }
}

fn moved_on(question: &str) -> Event {
    Event::QuizMovedOn {
        quiz_id: quiz(),
        conversation_id: talk(),
        owner: ada(),
        question_id: question.to_owned(),
        at: at(1),
    }
}

fn finished(score: u32) -> Event {
    Event::QuizFinished { quiz_id: quiz(), conversation_id: talk(), owner: ada(), score, total: 2, at: at(1) }
}

/// The first question open, with what happened since.
fn begun(more: impl IntoIterator<Item = Event>) -> Vec<Event> {
    [started()].into_iter().chain(more).collect()
}

/// The first question answered at the second try and left, with what happened since.
fn second(more: impl IntoIterator<Item = Event>) -> Vec<Event> {
    let first = [submitted("one", "a", 1, false), submitted("one", "b", 2, true), moved_on("two")];
    begun(first.into_iter().chain(more))
}

/// The whole quiz.
fn over() -> Vec<Event> {
    second([submitted("two", "c", 1, true), finished(1)])
}

// What is asked for.

fn start_with(by: UserId, questions: Vec<Question>) -> Command {
    Command::Start {
        quiz_id: quiz(),
        conversation_id: talk(),
        by,
        topic: "letters".to_owned(),
        questions,
        at: at(0),
    }
}

fn select(question: &str, choice: &str) -> Command {
    Command::Select { by: ada(), question_id: question.to_owned(), choice: choice.to_owned(), at: at(1) }
}

fn submit(question: &str, choice: &str, attempt: Option<u32>) -> Command {
    Command::Submit {
        by: ada(),
        question_id: question.to_owned(),
        choice: choice.to_owned(),
        attempt,
        at: at(1),
    }
}

fn clear(question: &str) -> Command {
    Command::Clear { by: ada(), question_id: question.to_owned(), at: at(1) }
}

fn next(question: &str) -> Command {
    Command::Next { by: ada(), question_id: question.to_owned(), at: at(1) }
}

fn finish(question: &str) -> Command {
    Command::Finish { by: ada(), question_id: question.to_owned(), at: at(1) }
}

/// Every command but the start, by this person, about this question.
fn all_but_start(by: UserId, question: &str) -> Vec<Command> {
    let (question_id, choice, at) = (question.to_owned(), "a".to_owned(), at(1));
    vec![
        Command::Select { by, question_id: question_id.clone(), choice: choice.clone(), at },
        Command::Submit { by, question_id: question_id.clone(), choice, attempt: None, at },
        Command::Clear { by, question_id: question_id.clone(), at },
        Command::Next { by, question_id: question_id.clone(), at },
        Command::Finish { by, question_id, at },
    ]
}
