use std::sync::Arc;

use serde_json::{Value, json};

use super::*;

fn written(turn: Turn) -> Value {
    serde_json::to_value(items(turn)).unwrap()
}

#[test]
fn plain_text_is_one_plain_message() {
    let written = written(Turn::message(Role::Assistant, "Hello"));
    assert_eq!((&written[0]["role"], &written[0]["content"]), (&json!("assistant"), &json!("Hello")));
}

#[test]
fn files_follow_the_text_as_text_image_and_document() {
    let file = |name: &str, mime_type: &str, content| Attached {
        name: name.to_owned(),
        mime_type: mime_type.to_owned(),
        content,
    };
    let written = written(Turn::Message {
        role: Role::User,
        text: "Look".to_owned(),
        files: vec![
            file("a.txt", "text/plain", Content::Text("<file>".to_owned())),
            file("b.png", "image/png", Content::Bytes(Arc::from(*b"png"))),
            file("c.pdf", "application/pdf", Content::Bytes(Arc::from(*b"pdf"))),
        ],
    });
    let content = &written[0]["content"];
    assert_eq!(content[0], json!({"type": "input_text", "text": "Look"}));
    assert_eq!(content[1], json!({"type": "input_text", "text": "<file>"}));
    assert_eq!(content[2]["image_url"], "data:image/png;base64,cG5n");
    assert_eq!(
        (&content[3]["file_data"], &content[3]["filename"]),
        (&json!("data:application/pdf;base64,cGRm"), &json!("c.pdf"))
    );
}

#[test]
fn call_is_followed_by_its_output() {
    let written = written(Turn::ToolCall {
        call_id: "call-1".to_owned(),
        name: "look".to_owned(),
        arguments: json!({"at": "sky"}),
        output: json!({"stars": 3}),
    });
    assert_eq!(
        (&written[0]["type"], &written[0]["arguments"]),
        (&json!("function_call"), &json!("{\"at\":\"sky\"}"))
    );
    assert_eq!((&written[1]["call_id"], &written[1]["output"]), (&json!("call-1"), &json!("{\"stars\":3}")));
}
