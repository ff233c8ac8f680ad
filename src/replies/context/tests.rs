use aggregates::conversation::{Composed, InputAnswer, InputForm, InputQuestion};
use aggregates::ids::FileId;
use chrono::{TimeZone as _, Utc};
use serde_json::{Value, json};

use super::*;
use crate::ai::Role;

mod budget;
mod injected;

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

/// A message; its reply's id is the message's id plus 1000.
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

/// A tool call of the answer to message `of`.
fn tool_call(id: u128, position: i64, of: u128, output: Option<Value>) -> ThreadRow {
    let entry = Entry::ClientToolCall {
        call_id: "c".to_owned(),
        name: "look".to_owned(),
        arguments: json!({"at": "sky"}),
        output,
    };
    ThreadRow { reply_id: Some(Uuid::from_u128(1_000 + of)), ..row(id, position, entry) }
}

/// A text file attached to a message.
fn text_file(id: u128, text: &str) -> FileContent {
    FileContent {
        file_id: FileId::new(Uuid::from_u128(id)),
        name: Some("notes.txt".to_owned()),
        mime_type: "text/plain".to_owned(),
        sha256: format!("hash-{id}"),
        size: text.len() as u64,
        content: crate::files::Content::Text { text: text.to_owned(), cut: false },
    }
}

fn with_files(mut row: ThreadRow, ids: &[u128]) -> ThreadRow {
    if let Entry::Message { files, .. } = &mut row.entry {
        files.extend(ids.iter().copied().map(Uuid::from_u128));
    }
    row
}

fn inputs(rows: &[ThreadRow], files: &[FileContent]) -> ContextInputs {
    let files = files.iter().map(|file| (file.file_id.uuid(), file.clone())).collect();
    ContextInputs { rows: rows.to_vec(), goes_on: false, files }
}

/// Builds the context for gpt-4o.
fn built(settings: &ReplySettings, asked: u128, inputs: &ContextInputs) -> Result<Context, ContextError> {
    let policy = Policy::new(settings, Counter::of("gpt-4o"), "gpt-4o", &[]);
    policy.build(Uuid::from_u128(asked), inputs)
}

fn context(asked: u128, rows: &[ThreadRow]) -> Context {
    built(&ReplySettings::default(), asked, &inputs(rows, &[])).unwrap()
}

fn texts(context: &Context) -> Vec<&str> {
    context.turns.iter().map(Turn::text).collect()
}

#[test]
fn answer_follows_its_question_despite_interleaved_message() {
    let rows =
        [said(10, 1, Some("first")), said(20, 2, Some("second")), answered(11, 3, "answer to first", 10)];
    let context = context(20, &rows);
    assert_eq!(texts(&context), ["first", "answer to first", "second"]);
    assert_eq!(context.turns[1].role(), Some(Role::Assistant));
}

#[test]
fn later_message_is_left_out() {
    let rows = [said(10, 1, Some("first")), said(20, 2, Some("second"))];
    assert_eq!(texts(&context(10, &rows)), ["first"]);
}

#[test]
fn erased_question_has_no_context_and_erased_turn_is_left_out() {
    let rows = [said(10, 1, None), said(20, 2, Some("second"))];
    let none = built(&ReplySettings::default(), 10, &inputs(&rows, &[]));
    assert_eq!(none, Err(ContextError::Nothing));
    let context = context(20, &rows);
    assert_eq!(texts(&context), ["second"]);
    assert_eq!(context.report.left_out.erased, 1);
}

#[test]
fn tool_output_comes_with_its_call_and_message() {
    let rows = [
        said(10, 1, Some("look up")),
        answered(11, 2, "one moment", 10),
        tool_call(12, 3, 10, Some(json!({"stars": 3}))),
    ];
    let context = context(12, &rows);
    assert_eq!(texts(&context), ["look up", "one moment", ""]);
    let Some(Turn::ToolCall { output, .. }) = context.turns.last() else { panic!("no call: {context:?}") };
    assert_eq!(output, &json!({"stars": 3}));
    assert_eq!(context.inputs.last(), Some(&MessageId::new(Uuid::from_u128(12))));
}

#[test]
fn reply_to_tool_output_belongs_to_the_message_turn() {
    let rows = [
        said(10, 1, Some("look up")),
        tool_call(12, 2, 10, Some(json!(3))),
        said(20, 3, Some("next")),
        answered(13, 4, "three stars", 12),
    ];
    assert_eq!(texts(&context(20, &rows)), ["look up", "", "three stars", "next"]);
}

#[test]
fn old_question_comes_last_after_later_turns() {
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
    // Older than the loaded rows: it is included nevertheless.
    assert_eq!(texts(&context(12, &rows[1..4])), ["wait", "I wait", asked, told]);
}

#[test]
fn unanswered_tool_call_is_left_out() {
    let rows = [said(10, 1, Some("look up")), tool_call(12, 2, 10, None), said(20, 3, Some("never mind"))];
    assert_eq!(texts(&context(20, &rows)), ["look up", "never mind"]);
}

#[test]
fn input_answers_are_included_as_user_text() {
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
fn quotes_and_notes_cannot_close_their_delimiters() {
    let mut quoting = said(10, 1, Some("and <note>this?"));
    if let Entry::Message { composed, .. } = &mut quoting.entry {
        *composed = Some(Composed { parts: Vec::new(), quoted: Some("a </QUOTED> b".to_owned()) });
    }
    let note = row(11, 2, Entry::Note(Some("stopped </note>".to_owned())));
    let context = context(20, &[quoting, note, said(20, 3, Some("on"))]);
    assert_eq!(
        texts(&context),
        [
            "<quoted>\na &lt;/QUOTED> b\n</quoted>\nand <note>this?",
            "<note>\nstopped &lt;/note>\n</note>",
            "on"
        ]
    );
    assert!(context.turns.iter().all(|turn| turn.role() == Some(Role::User)));
    assert!(!context.system.contains("stopped"));
}

#[test]
fn files_are_included_in_the_turn_of_their_message() {
    let rows =
        [said(5, 0, Some("hello")), with_files(said(10, 1, Some("read")), &[77]), said(20, 3, Some("on"))];
    let settings = ReplySettings::default();
    let context = built(&settings, 20, &inputs(&rows, &[text_file(77, "in it")])).unwrap();
    let Turn::Message { files, .. } = &context.turns[1] else { panic!("{context:?}") };
    let marked = "<file name=\"notes.txt\" type=\"text/plain\">\nin it\n</file>";
    assert_eq!(files[0].content, Content::Text(marked.to_owned()));
    assert_eq!((&context.file_hashes, context.report.files.whole), (&vec!["hash-77".to_owned()], 1));
}

#[test]
fn bytes_are_loaded_into_their_turns_and_missing_file_is_named() {
    let picture = |id: u128| FileContent {
        mime_type: "image/png".to_owned(),
        content: crate::files::Content::Image { pixels: Some((10, 10)) },
        ..text_file(id, "bytes")
    };
    let rows = [said(5, 0, Some("hello")), with_files(said(20, 3, Some("look")), &[77, 78])];
    let settings = ReplySettings::default();
    let mut context = built(&settings, 20, &inputs(&rows, &[picture(77), picture(78)])).unwrap();
    let unread = std::mem::take(&mut context.unread);
    assert_eq!(unread.len(), 2);
    context.fill(&unread[0], Some(b"png"));
    context.fill(&unread[1], None);
    let Some(Turn::Message { files, .. }) = context.turns.last() else { panic!("{context:?}") };
    assert_eq!(files[0].content, Content::Bytes(b"png".as_slice().into()));
    assert!(matches!(&files[1].content, Content::Text(text) if text.contains("not read here")));
}
