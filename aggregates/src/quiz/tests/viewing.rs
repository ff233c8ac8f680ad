//! What is shown.

use super::*;

fn seen(events: Vec<Event>) -> QuizView {
    after(events).view().unwrap()
}

fn question_view(n: usize, selected: Option<&str>, status: AnswerStatus, attempts: u32) -> QuestionView {
    let Question { id, prompt, options, correct: _, hint, explanation } = questions().swap_remove(n);
    QuestionView {
        id,
        prompt,
        options,
        selected: selected.map(str::to_owned),
        status,
        attempts,
        hint: hint.filter(|_| status == AnswerStatus::Incorrect),
        explanation: explanation.filter(|_| status == AnswerStatus::Correct),
    }
}

fn answered(question_id: &str, answer: &str, attempts: u32) -> Answered {
    Answered {
        question_id: question_id.to_owned(),
        prompt: format!("What is {question_id}?"),
        answer: format!("{question_id}, {answer}"),
        attempts,
    }
}

#[test]
fn unstarted_quiz_has_no_view() {
    let quiz = Quiz::default();
    assert_eq!((quiz.view(), quiz.id(), quiz.conversation_id(), quiz.owner()), (None, None, None, None));
}

#[test]
fn quiz_view_shows_progress() {
    use AnswerStatus::{Correct, Idle, Incorrect};

    let fresh = QuizView {
        quiz_id: quiz(),
        conversation_id: talk(),
        topic: "letters".to_owned(),
        finished: false,
        index: 1,
        total: 2,
        score: 0,
        question: question_view(0, None, Idle, 0),
        answered: vec![],
    };
    assert_eq!(seen(begun([])), fresh);
    let first = |selected, status, attempts| QuizView {
        question: question_view(0, selected, status, attempts),
        ..fresh.clone()
    };
    let wrong = || submitted("one", "a", 1, false);
    assert_eq!(seen(begun([selected("one", "c")])), first(Some("c"), Idle, 0));
    assert_eq!(seen(begun([wrong()])), first(Some("a"), Incorrect, 1));
    assert_eq!(seen(begun([wrong(), selected("one", "b")])), first(Some("b"), Incorrect, 1));
    assert_eq!(seen(begun([wrong(), cleared("one")])), first(None, Idle, 1));
    let right = QuizView { answered: vec![answered("one", "b", 2)], ..first(Some("b"), Correct, 2) };
    assert_eq!(seen(begun([wrong(), submitted("one", "b", 2, true)])), right);

    let second_open = QuizView { index: 2, question: question_view(1, None, Idle, 0), ..right };
    assert_eq!(seen(second([])), second_open);
    let done = QuizView {
        finished: true,
        score: 1,
        question: question_view(1, Some("c"), Correct, 1),
        answered: vec![answered("one", "b", 2), answered("two", "c", 1)],
        ..second_open
    };
    assert_eq!(seen(over()), done);
}

#[test]
fn question_without_hint_and_explanation_shows_none() {
    let plain = Question { hint: None, explanation: None, ..question("one", "b") };
    let mut start = started();
    if let Event::QuizStarted { questions, .. } = &mut start {
        *questions = vec![plain];
    }
    for last in [submitted("one", "a", 1, false), submitted("one", "b", 1, true)] {
        let view = seen(vec![start.clone(), last]);
        assert_eq!((view.question.hint, view.question.explanation), (None, None));
    }
}

#[test]
fn state_knows_owner_and_grows_with_questions() {
    let quiz = after(begun([]));
    assert_eq!(
        (quiz.id(), quiz.conversation_id(), quiz.owner()),
        (Some(super::quiz()), Some(talk()), Some(ada()))
    );
    assert!(quiz.approximate_bytes() > Quiz::default().approximate_bytes() + 100);
    let more = after(begun([selected("one", "a")]));
    assert_eq!(more.approximate_bytes(), quiz.approximate_bytes() + 1);
}
