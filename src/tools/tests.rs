//! Calls of the built-in tools, valid and invalid.

use aggregates::Personal;
use aggregates::conversation::InputForm;
use serde_json::json;
use uuid::Uuid;

use super::*;
use quiz::QuestionBank;

fn tools() -> Tools {
    let tool = |name: &str| Tool {
        name: name.to_owned(),
        description: "Of the page.".to_owned(),
        parameters: json!({"type": "object"}),
    };
    let quizzes = Quizzes::new(QuestionBank::built_in().unwrap(), 5);
    Tools::new(quizzes, vec![tool("open_map"), tool("close_map"), tool("ask_user")])
}

fn context() -> CallContext {
    CallContext {
        item_id: MessageId::new(Uuid::from_u128(1)),
        conversation: ConversationId::new(Uuid::from_u128(2)),
        user: UserId::new(Uuid::from_u128(3)),
        at: DateTime::from_timestamp(1_750_000_000, 0).unwrap(),
    }
}

fn tool_call(name: &str, arguments: Value) -> ToolCall {
    ToolCall { call_id: "c1".to_owned(), name: name.to_owned(), arguments }
}

/// Items of an answer with these calls, and the number of rejected calls.
fn items(calls: &[(&str, Value)]) -> (Vec<ReplyItem>, usize) {
    let calls = calls.iter().map(|(name, arguments)| tool_call(name, arguments.clone())).collect();
    let (outputs, rejected) = tools().call_all(calls, context);
    (outputs.into_iter().map(|output| output.item).collect(), rejected)
}

/// The item of a single call.
fn item(name: &str, arguments: Value) -> Option<ReplyItem> {
    items(&[(name, arguments)]).0.pop()
}

#[test]
fn page_tools_cannot_replace_built_in_tools() {
    let names: Vec<String> = tools().definitions().into_iter().map(|tool| tool.name).collect();
    assert_eq!(names, ["ask_user", "show_widget", "start_quiz", "open_map", "close_map"]);
}

#[test]
fn page_tool_call_needs_an_available_tool_and_an_object() {
    assert!(matches!(item("open_map", json!({"at": 1})), Some(ReplyItem::ClientToolCall { .. })));
    assert_eq!(items(&[("open_map", json!([1]))]), (Vec::new(), 1));
    assert_eq!(items(&[("shut_map", json!({}))]), (Vec::new(), 1));
}

#[test]
fn answer_has_at_most_one_page_tool_call_and_one_quiz() {
    let (found, rejected) = items(&[
        ("open_map", json!({})),
        ("close_map", json!({})),
        ("start_quiz", json!({"topic": "no such topic"})),
        ("start_quiz", json!({"topic": "rust"})),
        ("start_quiz", json!({})),
        ("ask_user", json!({"questions": [{"question": "Why?"}]})),
        ("ask_user", json!({"questions": [{"question": "How?"}]})),
    ]);
    assert_eq!(rejected, 0);
    assert!(
        matches!(
            found.as_slice(),
            [
                ReplyItem::ClientToolCall { name, .. },
                ReplyItem::Quiz { .. },
                ReplyItem::InputRequest { .. },
                ReplyItem::InputRequest { .. }
            ] if name == "open_map"
        ),
        "{found:?}"
    );
}

#[test]
fn deeply_nested_arguments_produce_nothing() {
    let nested = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!({"a": inner}));
    assert!(item("open_map", nested(MAX_DEPTH - 1)).is_some());
    assert_eq!(item("open_map", nested(MAX_DEPTH)), None);
}

#[test]
fn questions_get_ids_and_forms() {
    let asked = json!({"questions": [
        {"id": "a", "question": "Which?", "options": ["x", "y"], "multiple": true},
        {"id": "a", "question": "Why?", "description": "In short"},
    ]});
    let Some(ReplyItem::InputRequest { questions: Personal::Known(questions), .. }) = item("ask_user", asked)
    else {
        panic!("no questions")
    };
    assert_eq!(questions.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["a", "question-2"]);
    assert!(matches!(&questions[0].form, InputForm::Choice { multiple: true, .. }));
    assert!(matches!(&questions[1].form, InputForm::Freeform { description: Some(_) }));
}

#[test]
fn question_ids_are_unique() {
    let ask = |ids: &[Option<&str>]| {
        let question = |id: &Option<&str>| json!({"id": id, "question": "Which?"});
        let asked = json!({"questions": ids.iter().map(question).collect::<Vec<_>>()});
        let Some(ReplyItem::InputRequest { questions: Personal::Known(questions), .. }) =
            item("ask_user", asked)
        else {
            panic!("no questions")
        };
        questions.into_iter().map(|one| one.id).collect::<Vec<_>>()
    };
    assert_eq!(ask(&[Some("question-2"), None]), ["question-2", "question-3"]);
    assert_eq!(ask(&[None, Some("question-1"), None]), ["question-1", "question-2", "question-3"]);
    assert_eq!(ask(&[Some("question-3"), None, None]), ["question-3", "question-2", "question-4"]);
}

#[test]
fn invalid_question_or_widget_produces_nothing() {
    for (name, arguments) in [
        ("ask_user", json!({})),
        ("ask_user", json!({"questions": []})),
        ("ask_user", json!({"questions": [{"question": " "}]})),
        ("ask_user", json!({"questions": vec![json!({"question": "?"}); 11]})),
        ("ask_user", json!({"questions": [{"question": "x".repeat(2_001)}]})),
        ("show_widget", json!({"widget": {"type": "Teapot"}})),
        ("show_widget", json!({"widget": "Card"})),
        ("show_widget", json!({})),
    ] {
        assert_eq!(items(&[(name, arguments.clone())]), (Vec::new(), 1), "{name} {arguments}");
    }
    let card = json!({"widget": {"type": "Card", "children": [{"type": "Text", "value": "Saved"}]}});
    assert!(matches!(item("show_widget", card), Some(ReplyItem::Widget { .. })));
    assert!(matches!(item("start_quiz", json!({"topic": "rust"})), Some(ReplyItem::Quiz { .. })));
}

#[test]
fn quiz_output_starts_the_quiz_in_the_batch_of_the_answer() {
    let (outputs, _) = tools().call_all(vec![tool_call("start_quiz", json!({}))], context);
    assert!(outputs[0].commands.is_some());
}
