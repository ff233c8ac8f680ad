//! Tests crypto-shredding: after a user's keys are deleted everything still loads, and their text cannot be read.

use serde_json::{Value, json};
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use crate::support::app::{PASSWORD, TestApp};

async fn drop_keys(db: &PgPool, person: uuid::Uuid) {
    for statement in ["DELETE FROM data_keys WHERE user_id = $1", "DELETE FROM user_keys WHERE user_id = $1"]
    {
        assert!(sqlx::query(statement).bind(person).execute(db).await.unwrap().rows_affected() > 0);
    }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn user_without_keys_has_no_readable_text(db: PgPool) {
    let before = TestApp::start(&db).await;
    let (erased, other) = (before.person().await, before.person().await);
    let session = before.session(&erased).await;
    let title = json!({"title": "A title"});
    before.patch(&format!("/api/history/{session}")).by(&erased).json(&title).send().await.is(200);
    let theirs = before.session(&other).await;
    before.end().await;
    drop_keys(&db, erased.id).await;

    let app = TestApp::start(&db).await;
    let rebuilt = app.rebuild().await;
    assert_eq!(rebuilt.len(), projections::registry::all().len());
    // Read models with personal text must differ after the rebuild.
    for (model, equal) in rebuilt {
        assert_eq!(equal, !["users", "conversations", "messages"].contains(&model), "{model}");
    }
    let path = format!("/api/history/{session}");
    let page = app.get(&path).by(&erased).send().await.is(200).value();
    let items = page["items"].as_array().unwrap();
    assert_eq!(items.len(), 2);
    for item in items {
        assert_eq!((&item["text"], &item["status"]), (&Value::Null, &json!("complete")));
    }
    let list = app.get("/api/history").by(&erased).send().await.is(200).value();
    assert_eq!((&list["items"][0]["title"], &list["items"][0]["last_message"]), (&Value::Null, &Value::Null));
    let me = app.get("/api/auth/me").by(&erased).send().await.is(200).value();
    assert_eq!((&me["email"], &me["username"]), (&Value::Null, &Value::Null));
    // Other users are not affected.
    let page = app.get(&format!("/api/history/{theirs}")).by(&other).send().await.is(200).value();
    assert_eq!(page["items"][0]["text"], "Hello");
    app.get("/api/auth/me").by(&other).send().await.is(200);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn commands_work_after_keys_are_deleted(db: PgPool) {
    let before = TestApp::start(&db).await;
    let person = before.person().await;
    let (session, second) = (before.session(&person).await, before.session(&person).await);
    before.end().await;
    drop_keys(&db, person.id).await;

    let app = TestApp::start(&db).await;
    app.rebuild().await;
    // Claims are keyed hashes: sign-in by email still works, and the email is still taken.
    let login = json!({"username": person.email, "password": PASSWORD});
    app.post("/api/auth/login").json(&login).send().await.is(200);
    let again = json!({"email": person.email, "password": PASSWORD});
    app.post("/api/auth/register").json(&again).send().await.assert_error(409, "email_taken");

    let path = format!("/api/history/{session}");
    let pinned = app.patch(&path).by(&person).json(&json!({"pinned": true})).send().await.is(200).value();
    assert_eq!((&pinned["pinned"], &pinned["title"]), (&json!(true), &Value::Null));
    // New text is encrypted with new keys; erased text is not sent to a provider.
    let answer = app.say(&person, Some(&session), "After").await;
    assert!(answer["reply"].as_str().unwrap().contains("Turns seen: 1 (1 from you, 0 from me)"), "{answer}");
    let page = app.get(&path).by(&person).send().await.is(200).value();
    let texts: Vec<&Value> = page["items"].as_array().unwrap().iter().map(|item| &item["text"]).collect();
    assert_eq!((texts[0], texts[1], texts[2]), (&Value::Null, &Value::Null, &json!("After")));
    app.patch(&path).by(&person).json(&json!({"title": "New"})).send().await.is(200);
    app.delete(&format!("/api/history/{second}")).by(&person).send().await.is(204);
    let change = json!({"current_password": PASSWORD, "new_password": "battery staple 8"});
    app.post("/api/auth/password").by(&person).json(&change).send().await.is(204);
    let proof = json!({"password": "battery staple 8"});
    app.post("/api/users/me/deactivate").by(&person).json(&proof).send().await.is(204);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn erased_message_fails_its_pending_reply(db: PgPool) {
    let before = TestApp::with(&db, &[("SCRIPTED_FAULT", "hang"), ("REPLY_WAIT_SECONDS", "0")]).await;
    let person = before.person().await;
    let sent = before.post("/api/chat").by(&person).json(&json!({"message": "x"})).send().await.is(202);
    let reply = sent.field("reply_id");
    before.wait_until("the reply has begun", async || before.reply_events(&reply).await.len() == 2).await;
    before.end_with_pending(1).await;
    drop_keys(&db, person.id).await;
    // Clear the read models as an erasure does, before a worker takes the reply up again.
    sqlx::query("UPDATE messages SET text = NULL").execute(&db).await.unwrap();
    sqlx::query("UPDATE conversations SET last_message = NULL").execute(&db).await.unwrap();
    sqlx::query("UPDATE users SET email = NULL, username = NULL").execute(&db).await.unwrap();

    let app = TestApp::start(&db).await;
    let path = format!("/api/replies/{reply}?wait=true");
    let ended = app.get(&path).by(&person).send().await.is(200);
    assert_eq!((ended.field("status"), ended.field("failure")), ("failed".to_owned(), "empty".to_owned()));
    app.end().await;
}
