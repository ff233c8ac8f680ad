//! The card of any quiz is a valid widget, offers the valid actions, and reveals no answer early.

use aggregates::ids::{ConversationId, QuizId};
use aggregates::quiz::Choice;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::widgets::validate;

const HINT: &str = "HINT-c1d2";
const EXPLANATION: &str = "EXPLANATION-e3f4";
const FOUND: &str = "FOUND-a5b6";

fn view() -> impl Strategy<Value = QuizView> {
    let status = select(vec![AnswerStatus::Idle, AnswerStatus::Incorrect, AnswerStatus::Correct]);
    let question = (
        (".{0,12}", ".{0,12}", vec((".{0,6}", ".{0,6}"), 0..6), of(".{0,6}")),
        (status, 0..u32::MAX, any::<bool>(), any::<bool>()),
    );
    let answered = (".{0,12}", 1..5_u32).prop_map(|(prompt, attempts)| Answered {
        question_id: "q".to_owned(),
        prompt,
        answer: FOUND.to_owned(),
        attempts,
    });
    (question, any::<bool>(), 1..9_u32, 1..9_u32, vec(answered, 0..5)).prop_map(
        |(
            ((id, prompt, options, selected), (status, attempts, hint, explanation)),
            finished,
            a,
            b,
            answered,
        )| {
            let options = options.into_iter().map(|(value, label)| Choice { value, label }).collect();
            QuizView {
                quiz_id: QuizId::new(Uuid::nil()),
                conversation_id: ConversationId::new(Uuid::nil()),
                topic: "topic".to_owned(),
                finished,
                index: a.min(b),
                total: a.max(b),
                score: 0,
                question: QuestionView {
                    id,
                    prompt,
                    options,
                    selected,
                    status,
                    attempts,
                    hint: hint.then(|| HINT.to_owned()),
                    explanation: explanation.then(|| EXPLANATION.to_owned()),
                },
                answered,
            }
        },
    )
}

/// Returns every action in a widget, with its name.
fn actions<'a>(value: &'a Value, found: &mut Vec<&'a Value>) {
    match value {
        Value::Object(fields) => {
            let is_action = |name: &&String| name.starts_with("on") && name.ends_with("Action");
            found.extend(fields.iter().filter(|(name, _)| is_action(name)).map(|(_, action)| action));
            fields.values().for_each(|value| actions(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| actions(value, found)),
        _ => {}
    }
}

proptest! {
    #[test]
    fn card_is_valid_and_reveals_no_answer_early(quiz in view()) {
        let card = quiz_card(&quiz);
        prop_assert_eq!(validate(card.as_value()), Ok(card.clone()));
        let text = card.as_value().to_string();
        let question = &quiz.question;
        let shown = |status: AnswerStatus, text: &Option<String>| {
            !quiz.finished && question.status == status && text.is_some()
        };
        prop_assert_eq!(text.contains(HINT), shown(AnswerStatus::Incorrect, &question.hint));
        prop_assert_eq!(text.contains(EXPLANATION), shown(AnswerStatus::Correct, &question.explanation));
        prop_assert!(!text.contains(FOUND));

        let mut found = Vec::new();
        actions(card.as_value(), &mut found);
        let names: Vec<&str> = found.iter().filter_map(|action| action["type"].as_str()).collect();
        if quiz.finished {
            prop_assert!(names.is_empty(), "{names:?}");
            return Ok(());
        }
        let forward = if quiz.index == quiz.total { FINISH } else { NEXT };
        let mut sorted = names.clone();
        sorted.sort_unstable();
        let mut expected = vec![CLEAR, forward, SELECT, SUBMIT];
        expected.sort_unstable();
        prop_assert_eq!(sorted, expected);
        for action in found {
            let mut payload = json!({"questionId": question.id, "index": quiz.index, "attempt": question.attempts + 1});
            if action["type"] == SELECT {
                payload.as_object_mut().unwrap().remove("attempt");
                prop_assert_eq!(&action["streaming"], false);
                prop_assert_eq!(&action["loadingBehavior"], "none");
            } else {
                prop_assert_eq!(&action["streaming"], true);
            }
            prop_assert_eq!(&action["payload"], &payload);
            prop_assert_eq!(&action["handler"], "server");
        }
    }
}
