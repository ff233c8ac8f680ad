//! What holds for every quiz: read off its events, or off what is shown of it.

use proptest::prelude::*;

use super::strategies::quiz_questions;
use crate::quiz::{AnswerStatus, Quiz, QuizEvent};

/// Reads the log as a stranger to the aggregate would and checks the order in it, the numbers of the tries and the
/// score.
pub(super) fn questions_in_turn(events: &[QuizEvent]) -> Result<(), TestCaseError> {
    let questions = quiz_questions();
    let (mut open, mut tries, mut answered, mut score) = (0, 0, false, 0);
    for (n, event) in events.iter().enumerate() {
        prop_assert_eq!(matches!(event, QuizEvent::QuizStarted { .. }), n == 0);
        prop_assert_eq!(event.owner(), events[0].owner());
        prop_assert_eq!(event.quiz_id(), events[0].quiz_id());
        prop_assert_eq!(event.conversation_id(), events[0].conversation_id());
        match event {
            QuizEvent::QuizStarted { .. } => {}
            QuizEvent::QuizChoiceSelected { question_id, .. }
            | QuizEvent::QuizChoiceCleared { question_id, .. } => {
                prop_assert_eq!(question_id, &questions[open].id);
                prop_assert!(!answered);
            }
            QuizEvent::QuizAnswerSubmitted { question_id, choice, attempt, correct, .. } => {
                prop_assert_eq!(question_id, &questions[open].id);
                prop_assert!(!answered);
                tries += 1;
                prop_assert_eq!(*attempt, tries);
                prop_assert_eq!(*correct, *choice == questions[open].correct);
                answered = *correct;
                score += u32::from(answered && tries == 1);
            }
            QuizEvent::QuizMovedOn { question_id, .. } => {
                prop_assert!(answered);
                open += 1;
                prop_assert_eq!(question_id, &questions[open].id);
                (tries, answered) = (0, false);
            }
            QuizEvent::QuizFinished { score: told, total, .. } => {
                prop_assert!(answered && open + 1 == questions.len());
                prop_assert_eq!((*told, *total), (score, 3));
                prop_assert_eq!(n + 1, events.len());
            }
        }
    }
    Ok(())
}

/// Whether what is shown holds, of a question whose answer was not found, the right value nowhere but among the options
/// and as the reader's own mark, and its explanation nowhere; and of a question to come nothing at all.
pub(super) fn keeps_its_secrets(quiz: &Quiz) -> Result<(), TestCaseError> {
    let Some(mut view) = quiz.view() else { return Ok(()) };
    let open = usize::try_from(view.index).unwrap() - 1;
    let found = open + usize::from(view.question.status == AnswerStatus::Correct);
    prop_assert_eq!(view.answered.len(), found);
    let whole = serde_json::to_string(&view).unwrap();
    view.question.options.clear();
    view.question.selected = None;
    let rest = serde_json::to_string(&view).unwrap();
    for (n, question) in quiz_questions().into_iter().enumerate().skip(found) {
        prop_assert!(!whole.contains(question.explanation.as_deref().unwrap()), "{}", whole);
        let shown = if n == open { &rest } else { &whole };
        for option in &question.options {
            prop_assert!(!shown.contains(&option.value) && !shown.contains(&option.label), "{}", shown);
        }
        prop_assert!(n == open || !whole.contains(&question.prompt), "{}", whole);
    }
    Ok(())
}
