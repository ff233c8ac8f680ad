//! Tests `Idempotency-Key`: a repeated command runs once.

use serde_json::{Value, json};
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use crate::support::app::{PASSWORD, Person, TestApp};
use crate::support::client::Answer;

async fn chat(app: &TestApp, person: &Person, key: &str, body: &Value) -> Answer {
    app.post("/api/chat").by(person).key(key).json(body).send().await
}

async fn stored_keys(db: &PgPool) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM command_keys").fetch_one(db).await.unwrap()
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn same_key_and_body_repeat_first_response(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let body = json!({"message": "Once"});
    let first = chat(&app, &person, "a", &body).await.is(200);
    let events = app.events().await;
    let again = chat(&app, &person, "a", &body).await.is(200);
    assert_eq!((again.value(), again.position()), (first.value(), first.position()));
    let stream = app.post("/api/chat/stream").by(&person).key("b").json(&body).stream().await.rest().await;
    let streamed = app.events().await;
    assert!(streamed > events);
    let again = app.post("/api/chat/stream").by(&person).key("b").json(&body).stream().await.rest().await;
    assert_eq!((again[0].clone(), again.last()), (stream[0].clone(), stream.last()));
    assert_eq!(app.events().await, streamed);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn keyed_conversation_changes_run_once(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let session = app.session(&person).await;
    let path = format!("/api/history/{session}");
    let rename = async |key: &str, title: &str| {
        app.patch(&path).by(&person).key(key).json(&json!({"title": title})).send().await.is(200)
    };
    let first = rename("rename", "One").await;
    let events = app.events().await;
    let again = rename("rename", "One").await;
    assert_eq!(
        (again.value(), again.position(), app.events().await),
        (first.value(), first.position(), events)
    );
    // With another key it is another command.
    rename("other", "One").await;
    assert_eq!(app.events().await, events + 1);

    // A repetition does not undo later changes.
    rename("third", "Two").await;
    assert_eq!(rename("rename", "One").await.field("title"), "Two");

    let delete = async || app.delete(&path).by(&person).key("delete").send().await.is(204);
    let first = delete().await;
    let events = app.events().await;
    assert_eq!((delete().await.position(), app.events().await), (first.position(), events));
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn keyed_cancel_runs_once(db: PgPool) {
    let app = TestApp::with(&db, &[("SCRIPTED_FAULT", "hang"), ("REPLY_WAIT_SECONDS", "0")]).await;
    let person = app.person().await;
    let sent = app.post("/api/chat").by(&person).json(&json!({"message": "x"})).send().await.is(202);
    let path = format!("/api/replies/{}/cancel", sent.field("reply_id"));
    let cancel = async || app.post(&path).by(&person).key("cancel").send().await.is(200);
    let first = cancel().await;
    let events = app.events().await;
    let again = cancel().await;
    assert_eq!(
        (again.value(), again.position(), app.events().await),
        (first.value(), first.position(), events)
    );
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn keyed_registration_runs_once_and_checks_password(db: PgPool) {
    let app = TestApp::start(&db).await;
    let body = json!({"email": "ada@mail.example", "username": "ada", "password": PASSWORD});
    let register = async |body: &Value| app.post("/api/auth/register").key("r").json(body).send().await;
    let first = register(&body).await.is(201);
    let events = app.events().await;
    let again = register(&body).await.is(201);
    for name in ["id", "email", "username", "created_at", "is_active"] {
        assert_eq!(again.value()[name], first.value()[name], "{name}");
    }
    assert_eq!((again.position(), app.events().await), (first.position(), events));
    for token in [first.field("access_token"), again.field("access_token")] {
        app.get("/api/auth/me").bearer(&token).send().await.is(200);
    }
    // The same key with another body, and the same key used by another user.
    let mut other = body.clone();
    other["password"] = json!("another password 2");
    register(&other).await.assert_error(422, "idempotency_key_reused");
    let stranger = json!({"email": "bob@mail.example", "password": PASSWORD});
    assert_ne!(register(&stranger).await.is(201).field("id"), first.field("id"));

    // An outdated password is rejected whatever the key; so is a closed account.
    let access = again.field("access_token");
    let change = json!({"current_password": PASSWORD, "new_password": "battery staple 8"});
    app.post("/api/auth/password").bearer(&access).json(&change).send().await.is(204);
    register(&body).await.assert_error(401, "invalid_credentials");
    let back = json!({"current_password": "battery staple 8", "new_password": PASSWORD});
    app.post("/api/auth/password").bearer(&access).json(&back).send().await.is(204);
    let proof = json!({"password": PASSWORD});
    app.post("/api/users/me/deactivate").bearer(&access).json(&proof).send().await.is(204);
    register(&body).await.assert_error(401, "invalid_credentials");
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn keyed_password_change_can_be_repeated(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let body = json!({"current_password": PASSWORD, "new_password": "battery staple 8"});
    let change = async |key: &str, body: &Value| {
        app.post("/api/auth/password").by(&person).key(key).json(body).send().await
    };
    let first = change("p", &body).await.is(204);
    let events = app.events().await;
    assert_eq!(change("p", &body).await.is(204).position(), first.position());
    assert_eq!(app.events().await, events);
    change("q", &body).await.assert_error(403, "wrong_password");
    let other = json!({"current_password": PASSWORD, "new_password": "something else 9"});
    change("p", &other).await.assert_error(422, "idempotency_key_reused");
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn concurrent_password_changes_let_one_win(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let new = |number: usize| format!("battery staple {number}");
    let changes = (0..4).map(|number| {
        let body = json!({"current_password": PASSWORD, "new_password": new(number)});
        let (app, person) = (&app, &person);
        async move { app.post("/api/auth/password").by(person).json(&body).send().await }
    });
    let answers = futures::future::join_all(changes).await;
    let mut changed = Vec::new();
    for (number, answer) in answers.into_iter().enumerate() {
        if answer.status == 204 {
            changed.push(number);
        } else {
            answer.assert_error(403, "wrong_password");
        }
    }
    let [winner] = *changed else { panic!("{changed:?} changed it") };
    for number in 0..4 {
        let body = json!({"username": person.email, "password": new(number)});
        let answer = app.post("/api/auth/login").json(&body).send().await;
        if number == winner {
            answer.is(200);
        } else {
            answer.assert_error(401, "invalid_credentials");
        }
    }
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn key_belongs_to_one_command_of_one_user(db: PgPool) {
    let app = TestApp::start(&db).await;
    let (person, other) = (app.person().await, app.person().await);
    let first = chat(&app, &person, "k", &json!({"message": "Mine"})).await.is(200).value();
    let session = first["session_id"].as_str().unwrap();
    let events = app.events().await;
    for body in [json!({"message": "Other"}), json!({"message": "Mine", "session_id": session})] {
        chat(&app, &person, "k", &body).await.assert_error(422, "idempotency_key_reused");
    }
    // The same body sent to another operation is another command.
    let mine = json!({"message": "Mine"});
    let stream = app.post("/api/chat/stream").by(&person).key("k").json(&mine).send().await;
    stream.assert_error(422, "idempotency_key_reused");
    let path = format!("/api/history/{session}");
    let rename = app.patch(&path).by(&person).key("k").json(&json!({"title": "x"})).send().await;
    rename.assert_error(422, "idempotency_key_reused");
    app.delete(&path).by(&person).key("k").send().await.assert_error(422, "idempotency_key_reused");
    assert_eq!(app.events().await, events);
    let theirs = chat(&app, &other, "k", &json!({"message": "Mine"})).await.is(200).value();
    assert_ne!(theirs["session_id"], first["session_id"]);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn invalid_keys_are_rejected_and_rejections_store_no_key(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let body = json!({"message": "x"});
    let events = app.events().await;
    for key in ["", " ", "two words", &"k".repeat(256), "kéy"] {
        chat(&app, &person, key, &body).await.assert_error(400, "invalid_idempotency_key");
    }
    let twice = app.post("/api/chat").by(&person).key("a").key("b").json(&body).send().await;
    twice.assert_error(400, "invalid_idempotency_key");
    let nowhere = json!({"message": "x", "session_id": uuid::Uuid::from_u128(1)});
    chat(&app, &person, "refused", &nowhere).await.assert_error(404, "not_found");
    chat(&app, &person, "refused", &json!({"message": " "})).await.assert_error(400, "invalid_value");
    assert_eq!((app.events().await, stored_keys(&db).await), (events, 0));
    // The key is still unused, and the longest key is valid.
    chat(&app, &person, "refused", &body).await.is(200);
    chat(&app, &person, &"k".repeat(255), &body).await.is(200);
    assert_eq!(stored_keys(&db).await, 2);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn fifty_concurrent_calls_with_one_key_run_once(db: PgPool) {
    let app = TestApp::start(&db).await;
    let other_node = TestApp::start(&db).await;
    let person = app.person().await;
    let body = json!({"message": "At once"});
    let calls = (0..50).map(|number| {
        let app = if number % 2 == 0 { &app } else { &other_node };
        chat(app, &person, "one", &body)
    });
    let answers = futures::future::join_all(calls).await;
    let first = answers[0].clone().is(200).value();
    for answer in answers {
        assert_eq!(answer.is(200).value(), first);
    }
    let sent: i64 = sqlx::query_scalar("SELECT count(*) FROM events WHERE event_type = 'message_sent'")
        .fetch_one(&db)
        .await
        .unwrap();
    assert_eq!((sent, stored_keys(&db).await), (1, 1));
    other_node.end().await;
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn key_survives_restart(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let body = json!({"message": "Before"});
    let first = chat(&app, &person, "k", &body).await.is(200).value();
    app.end().await;
    let next = TestApp::start(&db).await;
    let events = next.events().await;
    assert_eq!(chat(&next, &person, "k", &body).await.is(200).value(), first);
    chat(&next, &person, "k", &json!({"message": "After"})).await.assert_error(422, "idempotency_key_reused");
    assert_eq!(next.events().await, events);
    next.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn repetition_after_deletion_reports_cancelled_reply(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let body = json!({"message": "Gone soon"});
    let sent = chat(&app, &person, "k", &body).await.is(200);
    let streamed = app.post("/api/chat/stream").by(&person).key("s").json(&body).stream().await.rest().await;
    let session = streamed[0].data["session_id"].as_str().unwrap();
    for session in [&sent.field("session_id"), session] {
        app.delete(&format!("/api/history/{session}")).by(&person).send().await.is(204);
    }
    let events = app.events().await;
    chat(&app, &person, "k", &body).await.assert_error(409, "reply_cancelled");
    let again = app.post("/api/chat/stream").by(&person).key("s").json(&body).stream().await.rest().await;
    assert_eq!(again[0], streamed[0]);
    let reply = streamed[0].reply();
    let cancelled = json!({"reply_id": reply, "state": "cancelled", "reason": "conversation_deleted"});
    assert_eq!((again.len(), again[1].name.as_str(), &again[1].data), (2, "reply.cancelled", &cancelled));
    assert_eq!(app.events().await, events);
    app.end().await;
}
