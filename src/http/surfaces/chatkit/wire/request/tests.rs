//! Rejected requests and their messages. Golden files cover the accepted requests.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn parse(request: &Value) -> Result<ChatKitRequest, ApiError> {
    ChatKitRequest::parse(request.to_string().as_bytes())
}

#[track_caller]
fn refused(request: &Value, status: u16, code: &str, field: &str) {
    let error = parse(request).expect_err("a refusal");
    assert_eq!((error.status().as_u16(), error.error().code), (status, code), "{request}");
    let errors = serde_json::to_value(error.errors()).unwrap();
    assert_eq!(errors[0]["field"], field, "{errors}");
}

/// Returns a first message with one change to its input.
fn create(change: impl FnOnce(&mut Value)) -> Value {
    let mut request = json!({
        "type": "threads.create",
        "params": {"input": {"content": [{"type": "input_text", "text": "hi"}], "attachments": [], "inference_options": {}}},
    });
    change(&mut request["params"]["input"]);
    request
}

fn action(action: &Value) -> Value {
    json!({"type": "threads.custom_action", "params": {"thread_id": "thr_1", "action": action}})
}

#[test]
fn malformed_requests_are_rejected() {
    for body in [
        "",
        "{",
        "[]",
        "[\"threads.list\", {}]",
        "null",
        "\"threads.list\"",
        "{\"type\":\"threads.list\"}",
        "{\"params\":{}}",
    ] {
        let error = ChatKitRequest::parse(body.as_bytes()).unwrap_err();
        assert_eq!((error.status().as_u16(), error.error().code), (422, "malformed_request"), "{body}");
    }
    let params = json!({"thread_id": "thr_1"});
    for name in ["threads.explode", "", "Threads.list", "threads.list "] {
        refused(&json!({"type": name, "params": params}), 422, "unknown_request_type", "type");
    }
    refused(&json!({"type": null, "params": params}), 422, "malformed_request", "type");
    for params in [json!(null), json!([1]), json!("x"), json!(1)] {
        refused(&json!({"type": "threads.get_by_id", "params": params}), 422, "malformed_request", "params");
    }
    for metadata in [json!(null), json!([]), json!("x")] {
        let request = json!({"type": "threads.list", "params": {}, "metadata": metadata});
        refused(&request, 422, "malformed_request", "metadata");
    }
    let twice = br#"{"type":"threads.list","type":"threads.list","params":{}}"#;
    assert!(ChatKitRequest::parse(twice).is_err());
    let twice = br#"{"type":"threads.get_by_id","params":{"thread_id":"a","thread_id":"b"}}"#;
    assert!(ChatKitRequest::parse(twice).is_err());
    let nul = br#"{"type":"threads.get_by_id","params":{"thread_id":"a\u0000"}}"#;
    assert_eq!(ChatKitRequest::parse(nul).unwrap_err().error().code, "invalid_character");
    let deep = format!(
        r#"{{"type":"threads.add_client_tool_output","params":{{"thread_id":"a","result":{}1{}}}}}"#,
        "[".repeat(10_000),
        "]".repeat(10_000)
    );
    assert_eq!(ChatKitRequest::parse(deep.as_bytes()).unwrap_err().error().code, "malformed_request");
}

#[test]
fn required_fields_reject_absence_and_null() {
    let required = [
        ("threads.create", json!({"input": {}}), vec!["input"]),
        (
            "threads.add_user_message",
            json!({"thread_id": "a", "input": {"content": [], "attachments": [], "inference_options": {}}}),
            vec!["thread_id"],
        ),
        ("threads.get_by_id", json!({"thread_id": "a"}), vec!["thread_id"]),
        ("threads.update", json!({"thread_id": "a", "title": "b"}), vec!["thread_id", "title"]),
        ("threads.delete", json!({"thread_id": "a"}), vec!["thread_id"]),
        ("threads.retry_after_item", json!({"thread_id": "a", "item_id": "b"}), vec!["thread_id", "item_id"]),
        (
            "threads.add_structured_input",
            json!({"thread_id": "a", "item_id": "b", "input": {}}),
            vec!["thread_id", "item_id", "input"],
        ),
        (
            "threads.sync_custom_action",
            json!({"thread_id": "a", "action": {"type": "b"}}),
            vec!["thread_id", "action"],
        ),
        ("items.list", json!({"thread_id": "a"}), vec!["thread_id"]),
        (
            "items.feedback",
            json!({"thread_id": "a", "item_ids": [], "kind": "positive"}),
            vec!["thread_id", "item_ids", "kind"],
        ),
        (
            "attachments.create",
            json!({"name": "a", "size": 1, "mime_type": "b"}),
            vec!["name", "size", "mime_type"],
        ),
        ("attachments.delete", json!({"attachment_id": "a"}), vec!["attachment_id"]),
        (
            "input.transcribe",
            json!({"audio_base64": "", "mime_type": "a"}),
            vec!["audio_base64", "mime_type"],
        ),
    ];
    for (name, params, fields) in required {
        for field in fields {
            let mut absent = params.clone();
            absent.as_object_mut().unwrap().remove(field);
            assert!(parse(&json!({"type": name, "params": absent})).is_err(), "{name} without {field}");
            let mut empty = params.clone();
            empty[field] = Value::Null;
            let request = json!({"type": name, "params": empty});
            refused(&request, 422, "malformed_request", &format!("params.{field}"));
        }
    }
    for field in ["content", "attachments", "inference_options"] {
        refused(
            &create(|input| input[field] = Value::Null),
            422,
            "malformed_request",
            &format!("params.input.{field}"),
        );
        let absent = create(|input| {
            input.as_object_mut().unwrap().remove(field);
        });
        refused(&absent, 422, "malformed_request", "params.input");
    }
    let output = |params: Value| json!({"type": "threads.add_client_tool_output", "params": params});
    refused(&output(json!({"thread_id": "a"})), 422, "malformed_request", "params");
    assert!(parse(&output(json!({"thread_id": "a", "result": null}))).is_ok());
    for broken in [json!({}), json!({"type": null}), json!({"payload": {}}), json!({"type": 1})] {
        assert!(parse(&action(&broken)).is_err(), "{broken}");
    }
}

#[test]
fn optional_fields_accept_null_and_unknown_ones_are_ignored() {
    let request = create(|input| {
        input["quoted_text"] = Value::Null;
        input["inference_options"] = json!({"tool_choice": null, "model": null, "temperature": 2});
        input["content"] = json!([
            {"type": "input_tag", "id": "1", "text": "a", "data": {"x": null}, "group": null, "interactive": null, "y": 1},
            {"type": "input_text", "text": "", "more": []},
        ]);
        input["more"] = json!({"a": null});
    });
    let bare = create(|input| {
        input["content"] = json!([
            {"type": "input_tag", "id": "1", "text": "a", "data": {"x": null}},
            {"type": "input_text", "text": ""},
        ]);
    });
    assert_eq!(parse(&request).unwrap(), parse(&bare).unwrap());

    let list =
        |params: Value| json!({"type": "threads.list", "params": params, "metadata": {"a": null}, "more": 1});
    let nulls = list(json!({"limit": null, "order": null, "after": null, "more": null}));
    assert_eq!(parse(&nulls).unwrap(), parse(&list(json!({}))).unwrap());
    let input = |input: Value| json!({"type": "threads.add_structured_input", "params": {"thread_id": "a", "item_id": "b", "input": input}});
    let nulls = input(json!({"status": null, "answers": {"q": {"values": null, "skipped": null}}}));
    let bare = input(json!({"answers": {"q": {}}}));
    assert_eq!(parse(&nulls).unwrap(), parse(&bare).unwrap());
    assert_eq!(
        parse(&input(json!({"answers": null}))).unwrap(),
        parse(&input(json!({"status": "answered"}))).unwrap()
    );
    let full = action(&json!({"type": "x", "payload": null, "handler": "server", "loadingBehavior": "auto"}));
    assert_eq!(parse(&full).unwrap(), parse(&action(&json!({"type": "x"}))).unwrap());
}

#[test]
fn page_size_defaults_to_twenty() {
    let limit = |limit: Value| {
        let request = json!({"type": "items.list", "params": {"thread_id": "a", "limit": limit}});
        match parse(&request) {
            Ok(ChatKitRequest::ListItems(list)) => Some(list.limit.get()),
            _ => None,
        }
    };
    for (said, meant) in
        [(json!(null), 20), (json!(0), 20), (json!(1), 1), (json!(100), 100), (json!(u64::MAX), 100)]
    {
        assert_eq!(limit(said.clone()), Some(meant), "{said}");
    }
    for broken in [json!(-1), json!(1.5), json!("20"), json!(true), json!(1e30)] {
        assert_eq!(limit(broken.clone()), None, "{broken}");
    }
}

#[test]
fn exceeded_limits_are_rejected_with_their_field() {
    let message = create(|input| {
        *input = json!({
            "content": [
                {"type": "input_text", "text": ""},
                {"type": "input_tag", "id": "", "text": "", "group": "", "data": {"x": ""}},
            ],
            "attachments": [],
            "quoted_text": "",
            "inference_options": {"model": "", "tool_choice": {"id": ""}},
        });
    });
    let of_type = |name: &str, params: Value| json!({"type": name, "params": params});
    let action = action(&json!({"type": "", "payload": ""}));
    let output = of_type("threads.add_client_tool_output", json!({"thread_id": "a", "result": ""}));
    let feedback = of_type("items.feedback", json!({"thread_id": "a", "item_ids": [], "kind": "negative"}));
    let file = of_type("attachments.create", json!({"name": "a", "size": 0, "mime_type": ""}));
    let answers = of_type(
        "threads.add_structured_input",
        json!({"thread_id": "a", "item_id": "b", "input": {"answers": {"q": {"values": []}}}}),
    );
    let text = |chars: usize| json!("é".repeat(chars));
    let ids = |count: usize| json!(vec!["a"; count]);
    let parts = |count: usize| json!(vec![json!({"type": "input_text", "text": ""}); count]);
    // The JSON around the text counts as well.
    let data = |bytes: usize| json!({"x": "y".repeat(bytes - r#"{"x":""}"#.len())});
    let quoted = |bytes: usize| json!("y".repeat(bytes - 2));

    type Fill<'a> = &'a dyn Fn(usize) -> Value;
    let cases: [(&Value, &str, usize, Fill<'_>); 16] = [
        (&message, "params.input.content", MAX_PARTS, &parts),
        (&message, "params.input.content[0].text", MAX_TEXT, &text),
        (&message, "params.input.content[1].id", MAX_NAME, &text),
        (&message, "params.input.content[1].text", MAX_NAME, &text),
        (&message, "params.input.content[1].group", MAX_NAME, &text),
        (&message, "params.input.content[1].data", MAX_DATA, &data),
        (&message, "params.input.attachments", MAX_ATTACHMENTS, &ids),
        (&message, "params.input.quoted_text", MAX_TEXT, &text),
        (&message, "params.input.inference_options.model", MAX_NAME, &text),
        (&message, "params.input.inference_options.tool_choice.id", MAX_NAME, &text),
        (&action, "params.action.type", MAX_NAME, &text),
        (&action, "params.action.payload", MAX_DATA, &quoted),
        (&output, "params.result", MAX_RESULT, &quoted),
        (&feedback, "params.item_ids", MAX_FEEDBACK, &ids),
        (&answers, "params.input.answers.q.values", MAX_ANSWERS, &ids),
        (&file, "params.mime_type", MAX_NAME, &text),
    ];
    for (request, field, most, fill) in cases {
        let pointer = format!("/{}", field.replace(['.', '['], "/").replace(']', ""));
        let filled = |size: usize| {
            let mut request = request.clone();
            *request.pointer_mut(&pointer).unwrap() = fill(size);
            request
        };
        assert!(parse(&filled(most)).is_ok(), "{field}");
        refused(&filled(most + 1), 400, "invalid_value", field);
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_do_not_break_parsing(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = ChatKitRequest::parse(&bytes);
    }

    #[test]
    fn arbitrary_json_does_not_break_parsing(name in "(threads|items|input)\\.[a-z_]{4,12}", params in json_value()) {
        let _ = parse(&json!({"type": name, "params": params}));
        for name in ["threads.create", "threads.custom_action", "threads.add_structured_input"] {
            let _ = parse(&json!({"type": name, "params": params}));
        }
    }
}

fn json_value() -> impl Strategy<Value = Value> {
    let name = prop_oneof![
        Just("input"),
        Just("content"),
        Just("type"),
        Just("text"),
        Just("data"),
        Just("action"),
        Just("answers"),
        Just("thread_id"),
        Just("item_id"),
        Just("attachments"),
        Just("inference_options"),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,5}".prop_map(Value::from),
        Just(json!("input_tag"))
    ];
    leaf.prop_recursive(4, 32, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((name.clone(), inner), 0..6).prop_map(|fields| fields
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect()),
        ]
    })
}
