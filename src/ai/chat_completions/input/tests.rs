use std::sync::Arc;

use serde_json::{Value, json};

use super::*;

fn written(turns: Vec<Turn>, documents: bool) -> Value {
    serde_json::to_value(messages(String::new(), turns, documents)).unwrap()
}

#[test]
fn instructions_come_first_and_plain_text_is_one_plain_message() {
    let turns = vec![Turn::message(Role::User, "Hi"), Turn::message(Role::Assistant, "Hello")];
    let written = serde_json::to_value(messages("Be brief.".to_owned(), turns, true)).unwrap();
    let expected = json!([
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
    ]);
    assert_eq!(written, expected);
}

#[test]
fn files_follow_the_text_as_text_image_and_document() {
    let file = |name: &str, mime_type: &str, content| Attached {
        name: name.to_owned(),
        mime_type: mime_type.to_owned(),
        content,
    };
    let turn = Turn::Message {
        role: Role::User,
        text: "Look".to_owned(),
        files: vec![
            file("a.txt", "text/plain", Content::Text("<file>".to_owned())),
            file("b.png", "image/png", Content::Bytes(Arc::from(*b"png"))),
            file("c.pdf", "application/pdf", Content::Bytes(Arc::from(*b"pdf"))),
        ],
    };
    let got = written(vec![turn.clone()], true);
    let expected = json!([
        {"type": "text", "text": "Look"},
        {"type": "text", "text": "<file>"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,cG5n"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,cGRm", "filename": "c.pdf"}},
    ]);
    assert_eq!(got[0]["content"], expected);
    let got = written(vec![turn], false);
    assert_eq!(got[0]["content"][3], json!({"type": "text", "text": NO_DOCUMENT}));
}

#[test]
fn call_is_followed_by_its_output() {
    let got = written(
        vec![Turn::ToolCall {
            call_id: "call-1".to_owned(),
            name: "look".to_owned(),
            arguments: json!({"at": "sky"}),
            output: json!({"stars": 3}),
        }],
        true,
    );
    let expected = json!([
        {"role": "assistant", "tool_calls": [
            {"type": "function", "id": "call-1", "function": {"name": "look", "arguments": "{\"at\":\"sky\"}"}},
        ]},
        {"role": "tool", "content": "{\"stars\":3}", "tool_call_id": "call-1"},
    ]);
    assert_eq!(got, expected);
}

#[test]
fn tools_and_the_forced_one_are_functions() {
    let given = Tool {
        name: "look".to_owned(),
        description: "Looks".to_owned(),
        parameters: json!({"type": "object"}),
    };
    let expected = json!({"type": "function", "function":
        {"name": "look", "description": "Looks", "parameters": {"type": "object"}}});
    assert_eq!(serde_json::to_value(tool(given)).unwrap(), expected);
    let expected = json!({"type": "function", "function": {"name": "look"}});
    assert_eq!(serde_json::to_value(tool_choice("look".to_owned())).unwrap(), expected);
}
