//! Tests malformed requests: each gets a 4xx in the common error shape, writes no event, and never causes a 5xx.

use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use verbatim::schema::MIGRATOR;

use crate::support::app::{PASSWORD, Person, TestApp};
use crate::support::client::{Answer, Call};

/// An operation that takes a JSON body, with a valid body.
struct Operation {
    method: &'static str,
    path: String,
    body: Value,
    /// Fields that may be left out.
    optional: &'static [&'static str],
    /// Whether it accepts forms too.
    forms: bool,
}

/// Returns every operation that takes a JSON body.
async fn operations(app: &TestApp, person: &Person) -> Vec<Operation> {
    let session = app.session(person).await;
    let of = |method, path: &str, body, optional, forms| Operation {
        method,
        path: path.to_owned(),
        body,
        optional,
        forms,
    };
    let account = json!({"email": "new@mail.example", "username": "new-name", "password": PASSWORD});
    let login = json!({"username": "nobody-here", "password": PASSWORD});
    let token = json!({"refresh_token": format!("vrt_{}", "A".repeat(43))});
    let passwords = json!({"current_password": "not this one 1", "new_password": PASSWORD});
    let reset = json!({"token": format!("vpr_{}", "A".repeat(43)), "password": PASSWORD});
    let email = json!({"email": "new@mail.example", "password": "not this one 1"});
    vec![
        of("POST", "/api/auth/register", account, &["username"], false),
        of("POST", "/api/auth/login", login, &[], true),
        of("POST", "/api/auth/refresh", token, &[], true),
        of("POST", "/api/auth/password", passwords, &[], false),
        of("POST", "/api/users/me/deactivate", json!({"password": "not this one 1"}), &[], false),
        of("POST", "/api/auth/password/forgot", json!({"email": "new@mail.example"}), &[], true),
        of("POST", "/api/auth/password/reset", reset, &[], true),
        of("PUT", "/api/users/me/email", email, &[], false),
        of("PUT", "/api/users/me/username", json!({"username": "newer-name"}), &[], false),
        of("POST", "/api/chat", json!({"message": "x", "session_id": "x"}), &["session_id"], false),
        of("POST", "/api/chat/stream", json!({"message": "x", "session_id": "x"}), &["session_id"], false),
        of("PATCH", &format!("/api/history/{session}"), json!({"title": "x"}), &["title"], false),
    ]
}

impl Operation {
    fn call(&self, app: &TestApp, person: &Person) -> Call {
        app.call(self.method.parse().unwrap(), &self.path).by(person)
    }

    async fn send(&self, app: &TestApp, person: &Person, media: &str, body: impl Into<Vec<u8>>) -> Answer {
        self.call(app, person).body(media, body.into()).send().await
    }

    /// Returns the body with this JSON text as one field's value.
    fn with(&self, field: &str, text: &str) -> String {
        let mut body = self.body.clone();
        body[field] = json!("@@");
        body.to_string().replace("\"@@\"", text)
    }
}

fn assert_client_error(answer: &Answer, what: &str) {
    assert!((400..500).contains(&answer.status), "{what}: {} {}", answer.status, answer.text);
    answer.error_code();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn malformed_bodies_are_rejected(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let operations = operations(&app, &person).await;
    let events = app.events().await;
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let deep_object = format!("{}1{}", "{\"a\":".repeat(10_000), "}".repeat(10_000));
    for operation in &operations {
        let whole = operation.body.to_string();
        let bodies: Vec<Vec<u8>> = vec![
            Vec::new(),
            b"{".to_vec(),
            b"[]".to_vec(),
            b"null".to_vec(),
            b"true".to_vec(),
            b"\"x\"".to_vec(),
            b"1".to_vec(),
            b"NaN".to_vec(),
            b"{'a': 1}".to_vec(),
            format!("{whole} x").into(),
            format!("{whole}{whole}").into(),
            format!("\u{feff}{whole}").into(),
            whole[..whole.len() - 1].into(),
            whole.replacen(':', "=", 1).into(),
            deep.clone().into(),
            [b"\xff\xfe".as_slice(), whole.as_bytes()].concat(),
            b"\x00".to_vec(),
        ];
        for body in bodies {
            let what =
                format!("{} {} {:.60}", operation.method, operation.path, String::from_utf8_lossy(&body));
            let answer = operation.send(&app, &person, "application/json", body).await;
            assert_eq!(answer.status, 422, "{what}: {}", answer.text);
            assert_eq!(answer.error_code(), "malformed_request", "{what}");
        }
        // Deep nesting in an unknown field is skipped without recursion.
        let answer = operation.send(&app, &person, "application/json", deep_object.clone()).await;
        assert_client_error(&answer, "depth");
        for media in [
            "text/plain",
            "multipart/form-data; boundary=x",
            "application/xml",
            "json",
            "",
            "application/jsonx",
        ] {
            let answer = operation.send(&app, &person, media, whole.clone()).await;
            answer.assert_error(422, "malformed_request");
        }
        let form = operation.send(&app, &person, "application/x-www-form-urlencoded", "a=b&%zz=%ff").await;
        form.assert_error(422, "malformed_request");
        let none = operation.call(&app, &person).send().await;
        none.assert_error(422, "malformed_request");
        if !operation.forms {
            let form = operation.send(&app, &person, "application/x-www-form-urlencoded", "message=x").await;
            form.assert_error(422, "malformed_request");
        }
    }
    assert_eq!(app.events().await, events);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn malformed_fields_are_rejected(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let operations = operations(&app, &person).await;
    let events = app.events().await;
    for operation in &operations {
        let fields: Vec<String> = operation.body.as_object().unwrap().keys().cloned().collect();
        for field in &fields {
            let what = |value: &str| format!("{} {} {field} = {value:.40}", operation.method, operation.path);
            let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
            let mistyped = [
                "1",
                "1.5",
                "-0",
                "1e400",
                "true",
                "[]",
                "{}",
                "[\"x\"]",
                "{\"$personal\": \"x\"}",
                "\"\\ud800\"",
                "\"\\udc00x\"",
                "\"\\x41\"",
                "\"\n\"",
                "\"x",
                "undefined",
                &deep,
            ];
            for value in mistyped {
                let answer =
                    operation.send(&app, &person, "application/json", operation.with(field, value)).await;
                assert_eq!(answer.status, 422, "{}: {}", what(value), answer.text);
                assert_eq!(answer.error_code(), "malformed_request", "{}", what(value));
                assert!(answer.value()["errors"][0]["field"].is_string());
            }
            let raw = [operation.with(field, "\"a").into_bytes(), b"\xff\"}".to_vec()].concat();
            let answer = operation.send(&app, &person, "application/json", raw).await;
            answer.assert_error(422, "malformed_request");
            for value in ["\"a\\u0000b\"", "\"\\u0000\""] {
                let answer =
                    operation.send(&app, &person, "application/json", operation.with(field, value)).await;
                assert_eq!(answer.status, 400, "{}: {}", what(value), answer.text);
                assert_eq!(answer.error_code(), "invalid_character", "{}", what(value));
            }
            let value = operation.body[field].to_string();
            let twice = operation.body.to_string().replacen('{', &format!("{{\"{field}\": {value}, "), 1);
            let answer = operation.send(&app, &person, "application/json", twice).await;
            answer.assert_error(422, "malformed_request");

            let mut without = operation.body.clone();
            without.as_object_mut().unwrap().remove(field);
            for body in [without.to_string(), operation.with(field, "null")] {
                let answer = operation.send(&app, &person, "application/json", body).await;
                if !operation.optional.contains(&field.as_str()) {
                    assert_eq!(answer.status, 422, "{}: {}", what("null"), answer.text);
                    assert_client_error(&answer, &what("null"));
                }
            }
            // Long texts and control characters: a validation rule may reject them, and nothing fails with a 5xx.
            for value in
                ["x".repeat(200_000), "\u{1b}[31m\r\nX: y".to_owned(), "\u{202e}abc\u{200b}".to_owned()]
            {
                let any_text = ["title", "message", "session_id"].contains(&field.as_str());
                if any_text || (field.contains("password") && value.len() < 100) {
                    continue;
                }
                let answer = operation
                    .send(&app, &person, "application/json", operation.with(field, &json!(value).to_string()))
                    .await;
                assert_client_error(&answer, &what(&value));
            }
        }
    }
    // Requests without optional fields were accepted: one account, and the messages.
    let refused: i64 =
        sqlx::query_scalar("SELECT count(*) FROM events WHERE event_type = 'conversation_renamed'")
            .fetch_one(&db)
            .await
            .unwrap();
    assert_eq!(refused, 0);
    let registered: i64 =
        sqlx::query_scalar("SELECT count(*) FROM events WHERE event_type = 'user_registered'")
            .fetch_one(&db)
            .await
            .unwrap();
    assert_eq!(registered, 2);
    assert!(app.events().await > events);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn oversized_bodies_are_rejected(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let mut operations = operations(&app, &person).await;
    // Operations without a body reject one that is too large, too.
    let unknown = "01960000-0000-7000-8000-000000000001";
    for (method, path) in
        [("POST", format!("/api/replies/{unknown}/cancel")), ("DELETE", format!("/api/history/{unknown}"))]
    {
        operations.push(Operation { method, path, body: json!({}), optional: &[], forms: false });
    }
    let events = app.events().await;
    for operation in &operations {
        let large = format!("{{\"message\": \"{}\"}}", "x".repeat(300 * 1024));
        let answer = operation.send(&app, &person, "application/json", large).await;
        answer.assert_error(413, "body_too_large");
    }
    // A chunked body of unknown length.
    let mut socket = TcpStream::connect(app.address()).await.unwrap();
    let head = format!(
        "POST /api/chat HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Transfer-Encoding: chunked\r\n\r\n",
        person.access
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    let mut answer = [0; 12];
    let answered = async {
        let (mut reading, mut writing) = socket.split();
        // The response comes although the body never ends.
        let endless = async {
            while writing.write_all(chunk.as_bytes()).await.is_ok() {}
            std::future::pending::<()>().await;
        };
        tokio::select! {
            read = reading.read_exact(&mut answer) => drop(read.unwrap()),
            () = endless => {}
        }
    };
    tokio::time::timeout(crate::support::app::WAIT_TIMEOUT, answered).await.unwrap();
    assert_eq!(std::str::from_utf8(&answer).unwrap(), "HTTP/1.1 413");
    drop(socket);
    assert_eq!(app.events().await, events);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn message_length_is_1_to_32000_characters(db: PgPool) {
    // The longest message also fits the context budget in tokens.
    let app = TestApp::with(&db, &[("CONTEXT_TOKENS", "200000")]).await;
    let person = app.person().await;
    let session = app.session(&person).await;
    let events = app.events().await;
    let send = async |path: &str, message: &str| {
        let body = json!({"message": message, "session_id": session});
        app.post(path).by(&person).json(&body).send().await
    };
    for path in ["/api/chat", "/api/chat/stream"] {
        for message in ["", " ", "\n\t\u{3000}", &"é".repeat(32_001), &"x".repeat(100_000)] {
            send(path, message).await.assert_error(400, "invalid_value");
        }
    }
    assert_eq!(app.events().await, events);
    let longest = "🌍".repeat(32_000);
    send("/api/chat", &longest).await.is(200);
    let odd = "\u{202e}reversed\u{202c} \u{1b}[31m \u{feff}\u{fffd} a\u{301} \r\n <script>alert(1)</script>";
    send("/api/chat", odd).await.is(200);
    let page = app.get(&format!("/api/history/{session}")).by(&person).send().await.is(200).value();
    assert_eq!((&page["items"][2]["text"], &page["items"][4]["text"]), (&json!(longest), &json!(odd)));
    app.end().await;
}

/// A message that no prompt has room for is rejected before it is recorded; tokens count, not characters.
#[sqlx::test(migrator = "MIGRATOR")]
async fn message_over_context_budget_is_rejected(db: PgPool) {
    let app = TestApp::with(&db, &[("CONTEXT_TOKENS", "1000")]).await;
    let person = app.person().await;
    let fits = json!({"message": "word ".repeat(600)});
    let sent = app.post("/api/chat").by(&person).json(&fits).send().await.is(200).value();
    app.wait_for_projections().await;
    let before = app.events().await;
    let long = json!({"message": "語呂合わせ".repeat(400)});
    let edit = format!(
        "/api/history/{}/messages/{}/edit",
        sent["session_id"].as_str().unwrap(),
        sent["user_message_id"].as_str().unwrap()
    );
    for path in ["/api/chat", "/api/chat/stream", &edit] {
        app.post(path).by(&person).json(&long).send().await.assert_error(400, "too_many_tokens");
    }
    assert_eq!(app.events().await, before);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn unknown_fields_change_nothing(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let account = json!({
        "email": "extra@mail.example", "password": PASSWORD, "id": person.id, "user_id": person.id, "role": "admin",
        "is_active": false, "created_at": "2000-01-01T00:00:00Z", "position": 1, "email_verified": true,
    });
    let made = app.post("/api/auth/register").json(&account).send().await.is(201).value();
    assert_ne!(made["id"], json!(person.id));
    assert_eq!(made["is_active"], true);
    assert!(!made["created_at"].as_str().unwrap().starts_with("2000"));
    let message = json!({
        "message": "x", "user_id": made["id"], "sender": "ai", "role": "assistant", "status": "failed",
        "message_id": uuid::Uuid::from_u128(1), "created_at": "2000-01-01T00:00:00Z", "reply": "forged",
    });
    let sent = app.post("/api/chat").by(&person).json(&message).send().await.is(200).value();
    assert_ne!(sent["reply"], "forged");
    let path = format!("/api/history/{}", sent["session_id"].as_str().unwrap());
    let page = app.get(&path).by(&person).send().await.is(200).value();
    assert_eq!(
        (&page["items"][0]["role"], &page["items"][0]["status"]),
        (&json!("user"), &json!("complete"))
    );
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn unknown_path_is_404_and_wrong_method_is_405_with_allow(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    for path in [
        "/nope",
        "/api",
        "/api/auth",
        "/api/auth/me/x",
        "/API/auth/me",
        "/api//chat",
        "/%2e%2e/etc/passwd",
        "/api/history/a/b",
    ] {
        for call in [app.get(path), app.post(path).json(&json!({})), app.delete(path)] {
            call.by(&person).send().await.assert_error(404, "not_found");
        }
    }
    for (method, path, allowed) in [
        ("DELETE", "/api/chat", vec!["POST"]),
        ("GET", "/api/chat", vec!["POST"]),
        ("GET", "/api/auth/register", vec!["POST"]),
        ("POST", "/api/history", vec!["GET", "HEAD"]),
        ("PUT", "/api/history/x", vec!["DELETE", "GET", "HEAD", "PATCH"]),
        ("POST", "/health", vec!["GET", "HEAD"]),
        ("TRACE", "/", vec!["GET", "HEAD"]),
    ] {
        let answer = app.call(method.parse().unwrap(), path).by(&person).send().await;
        answer.assert_error(405, "method_not_allowed");
        let mut allow: Vec<&str> = answer.header("allow").split(',').map(str::trim).collect();
        allow.sort_unstable();
        assert_eq!(allow, allowed, "{method} {path}");
    }
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn oversized_request_heads_are_rejected(db: PgPool) {
    let app = TestApp::start(&db).await;
    for path in [format!("/{}", "a".repeat(9 * 1024)), format!("/health?{}", "a".repeat(9 * 1024))] {
        app.get(&path).send().await.assert_error(414, "uri_too_long");
    }
    app.get(&format!("/health?{}", "a".repeat(4 * 1024))).send().await.is(200);
    let mut many = app.get("/health");
    for number in 0..150 {
        many = many.header(&format!("x-header-{number}"), "x");
    }
    many.send().await.is(431);
    let mut large = app.get("/health");
    for number in 0..20 {
        large = large.header(&format!("x-header-{number}"), &"x".repeat(1024));
    }
    large.send().await.is(431);
    app.end().await;
}
