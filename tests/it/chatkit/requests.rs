//! Tests that every golden request is parsed into the expected value.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use verbatim::http::surfaces::chatkit::wire::request::{
    Action, AddClientToolOutput, AddStructuredInput, AddUserMessage, ChatKitRequest, CreateAttachment,
    CreateThread, CustomAction, DeleteAttachment, DeleteThread, Feedback, FeedbackKind, GetThread, ListItems,
    ListThreads, Order, PageLimit, RetryAfterItem, StructuredInputSubmission, SubmissionStatus, Transcribe,
    UpdateThread, UserMessageInput,
};
use verbatim::http::surfaces::chatkit::wire::{InferenceOptions, InputAnswer, ToolChoice, UserContent};

use super::examples::golden_values;

fn id(text: &str) -> String {
    text.to_owned()
}

fn limit(limit: u64) -> PageLimit {
    serde_json::from_value(json!(limit)).unwrap()
}

/// Returns the expected value of each request by `type`, and whether its response is a stream.
fn expected() -> BTreeMap<&'static str, (bool, ChatKitRequest)> {
    use ChatKitRequest as R;
    let thread_id = || id("thr_1");
    let input = UserMessageInput {
        content: vec![
            UserContent::InputText { text: id("hi ") },
            UserContent::InputTag {
                id: id("t1"),
                text: id("Ada"),
                data: json!({"kept": null}).as_object().unwrap().clone(),
                group: Some(id("People")),
                interactive: true,
            },
        ],
        attachments: vec![id("atc_1")],
        inference_options: InferenceOptions {
            tool_choice: Some(ToolChoice { id: id("search") }),
            model: Some(id("m")),
        },
        quoted_text: Some(id("what was said")),
    };
    let bare = UserMessageInput {
        content: vec![UserContent::InputText { text: id("hi") }],
        attachments: Vec::new(),
        inference_options: InferenceOptions::default(),
        quoted_text: None,
    };
    let action = |item_id: Option<&str>| CustomAction {
        thread_id: thread_id(),
        item_id: item_id.map(id),
        action: Action {
            name: id("mcq.submit"),
            payload: json!({"questionId": "q1", "index": 1, "answer": "b"}),
        },
    };
    let answers = [
        (id("q1"), InputAnswer { values: vec![id("a"), id("b")], skipped: false }),
        (id("q2"), InputAnswer { values: Vec::new(), skipped: true }),
    ];
    [
        (true, R::CreateThread(CreateThread { input: bare })),
        (true, R::AddUserMessage(AddUserMessage { thread_id: thread_id(), input })),
        (true, R::AddClientToolOutput(AddClientToolOutput { thread_id: thread_id(), result: Value::Null })),
        (
            true,
            R::AddStructuredInput(AddStructuredInput {
                thread_id: thread_id(),
                item_id: id("msg_1"),
                input: StructuredInputSubmission {
                    status: SubmissionStatus::Answered,
                    answers: answers.into(),
                },
            }),
        ),
        (true, R::RetryAfterItem(RetryAfterItem { thread_id: thread_id(), item_id: id("msg_1") })),
        (true, R::CustomAction(action(Some("msg_9")))),
        (false, R::SyncCustomAction(action(None))),
        (false, R::GetThread(GetThread { thread_id: thread_id() })),
        (
            false,
            R::ListThreads(ListThreads { limit: limit(25), order: Order::Desc, after: Some(thread_id()) }),
        ),
        (false, R::UpdateThread(UpdateThread { thread_id: thread_id(), title: String::new() })),
        (false, R::DeleteThread(DeleteThread { thread_id: thread_id() })),
        (
            false,
            R::ListItems(ListItems {
                thread_id: thread_id(),
                limit: PageLimit::default(),
                order: Order::Asc,
                after: None,
            }),
        ),
        (
            false,
            R::Feedback(Feedback {
                thread_id: thread_id(),
                item_ids: vec![id("msg_1"), id("msg_2")],
                kind: FeedbackKind::Negative,
            }),
        ),
        (
            false,
            R::CreateAttachment(CreateAttachment { name: id("a.png"), size: 5, mime_type: id("image/png") }),
        ),
        (false, R::DeleteAttachment(DeleteAttachment { attachment_id: id("atc_1") })),
        (
            false,
            R::Transcribe(Transcribe { audio_base64: id("AAAA"), mime_type: id("audio/webm;codecs=opus") }),
        ),
    ]
    .into_iter()
    .map(|(streams, request)| (request.name(), (streams, request)))
    .collect()
}

#[test]
fn golden_requests_are_parsed() {
    let mut expected = expected();
    for (_, name, value) in golden_values().iter().filter(|(kind, _, _)| kind == "request") {
        let read = ChatKitRequest::parse(value.to_string().as_bytes()).unwrap();
        let (streams, request) =
            expected.remove(name.as_str()).unwrap_or_else(|| panic!("{name} is not expected"));
        assert_eq!(read, request);
        assert_eq!(read.name(), value["type"].as_str().unwrap());
        assert_eq!(read.is_streaming(), streams, "{name}");
    }
    assert!(expected.is_empty(), "no golden file shows {:?}", expected.keys());
}
