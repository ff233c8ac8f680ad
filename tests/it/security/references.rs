//! Tests commands that name other users' resources, forged replies, and lists beyond the user's own data.

use serde_json::{Value, json};
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use crate::support::app::TestApp;

/// Another user's resources, named in one's own command.
#[sqlx::test(migrator = "MIGRATOR")]
async fn other_users_resources_in_own_commands_are_not_found(db: PgPool) {
    let app = TestApp::start(&db).await;
    let (owner, other) = (app.person().await, app.person().await);
    let session = app.session(&owner).await;
    let note = [("file", Some("note.txt"), Some("text/plain"), b"a note".as_slice())];
    let file = app.post("/files").by(&owner).parts(&note).send().await.is(200).field("id");
    let own = app.session(&other).await;
    app.wait_for_projections().await;
    let events = app.events().await;
    for (path, body) in [
        ("/api/chat", json!({"message": "Hello", "session_id": session})),
        ("/api/chat/stream", json!({"message": "Hello", "session_id": session})),
        ("/api/quizzes", json!({"session_id": session})),
    ] {
        app.post(path).by(&other).json(&body).send().await.assert_error(404, "not_found");
    }
    let input = json!({"content": [{"type": "input_text", "text": "Hello"}], "attachments": [file], "inference_options": {}});
    for request in [
        json!({"type": "threads.create", "params": {"input": input}}),
        json!({"type": "threads.add_user_message", "params": {"thread_id": format!("thr_{}", own.replace('-', "")), "input": input}}),
    ] {
        app.post("/chatkit").by(&other).json(&request).send().await.assert_error(404, "not_found");
    }
    assert_eq!(app.events().await, events);
    app.end().await;
}

/// A client cannot set fields that only the service sets.
#[sqlx::test(migrator = "MIGRATOR")]
async fn clients_cannot_forge_replies_or_server_fields(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let session = app.session(&person).await;
    for extra in [
        json!({"sender": "ai"}),
        json!({"role": "assistant", "status": "complete"}),
        json!({"reply": "forged", "model": null, "usage": {"tokens": -5}}),
        json!({"message_id": "01960000-0000-7000-8000-00000000000a", "position": 1, "user_id": "x"}),
    ] {
        let mut body = json!({"message": "I say it", "session_id": session});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let answer = app.post("/api/chat").by(&person).json(&body).send().await;
        assert!([200, 400, 422].contains(&answer.status), "{body}: {}", answer.text);
    }
    app.wait_for_projections().await;
    let page = app.get(&format!("/api/history/{session}")).by(&person).send().await.is(200).value();
    let messages = page["items"].as_array().unwrap();
    assert!(messages.iter().any(|message| message["text"] == "I say it"), "{page}");
    for message in messages {
        let forged = message["text"].as_str().is_some_and(|text| text.contains("forged"));
        assert!(!forged, "{message}");
        let said = message["text"] == "I say it";
        assert!(!said || message["role"] == "user", "{message}");
    }
    app.end().await;
}

/// Lists contain the user's own data only, and no sort or filter is built from input.
#[sqlx::test(migrator = "MIGRATOR")]
async fn lists_contain_only_own_data(db: PgPool) {
    let app = TestApp::start(&db).await;
    let (owner, other) = (app.person().await, app.person().await);
    app.session(&owner).await;
    app.wait_for_projections().await;
    for query in [
        "",
        "?page=1&per_page=100",
        "?archived=true",
        "?user_id=%25",
        "?owner=_",
        "?q=%25",
        "?sort=owner",
        "?order_by=1;--",
        "?search=%25%25",
        "?filter[owner]=x",
    ] {
        let answer = app.get(&format!("/api/history{query}")).by(&other).send().await;
        assert!([200, 400, 422].contains(&answer.status), "{query}: {}", answer.text);
        if answer.status == 200 {
            assert_eq!(
                (&answer.value()["items"], &answer.value()["total"]),
                (&json!([]), &json!(0)),
                "{query}"
            );
        }
    }
    let usage = app.get("/api/usage").by(&other).send().await.is(200).value();
    assert_eq!((&usage["days"], &usage["messages"]["used"]), (&json!([]), &Value::from(0)));
    app.end().await;
}
