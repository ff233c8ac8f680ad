//! Tests malformed requests: a 4xx in the common error shape before any stream begins, no event, and the connection
//! stays usable.

use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use verbatim::schema::MIGRATOR;

use super::sequences::{ASK, WIDGET, app_with_bank_and_tools, question_of};
use super::support::{Kit, acting, done, id_of, kinds, text, thread_of, with_files};
use crate::support::app::{Person, TestApp, WAIT_TIMEOUT};

/// Sends this body, and then a list request over the same connection; returns status and body of the first response.
async fn send_raw(app: &TestApp, person: &Person, body: &[u8]) -> (u16, Value) {
    let talk = async {
        let mut connection = TcpStream::connect(app.address()).await.unwrap();
        let list = json!({"type": "threads.list", "params": {}}).to_string();
        for (body, last) in [(body, "keep-alive"), (list.as_bytes(), "close")] {
            let head = format!(
                "POST /chatkit HTTP/1.1\r\nHost: it\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\nConnection: {last}\r\n\r\n",
                person.access,
                body.len()
            );
            connection.write_all(head.as_bytes()).await.unwrap();
            connection.write_all(body).await.unwrap();
        }
        let mut answers = Vec::new();
        connection.read_to_end(&mut answers).await.unwrap();
        String::from_utf8(answers).unwrap()
    };
    let answers = tokio::time::timeout(WAIT_TIMEOUT, talk).await.expect("both responses arrive in time");
    let (first, second) = answers.split_at(answers.rfind("HTTP/1.1 ").unwrap());
    assert!(second.starts_with("HTTP/1.1 200 ") && second.contains("\"has_more\":"), "{answers}");
    let (head, body) = first.split_once("\r\n\r\n").expect("two responses");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {first}")))
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn malformed_request_is_rejected_and_connection_survives(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let events = app.events().await;
    let get = |id: &str| format!(r#"{{"type":"threads.get_by_id","params":{{"thread_id":{id}}}}}"#);
    let deep = |open: &str, close: &str| {
        let (open, close) = (open.repeat(10_000), close.repeat(10_000));
        format!(
            r#"{{"type":"threads.add_client_tool_output","params":{{"thread_id":"a","result":{open}1{close}}}}}"#
        )
    };
    let cases: [(Vec<u8>, u16, &str); 20] = [
        (b"".to_vec(), 422, "malformed_request"),
        (b"{".to_vec(), 422, "malformed_request"),
        (b"\xff\xfe{}".to_vec(), 422, "malformed_request"),
        (b"[]".to_vec(), 422, "malformed_request"),
        (b"null".to_vec(), 422, "malformed_request"),
        (b"{}".to_vec(), 422, "malformed_request"),
        (br#"{"type":"threads.list"}"#.to_vec(), 422, "malformed_request"),
        (br#"{"type":7,"params":{}}"#.to_vec(), 422, "malformed_request"),
        (br#"{"type":"threads.list","params":[]}"#.to_vec(), 422, "malformed_request"),
        (br#"{"type":"threads.list","params":{}} {}"#.to_vec(), 422, "malformed_request"),
        (br#"{"type":"threads.list","params":{},"metadata":null}"#.to_vec(), 422, "malformed_request"),
        (br#"{"type":"threads.explode","params":{}}"#.to_vec(), 422, "unknown_request_type"),
        (br#"{"type":"threads.list","params":{"limit":-1}}"#.to_vec(), 422, "malformed_request"),
        (br#"{"type":"threads.list","params":{"order":"up"}}"#.to_vec(), 422, "malformed_request"),
        (get("null").into_bytes(), 422, "malformed_request"),
        (get("{}").into_bytes(), 422, "malformed_request"),
        (get(r#""a\u0000b""#).into_bytes(), 400, "invalid_character"),
        (get("\"a\u{0}b\"").into_bytes(), 422, "malformed_request"),
        (deep("[", "]").into_bytes(), 422, "malformed_request"),
        (deep("{\"a\":", "}").into_bytes(), 422, "malformed_request"),
    ];
    for (body, status, code) in cases {
        let shown: String = String::from_utf8_lossy(&body).chars().take(90).collect();
        let (got, answer) = send_raw(&app, &person, &body).await;
        assert_eq!((got, &answer["code"]), (status, &json!(code)), "{shown}: {answer}");
        assert!(answer["detail"].is_string() && answer["request_id"].is_string(), "{shown}: {answer}");
        assert!(status != 422 || answer["errors"][0]["field"].is_string(), "{shown}: {answer}");
    }
    // Bodies over the limit for requests without a recording, and over the limit for recordings.
    for (kind, field, size) in
        [("threads.update", "title", 262_145), ("input.transcribe", "audio_base64", 8 * 1024 * 1024)]
    {
        let params =
            json!({"thread_id": "x", "title": "", "mime_type": "audio/webm", field: "A".repeat(size)});
        let large = Kit::new(&app, &person).ask(kind, params).await;
        large.assert_error(413, "body_too_large");
    }
    assert_eq!(app.events().await, events);
    app.end().await;
}

/// Sends a request that must be rejected; returns status and code.
async fn rejection(kit: Kit<'_>, kind: &str, params: Value) -> (u16, String) {
    let answer = kit.ask(kind, params.clone()).await;
    assert!((400..500).contains(&answer.status), "{kind} {params:.300}: {} {}", answer.status, answer.text);
    (answer.status, answer.error_code())
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn invalid_field_values_are_rejected(db: PgPool) {
    let folder = tempfile::tempdir().unwrap();
    let app = app_with_bank_and_tools(&db, folder.path(), &[]).await;
    let person = app.person().await;
    let kit = Kit::new(&app, &person);
    let (thread, events) = kit.create("Hello").await;
    let message = id_of(done(&events, "user_message")[0]);
    let asked = kit.add(&thread, ASK).await;
    let input = id_of(done(&asked, "structured_input")[0]);
    let events = app.events().await;

    let said = |change: &dyn Fn(&mut Value)| {
        let mut input = text("hi");
        change(&mut input);
        input
    };
    let tag = |more: Value| {
        let mut tag = json!({"type": "input_tag", "id": "t", "text": "x", "data": {}});
        tag.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        said(&|input| input["content"] = json!([tag]))
    };
    let part = |text: String| json!({"type": "input_text", "text": text});
    let inputs = [
        (text(""), 400, "invalid_value"),
        (text(" \n "), 400, "invalid_value"),
        (said(&|input| input["content"] = json!([])), 400, "invalid_value"),
        (
            said(&|input| input["content"] = json!([{"type": "output_text", "text": "x"}])),
            422,
            "malformed_request",
        ),
        (said(&|input| input["content"] = json!("x")), 422, "malformed_request"),
        (said(&|input| input["attachments"] = json!(null)), 422, "malformed_request"),
        (said(&|input| input["inference_options"] = json!(null)), 422, "malformed_request"),
        (said(&|input| input["inference_options"] = json!({"model": "unheard-of"})), 400, "unknown_model"),
        (said(&|input| input["inference_options"] = json!({"tool_choice": {}})), 422, "malformed_request"),
        (said(&|input| input["content"] = json!(vec![part("x".to_owned()); 65])), 400, "invalid_value"),
        (said(&|input| input["content"] = json!(vec![part("x".repeat(20_000)); 2])), 400, "invalid_value"),
        (text(&"x".repeat(32_001)), 400, "invalid_value"),
        (said(&|input| input["quoted_text"] = json!("x".repeat(32_001))), 400, "invalid_value"),
        (tag(json!({"data": null})), 422, "malformed_request"),
        (tag(json!({"text": "x".repeat(257)})), 400, "invalid_value"),
        (tag(json!({"data": {"x": "x".repeat(16 * 1024)}})), 400, "invalid_value"),
        (with_files("x", &["atc_x"]), 404, "not_found"),
        (with_files("x", &[&message]), 404, "not_found"),
        (with_files("x", &["atc_01960000000070008000000000000007"; 2]), 400, "duplicate_file"),
        (with_files("x", &["atc_x"; 11]), 400, "invalid_value"),
    ];
    for (input, status, code) in &inputs {
        for (kind, params) in [
            ("threads.create", json!({"input": input})),
            ("threads.add_user_message", json!({"thread_id": thread, "input": input})),
        ] {
            let shown: String = input.to_string().chars().take(200).collect();
            assert_eq!(rejection(kit, kind, params).await, (*status, (*code).to_owned()), "{kind} {shown}");
        }
    }

    let submit = |input_: Value| json!({"thread_id": thread, "item_id": input, "input": input_});
    let many: serde_json::Map<String, Value> = (0..65).map(|n| (n.to_string(), json!({}))).collect();
    for (given, status) in [
        (json!({"status": "maybe"}), 422),
        (json!({"answers": []}), 422),
        (json!({"answers": {"size": "S"}}), 422),
        (json!({"answers": {"size": {"values": [1]}}}), 422),
        (json!({"answers": {"size": {"values": vec!["x"; 65]}}}), 400),
        (json!({"answers": {"size": {"values": ["x".repeat(32_001)]}}}), 400),
        (json!({"answers": many}), 400),
    ] {
        let (got, _) = rejection(kit, "threads.add_structured_input", submit(given.clone())).await;
        assert_eq!(got, status, "{given:.200}");
    }

    let of = |more: Value| {
        let mut params = json!({"thread_id": thread});
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        params
    };
    let many = vec![message.as_str(); 101];
    for (kind, params, status, code) in [
        ("threads.add_client_tool_output", of(json!({})), 422, "malformed_request"),
        ("threads.add_client_tool_output", of(json!({"result": {}})), 409, "not_pending"),
        ("threads.add_client_tool_output", of(json!({"result": "x".repeat(65_536)})), 400, "invalid_value"),
        ("threads.retry_after_item", of(json!({"item_id": input})), 400, "not_a_message"),
        ("threads.custom_action", of(json!({"action": {}})), 422, "malformed_request"),
        ("threads.custom_action", of(json!({"action": {"type": null}})), 422, "malformed_request"),
        ("threads.custom_action", of(json!({"action": {"type": "x".repeat(257)}})), 400, "invalid_value"),
        (
            "threads.custom_action",
            of(json!({"action": {"type": "x", "payload": "x".repeat(16_384)}})),
            400,
            "invalid_value",
        ),
        ("threads.update", of(json!({})), 422, "malformed_request"),
        ("threads.update", of(json!({"title": null})), 422, "malformed_request"),
        ("threads.update", of(json!({"title": "x".repeat(201)})), 400, "invalid_value"),
        ("items.feedback", of(json!({"item_ids": [message], "kind": "meh"})), 422, "malformed_request"),
        ("items.feedback", of(json!({"item_ids": many, "kind": "positive"})), 400, "invalid_value"),
        ("items.list", of(json!({"after": "x"})), 404, "not_found"),
        (
            "attachments.create",
            json!({"name": "a.txt", "size": -1, "mime_type": "text/plain"}),
            422,
            "malformed_request",
        ),
        (
            "attachments.create",
            json!({"name": "a.txt", "size": 0, "mime_type": "text/plain"}),
            400,
            "file_empty",
        ),
        (
            "attachments.create",
            json!({"name": "a.exe", "size": 5, "mime_type": "application/x-dosexec"}),
            415,
            "unsupported_file_type",
        ),
        (
            "attachments.create",
            json!({"name": "a.txt", "size": u64::MAX, "mime_type": "text/plain"}),
            413,
            "file_too_large",
        ),
        (
            "attachments.create",
            json!({"name": "", "size": 5, "mime_type": "text/plain"}),
            400,
            "invalid_value",
        ),
        (
            "input.transcribe",
            json!({"audio_base64": "AAAA", "mime_type": "text/plain"}),
            400,
            "invalid_recording",
        ),
        (
            "input.transcribe",
            json!({"audio_base64": "no base64!", "mime_type": "audio/webm"}),
            400,
            "invalid_recording",
        ),
        (
            "input.transcribe",
            json!({"audio_base64": "", "mime_type": "audio/webm"}),
            400,
            "invalid_recording",
        ),
    ] {
        let shown: String = params.to_string().chars().take(200).collect();
        assert_eq!(rejection(kit, kind, params).await, (status, code.to_owned()), "{kind} {shown}");
    }
    assert_eq!(app.events().await, events, "a rejected request wrote events");
    // The pending questions are unaffected.
    kit.stream("threads.add_structured_input", submit(json!({}))).await;
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn forged_actions_have_no_effect(db: PgPool) {
    let folder = tempfile::tempdir().unwrap();
    let app = app_with_bank_and_tools(&db, folder.path(), &[]).await;
    let person = app.person().await;
    let kit = Kit::new(&app, &person);
    let events = kit.stream("threads.create", json!({"input": text("quiz me on fruit")})).await;
    let (thread, card) = (thread_of(&events), done(&events, "widget")[0].clone());
    let (quiz, first) = (id_of(&card), question_of(&card["widget"]));
    let other = if first == "q1" { "q2" } else { "q1" };
    let shown = kit.create(WIDGET).await;
    let begun = app.events().await;

    let act = |name: &str, payload: Value| acting(&thread, &quiz, name, payload);
    // Unknown questions and choices.
    for name in ["mcq.submit", "mcq.select"] {
        for payload in [
            json!({"questionId": "unheard-of", "answer": "b"}),
            json!({"questionId": first, "answer": "z"}),
            json!({"questionId": first, "answer": "B"}),
        ] {
            for kind in ["threads.custom_action", "threads.sync_custom_action"] {
                let (status, _) = rejection(kit, kind, act(name, payload.clone())).await;
                assert_eq!(status, 400, "{name} {payload}");
            }
        }
    }
    for name in ["mcq.clear", "mcq.next", "mcq.finish"] {
        let (status, _) =
            rejection(kit, "threads.custom_action", act(name, json!({"questionId": "unheard-of"}))).await;
        assert_eq!(status, 400, "{name}");
    }
    // Incomplete and unknown actions have no effect.
    for (name, payload) in [
        ("mcq.submit", json!(null)),
        ("mcq.submit", json!([])),
        ("mcq.submit", json!("b")),
        ("mcq.submit", json!({"questionId": 7, "answer": "b"})),
        ("mcq.submit", json!({"questionId": first})),
        ("mcq.submit", json!({"questionId": first, "answer": 2})),
        ("mcq.submit", json!({"questionId": first, "answer": {"value": "b"}})),
        ("mcq.correct", json!({"questionId": first, "answer": "b"})),
        ("MCQ.SUBMIT", json!({"questionId": first, "answer": "b"})),
    ] {
        let answer = kit.stream("threads.custom_action", act(name, payload.clone())).await;
        assert_eq!(kinds(&answer), ["stream_options"], "{name} {payload}");
    }
    // Wrong attempt numbers, questions that are not open, steps that are not allowed yet.
    let absurd = [
        json!(0),
        json!(2),
        json!(-1),
        json!(1.5),
        json!("1"),
        json!(4_294_967_297_u64),
        json!(1e300),
        json!([1]),
    ];
    for attempt in absurd {
        let payload = json!({"questionId": first, "answer": "b", "attempt": attempt});
        let answer = kit.stream("threads.custom_action", act("mcq.submit", payload)).await;
        assert_eq!(kinds(&answer), ["stream_options", "notice", "thread.item.updated"], "{attempt}");
    }
    for (name, payload) in [
        ("mcq.submit", json!({"questionId": other, "answer": "b", "attempt": 1})),
        ("mcq.next", json!({"questionId": first, "index": 2})),
        ("mcq.finish", json!({"questionId": first, "index": 2})),
        ("mcq.finish", json!({"questionId": other, "index": 2})),
    ] {
        let answer = kit.stream("threads.custom_action", act(name, payload.clone())).await;
        let last = answer.last().unwrap();
        assert_eq!(last["update"]["widget"], card["widget"], "{name} {payload}");
    }
    assert_eq!(app.events().await, begun);

    // Additional claims in the payload are ignored.
    let forged = json!({"questionId": first, "answer": "a", "attempt": 1, "index": 9, "correct": true, "status": "correct", "correct_answer": "a", "score": 99});
    let answer = kit.stream("threads.custom_action", act("mcq.submit", forged)).await;
    let widget = answer.last().unwrap()["update"]["widget"].to_string();
    assert!(widget.contains("Question 1 of 2") && widget.contains("Try again"), "{widget}");
    assert_eq!(app.events().await, begun + 1);

    // A quiz in another thread, and a widget that is not a quiz.
    let widget = id_of(done(&shown.1, "widget")[0]);
    let payload = json!({"questionId": first, "answer": "b"});
    for (thread, item) in [(&shown.0, &quiz), (&thread, &widget)] {
        let (status, _) =
            rejection(kit, "threads.custom_action", acting(thread, item, "mcq.submit", payload.clone()))
                .await;
        assert_eq!(status, 404);
    }
    assert_eq!(app.events().await, begun + 1);
    let answer = kit.act(&shown.0, &widget, "mcq.submit", payload).await;
    assert_eq!(kinds(&answer), ["stream_options"]);
    app.end().await;
}
