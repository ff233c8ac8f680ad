use aggregates::conversation::Composed;
use chrono::{TimeZone as _, Utc};
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn row(id: u128, position: i64, entry: Entry) -> ThreadRow {
    ThreadRow {
        id: Uuid::from_u128(id),
        conversation_id: Uuid::from_u128(1),
        position,
        answered_at: None,
        reply_id: None,
        feedback: None,
        created_at: Utc.timestamp_opt(0, 0).unwrap(),
        entry,
    }
}

/// A message; its reply has the id of the message with a thousand added.
fn said(id: u128, position: i64, text: Option<&str>) -> ThreadRow {
    let entry = Entry::Message {
        text: text.map(str::to_owned),
        composed: None,
        files: Vec::new(),
        tool_choice: None,
        model: None,
    };
    ThreadRow { reply_id: Some(Uuid::from_u128(1_000 + id)), ..row(id, position, entry) }
}

fn answered(id: u128, position: i64, text: &str, to: u128) -> ThreadRow {
    let entry = Entry::Answer {
        text: Some(text.to_owned()),
        status: "complete".to_owned(),
        in_reply_to: Some(Uuid::from_u128(to)),
    };
    row(id, position, entry)
}

/// A call that the answer to message `of` brought.
fn called(id: u128, position: i64, of: u128, output: Option<Value>) -> ThreadRow {
    let entry = Entry::ClientToolCall {
        call_id: "c".to_owned(),
        name: "look".to_owned(),
        arguments: json!({"at": "sky"}),
        output,
    };
    ThreadRow { reply_id: Some(Uuid::from_u128(1_000 + of)), ..row(id, position, entry) }
}

fn context(asked: u128, rows: &[ThreadRow]) -> Context {
    build(&ReplySettings::default(), Uuid::from_u128(asked), rows).unwrap()
}

fn texts(context: &Context) -> Vec<&str> {
    context.turns.iter().map(Turn::text).collect()
}

#[test]
fn an_answer_stands_after_its_question_even_when_another_message_came_between() {
    let rows =
        [said(10, 1, Some("first")), said(20, 2, Some("second")), answered(11, 3, "answer to first", 10)];
    let context = context(20, &rows);
    assert_eq!(texts(&context), ["first", "answer to first", "second"]);
    assert_eq!(context.turns[1].role(), Some(Role::Assistant));
}

#[test]
fn a_later_message_is_not_sent() {
    let rows = [said(10, 1, Some("first")), said(20, 2, Some("second"))];
    assert_eq!(texts(&context(10, &rows)), ["first"]);
}

#[test]
fn old_turns_go_whole_when_the_budget_is_spent() {
    let settings = ReplySettings { history_chars: 12, ..ReplySettings::default() };
    let rows = [
        said(10, 1, Some("aaaa")),
        answered(11, 2, "bbbb", 10),
        said(20, 3, Some("cc")),
        answered(21, 4, "dd", 20),
        said(30, 5, Some("eeee")),
    ];
    let context = build(&settings, Uuid::from_u128(30), &rows).unwrap();
    assert_eq!(texts(&context), ["cc", "dd", "eeee"]);
}

#[test]
fn an_erased_question_has_no_context_and_an_erased_turn_is_left_out() {
    let rows = [said(10, 1, None), said(20, 2, Some("second"))];
    assert_eq!(build(&ReplySettings::default(), Uuid::from_u128(10), &rows), None);
    assert_eq!(texts(&context(20, &rows)), ["second"]);
}

#[test]
fn the_output_of_a_tool_is_asked_with_the_call_and_the_message_before_it() {
    let rows = [
        said(10, 1, Some("look up")),
        answered(11, 2, "one moment", 10),
        called(12, 3, 10, Some(json!({"stars": 3}))),
    ];
    let context = context(12, &rows);
    assert_eq!(texts(&context), ["look up", "one moment", ""]);
    let Some(Turn::Called { output, .. }) = context.turns.last() else { panic!("no call: {context:?}") };
    assert_eq!(output, &json!({"stars": 3}));
    assert_eq!(context.inputs.last(), Some(&MessageId::new(Uuid::from_u128(12))));
}

#[test]
fn what_an_answered_tool_led_to_belongs_to_the_turn_of_the_message() {
    let rows = [
        said(10, 1, Some("look up")),
        called(12, 2, 10, Some(json!(3))),
        said(20, 3, Some("next")),
        answered(13, 4, "three stars", 12),
    ];
    assert_eq!(texts(&context(20, &rows)), ["look up", "", "three stars", "next"]);
}

#[test]
fn an_old_question_is_asked_with_what_was_said_since_and_comes_last() {
    let entry = Entry::StructuredInput {
        status: "answered".to_owned(),
        questions: vec![InputQuestion {
            id: "w".to_owned(),
            question: "Why?".to_owned(),
            form: InputForm::Freeform { description: None },
        }],
        answers: Vec::new(),
    };
    let old =
        ThreadRow { reply_id: Some(Uuid::from_u128(1_010)), answered_at: Some(30), ..row(12, 2, entry) };
    let rows = [
        said(10, 1, Some("paint")),
        old.clone(),
        said(20, 3, Some("wait")),
        answered(21, 4, "I wait", 20),
        said(40, 31, Some("sent after the answer")),
    ];
    let asked = "I asked:\n- Why?";
    let told = "<answers>\nWhy?: (skipped)\n</answers>";
    assert_eq!(texts(&context(12, &rows)), ["paint", "wait", "I wait", asked, told]);
    // Too old for what was read besides: it is asked all the same.
    assert_eq!(texts(&context(12, &rows[1..4])), ["wait", "I wait", asked, told]);
}

#[test]
fn a_call_that_nobody_answered_is_left_out() {
    let rows = [said(10, 1, Some("look up")), called(12, 2, 10, None), said(20, 3, Some("never mind"))];
    assert_eq!(texts(&context(20, &rows)), ["look up", "never mind"]);
}

#[test]
fn questions_come_with_their_answers_as_words_of_the_person() {
    let questions = vec![
        InputQuestion {
            id: "c".to_owned(),
            question: "Colour?".to_owned(),
            form: InputForm::Choice { options: vec!["red".to_owned()], multiple: false },
        },
        InputQuestion {
            id: "w".to_owned(),
            question: "Why?".to_owned(),
            form: InputForm::Freeform { description: None },
        },
    ];
    let answers = vec![InputAnswer { id: "c".to_owned(), values: vec!["red".to_owned()], skipped: false }];
    let entry = Entry::StructuredInput { status: "answered".to_owned(), questions, answers };
    let item = ThreadRow { reply_id: Some(Uuid::from_u128(1_010)), ..row(12, 2, entry) };
    let context = context(12, &[said(10, 1, Some("paint")), item]);
    assert_eq!(
        texts(&context),
        [
            "paint",
            "I asked:\n- Colour? (red)\n- Why?",
            "<answers>\nColour?: red\nWhy?: (skipped)\n</answers>"
        ]
    );
    assert_eq!(context.turns[2].role(), Some(Role::User));
}

#[test]
fn quotes_and_notes_stand_between_marks_that_they_cannot_end() {
    let mut quoting = said(10, 1, Some("and <note>this?"));
    if let Entry::Message { composed, .. } = &mut quoting.entry {
        *composed = Some(Composed { parts: Vec::new(), quoted: Some("a </QUOTED> b".to_owned()) });
    }
    let note = row(11, 2, Entry::Note(Some("stopped </note>".to_owned())));
    let context = context(20, &[quoting, note, said(20, 3, Some("on"))]);
    assert_eq!(
        texts(&context),
        ["<quoted>\na < /QUOTED> b\n</quoted>\nand <note>this?", "<note>\nstopped < /note>\n</note>", "on"]
    );
    assert!(context.turns.iter().all(|turn| turn.role() == Some(Role::User)));
    assert!(!context.system.contains("stopped"));
}

#[test]
fn files_are_named_with_the_turn_that_they_came_with() {
    let mut with_file = said(10, 1, Some("read"));
    if let Entry::Message { files, .. } = &mut with_file.entry {
        files.push(Uuid::from_u128(77));
    }
    let context = context(20, &[said(5, 0, Some("hello")), with_file, said(20, 3, Some("on"))]);
    assert_eq!(context.files, [(1, vec![Uuid::from_u128(77)])]);
}

proptest! {
    #[test]
    fn the_question_is_last_the_budget_holds_and_the_order_of_rows_does_not_matter(
        lengths in proptest::collection::vec((0_usize..40, proptest::option::of(0_usize..40)), 1..12),
        turns in 0_usize..8, budget in 0_usize..120, seed in any::<u64>(),
    ) {
        let settings = ReplySettings { history_turns: turns, history_chars: budget, ..ReplySettings::default() };
        let mut rows = Vec::new();
        for (index, (question, answer)) in lengths.iter().enumerate() {
            let id = (index as u128 + 1) * 10;
            rows.push(said(id, index as i64 * 2, Some(&"q".repeat(*question))));
            if let Some(answer) = answer {
                rows.push(answered(id + 1, index as i64 * 2 + 1, &"a".repeat(*answer), id));
            }
        }
        let asked = Uuid::from_u128(lengths.len() as u128 * 10);
        let context = build(&settings, asked, &rows).unwrap();
        prop_assert_eq!(context.inputs.last().map(|id| id.uuid()), Some(asked));
        prop_assert_eq!(context.turns.len(), context.inputs.len());
        let from_person = context.turns.iter().filter(|turn| turn.role() == Some(Role::User)).count();
        prop_assert!(from_person <= turns + 1);
        let question = lengths[lengths.len() - 1].0;
        let sent: usize = context.turns.iter().map(|turn| turn.text().len()).sum();
        prop_assert!(sent <= budget.max(question));
        let mut shuffled = rows.clone();
        let turn_by = (seed % rows.len() as u64) as usize;
        shuffled.rotate_left(turn_by);
        prop_assert_eq!(build(&settings, asked, &shuffled), Some(context));
    }
}
