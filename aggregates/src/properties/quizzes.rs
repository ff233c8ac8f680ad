//! What holds for every quiz: read off its events, or off what is shown of it.

use proptest::prelude::*;
use uuid::Uuid;

use super::strategies::{at, user};
use crate::ids::{ConversationId, QuizId};
use crate::quiz::{AnswerStatus, Choice, Question, Quiz, QuizCommand, QuizEvent};

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

/// The questions of the random quizzes. Each text occurs in one place only, so that it can be looked for.
pub(super) fn quiz_questions() -> Vec<Question> {
    let option =
        |n: usize, m: usize| Choice { value: format!("value-{n}-{m}"), label: format!("label-{n}-{m}") };
    let question = |n: usize| Question {
        id: format!("q{n}"),
        prompt: format!("prompt-{n}"),
        options: (0..3).map(|m| option(n, m)).collect(),
        correct: format!("value-{n}-{}", n % 3),
        hint: Some(format!("hint-{n}")),
        explanation: Some(format!("explanation-{n}")),
    };
    (0..3).map(question).collect()
}

/// Any command of a quiz: mostly about its questions in their order, so that many come to an end.
pub(super) fn quiz_command() -> impl Strategy<Value = QuizCommand> {
    use QuizCommand as C;
    let quiz = prop_oneof![9 => Just(7_u128), 1 => Just(8)].prop_map(|n| QuizId::new(Uuid::from_u128(n)));
    let conversation = ConversationId::new(Uuid::from_u128(70));
    let questions = prop_oneof![
        8 => Just(quiz_questions()),
        1 => Just(Vec::new()),
        1 => (0_usize..4).prop_map(|fault| {
            let mut questions = quiz_questions();
            match fault {
                0 => questions[1].id = questions[0].id.clone(),
                1 => questions[1].options.truncate(1),
                2 => questions[1].options[2].value = questions[1].options[1].value.clone(),
                _ => questions[1].correct = "neither".to_owned(),
            }
            questions
        }),
    ];
    let open = || prop_oneof![20 => 0_usize..3, 1 => Just(9)];
    let about = |n: usize| format!("q{n}");
    // A choice of the question, and rather the right one.
    let answer = || {
        (open(), prop_oneof![4 => Just(None), 4 => (0_usize..3).prop_map(Some), 1 => Just(Some(9))])
            .prop_map(|(n, m)| (format!("q{n}"), format!("value-{n}-{}", m.unwrap_or(n % 3))))
    };
    let attempt = prop::option::of(prop_oneof![3 => 1_u32..4, 1 => any::<u32>()]);
    prop_oneof![
        3 => (quiz, user(), questions, at()).prop_map(move |(quiz_id, by, questions, at)| C::Start {
            quiz_id,
            conversation_id: conversation,
            by,
            topic: "random".to_owned(),
            questions,
            at,
        }),
        4 => (user(), answer(), at())
            .prop_map(|(by, (question_id, choice), at)| C::Select { by, question_id, choice, at }),
        12 => (user(), answer(), attempt, at()).prop_map(|(by, (question_id, choice), attempt, at)| C::Submit {
            by,
            question_id,
            choice,
            attempt,
            at,
        }),
        2 => (user(), open(), at()).prop_map(move |(by, n, at)| C::Clear { by, question_id: about(n), at }),
        7 => (user(), open(), at()).prop_map(move |(by, n, at)| C::Next { by, question_id: about(n), at }),
        3 => (user(), open(), at()).prop_map(move |(by, n, at)| C::Finish { by, question_id: about(n), at }),
    ]
}
