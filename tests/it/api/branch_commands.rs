//! Tests branch commands while replies are pending, with idempotency keys, over the rate limit, and with invalid input.

use serde_json::{Value, json};
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use super::branches::{Talk, text};
use crate::support::app::TestApp;

#[sqlx::test(migrator = "MIGRATOR")]
async fn pending_reply_blocks_branch_switch_and_regenerate_cancels_it(db: PgPool) {
    let slow = [("REPLY_WAIT_SECONDS", "0"), ("SCRIPTED_WORDS_PER_SECOND", "2")];
    let app = TestApp::with(&db, &slow).await;
    let person = app.person().await;
    let send =
        async |path: &str, body: Value| app.post(path).by(&person).json(&body).send().await.is(202).value();
    let first = send("/api/chat", json!({"message": "one"})).await;
    let session = text(&first, "session_id");
    let cancel = async |reply: &Value| {
        let path = format!("/api/replies/{}/cancel", reply["reply_id"].as_str().unwrap());
        app.post(&path).by(&person).send().await.is(200);
    };
    let message = first["user_message_id"].as_str().unwrap();
    // A branch starts only if the reply has produced output.
    let mut stream =
        app.get(&format!("/api/chat/stream/{}", text(&first, "reply_id"))).by(&person).stream().await;
    while stream.next().await.unwrap().name != "reply.delta" {}
    cancel(&first).await;
    let again = send(&format!("/api/history/{session}/messages/{message}/regenerate"), json!({})).await;
    let activate = format!("/api/history/{session}/branches/0/activate");
    app.post(&activate).by(&person).send().await.assert_error(409, "replies_pending");
    // Regenerate and edit do not wait for pending replies.
    let edited =
        send(&format!("/api/history/{session}/messages/{message}/edit"), json!({"message": "eins"})).await;
    let ended =
        app.get(&format!("/api/replies/{}", text(&again, "reply_id"))).by(&person).send().await.is(200);
    assert_eq!(ended.value()["status"], "cancelled");
    app.post(&activate).by(&person).send().await.assert_error(409, "replies_pending");
    cancel(&edited).await;
    app.post(&activate).by(&person).send().await.is(200);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn superseded_reply_keeps_streamed_text(db: PgPool) {
    let slow = [("REPLY_WAIT_SECONDS", "0"), ("SCRIPTED_WORDS_PER_SECOND", "2")];
    let app = TestApp::with(&db, &slow).await;
    let person = app.person().await;
    let send =
        async |path: &str, body: Value| app.post(path).by(&person).json(&body).send().await.is(202).value();
    let first = send("/api/chat", json!({"message": "one"})).await;
    let (session, message) = (text(&first, "session_id"), text(&first, "user_message_id"));
    // Returns the first text that a stream of the running reply delivers.
    let first_delta = async |asked: &Value| {
        let path = format!("/api/chat/stream/{}", text(asked, "reply_id"));
        let mut stream = app.get(&path).by(&person).stream().await;
        loop {
            let event = stream.next().await.unwrap();
            if event.name == "reply.delta" {
                return event.text().to_owned();
            }
        }
    };
    let items_of_branch = async |branch: u32| {
        let path = format!("/api/history/{session}?branch={branch}");
        app.get(&path).by(&person).send().await.is(200).value()["items"].as_array().unwrap().clone()
    };
    let words = first_delta(&first).await;
    let again = send(&format!("/api/history/{session}/messages/{message}/regenerate"), json!({})).await;
    let more_words = first_delta(&again).await;
    let edited =
        send(&format!("/api/history/{session}/messages/{message}/edit"), json!({"message": "eins"})).await;
    for (branch, asked, words) in [(0, &first, words), (1, &again, more_words)] {
        let items = items_of_branch(branch).await;
        assert_eq!(items.len(), 2, "{items:?}");
        assert_eq!((&items[1]["status"], &items[1]["reply_id"]), (&json!("cancelled"), &asked["reply_id"]));
        let kept = items[1]["text"].as_str().unwrap();
        assert!(
            !words.is_empty() && kept.starts_with(&words),
            "{kept:?} starts with the streamed text {words:?}"
        );
    }
    let path = format!("/api/replies/{}/cancel", text(&edited, "reply_id"));
    app.post(&path).by(&person).send().await.is(200);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn invalid_branch_commands_are_rejected_without_events(db: PgPool) {
    let app = TestApp::start(&db).await;
    let (person, other) = (app.person().await, app.person().await);
    let (talk, said) = Talk::with(&app, &person, &["one", "two"]).await;
    talk.edit(&said[1]["user_message_id"], "zwei").await;
    let (one, two) =
        (said[0]["user_message_id"].as_str().unwrap(), said[1]["user_message_id"].as_str().unwrap());
    app.wait_for_projections().await;
    let before = app.events().await;
    let unknown = "01960000-0000-7000-8000-000000000001";
    let session = &talk.session;
    let text = json!({"message": "eins"});
    for (path, body, status, code) in [
        // Messages on an inactive branch.
        (format!("{session}/messages/{two}/regenerate"), json!({}), 409, "branch_not_active"),
        (format!("{session}/messages/{two}/edit"), text.clone(), 409, "branch_not_active"),
        // Ids that do not exist.
        (format!("{session}/messages/{unknown}/regenerate"), json!({}), 404, "not_found"),
        (format!("{session}/messages/nonsense/edit"), text.clone(), 404, "not_found"),
        (format!("{unknown}/messages/{one}/regenerate"), json!({}), 404, "not_found"),
        (format!("{session}/branches/2/activate"), json!({}), 404, "not_found"),
        (format!("{session}/branches/-1/activate"), json!({}), 404, "not_found"),
        (format!("{session}/branches/4294967296/activate"), json!({}), 404, "not_found"),
        (format!("{unknown}/branches/0/activate"), json!({}), 404, "not_found"),
        // Invalid bodies.
        (format!("{session}/messages/{one}/edit"), json!({"message": ""}), 400, "invalid_value"),
        (format!("{session}/messages/{one}/edit"), json!({}), 422, "malformed_request"),
        (
            format!("{session}/messages/{one}/edit"),
            json!({"message": "x", "model": "unheard-of"}),
            400,
            "unknown_model",
        ),
        (
            format!("{session}/messages/{one}/regenerate"),
            json!({"model": "unheard-of"}),
            400,
            "unknown_model",
        ),
        (format!("{session}/messages/{one}/regenerate"), json!({"model": 5}), 422, "malformed_request"),
    ] {
        let refused = app.post(&format!("/api/history/{path}")).by(&person).json(&body).send().await;
        assert_eq!(refused.status, status, "{path}: {refused:?}");
        let body = refused.value();
        assert_eq!(body["code"], code, "{path}: {body}");
    }
    let answer = said[0]["message_id"].as_str().unwrap();
    let of_answer = app.post(&talk.path(&format!("/messages/{answer}/edit"))).by(&person).json(&text);
    of_answer.send().await.assert_error(400, "not_a_message");
    app.get(&talk.path("?branch=2")).by(&person).send().await.assert_error(404, "not_found");
    app.get(&talk.path("?branch=x")).by(&person).send().await.is(422);
    // For another user the conversation does not exist.
    for path in ["/branches".to_owned(), "?branch=1".to_owned(), "?branch=0".to_owned()] {
        app.get(&talk.path(&path)).by(&other).send().await.assert_error(404, "not_found");
    }
    for path in [
        format!("/messages/{one}/regenerate"),
        format!("/messages/{one}/edit"),
        format!("/messages/{two}/edit"),
        "/branches/0/activate".to_owned(),
        "/branches/7/activate".to_owned(),
    ] {
        app.post(&talk.path(&path)).by(&other).json(&text).send().await.assert_error(404, "not_found");
        app.post(&talk.path(&path)).json(&text).send().await.is(401);
    }
    assert_eq!(app.events().await, before);
    // A body that is not JSON.
    let plain = app.post(&talk.path(&format!("/messages/{one}/regenerate"))).by(&person);
    plain.body("text/plain", b"{}".to_vec()).send().await.is(422);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn keyed_branch_commands_run_once_and_are_readable(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let (talk, said) = Talk::with(&app, &person, &["one", "two"]).await;
    let path = talk.path(&format!("/messages/{}/regenerate", said[0]["message_id"].as_str().unwrap()));
    let first = app.post(&path).by(&person).key("again").send().await.is(200).value();
    // The named answer is on another branch by now; the key still repeats its result.
    let second = app.post(&path).by(&person).key("again").send().await.is(200).value();
    assert_eq!(first, second);
    let other = app.post(&path).by(&person).key("again").json(&json!({"model": null})).send().await;
    other.assert_error(422, "idempotency_key_reused");
    let activate = talk.path("/branches/0/activate");
    let there = app.post(&activate).by(&person).key("go").send().await.is(200);
    let position = there.position().to_string();
    let list =
        app.get(&talk.path("/branches")).by(&person).header("verbatim-position", &position).send().await;
    assert_eq!(list.is(200).value()["active"], 0);
    talk.activate(1).await;
    // The key was used: the branch is not activated again, and the response shows the current state.
    let repeated = app.post(&activate).by(&person).key("go").send().await.is(200).value();
    assert_eq!((&repeated["branch"], &repeated["active"]), (&json!(0), &json!(false)));
    assert_eq!(talk.branches().await["active"], 1);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn branch_switch_is_rate_limited_and_repetition_is_free(db: PgPool) {
    let limits = [
        ("RATE_LIMITS", "on"),
        ("RATE_LIMIT_USER_PER_MINUTE", "6"),
        ("RATE_LIMIT_SESSION_PER_MINUTE", "3"),
        ("QUOTA_MESSAGES_PER_DAY", "20"),
    ];
    let app = TestApp::with(&db, &limits).await;
    let person = app.person().await;
    let (talk, said) = Talk::with(&app, &person, &["one"]).await; // 1
    talk.edit(&said[0]["user_message_id"], "two").await; // 2
    let activate = async |branch: u32, key: &str| {
        let path = talk.path(&format!("/branches/{branch}/activate"));
        app.post(&path).by(&person).key(key).send().await
    };
    let first = activate(0, "k1").await; // 3
    assert_eq!(first.header("ratelimit-policy"), "\"user\";q=6;w=60");
    for _ in 0..5 {
        activate(0, "k1").await.is(200);
    }
    // The conversation's message limit does not apply to branch switches.
    activate(1, "k2").await.is(200); // 4
    activate(0, "k3").await.is(200); // 5
    activate(1, "k4").await.is(200); // 6
    for _ in 0..2 {
        let refused = activate(0, "k5").await;
        refused.assert_error(429, "rate_limited");
        assert!(refused.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds >= 1));
    }
    activate(0, "k1").await.is(200);
    assert_eq!(talk.branches().await["active"], 1, "the rejected switch had no effect");
    let usage = app.get("/api/usage").by(&person).send().await.is(200).value();
    assert_eq!(usage["messages"]["remaining"], 18, "two of today's messages: {usage}");
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn keyed_regenerate_without_effect_repeats_its_result(db: PgPool) {
    let slow = [("REPLY_WAIT_SECONDS", "0"), ("SCRIPTED_WORDS_PER_SECOND", "2")];
    let app = TestApp::with(&db, &slow).await;
    let person = app.person().await;
    let send = async |body: Value| app.post("/api/chat").by(&person).json(&body).send().await.is(202).value();
    let busy = send(json!({"message": "one"})).await;
    let session = text(&busy, "session_id");
    // Queued behind it in the same conversation.
    let waiting = send(json!({"message": "two", "session_id": session})).await;
    let path = format!("/api/history/{session}/messages/{}/regenerate", text(&waiting, "user_message_id"));
    let regenerate = async |key: &str| {
        app.post(&path).by(&person).key(key).send().await.is(202).value()["reply_id"].clone()
    };
    let cancel = async |reply: &Value| {
        let path = format!("/api/replies/{}/cancel", reply.as_str().unwrap());
        app.post(&path).by(&person).send().await.is(200);
    };
    assert_eq!(regenerate("k1").await, waiting["reply_id"], "a reply that has not begun is not regenerated");
    cancel(&waiting["reply_id"]).await;
    let other = regenerate("k2").await;
    assert_ne!(other, waiting["reply_id"]);
    let repeated = app.post(&path).by(&person).key("k1").send().await.value();
    // The reply has been cancelled since, which a late repetition reports for the same reply.
    let result = if repeated["code"] == "reply_cancelled" { &repeated["kept"] } else { &repeated };
    assert_eq!(result["reply_id"], waiting["reply_id"], "the first result is repeated: {repeated}");
    assert_eq!(regenerate("k2").await, other);
    for reply in [&other, &busy["reply_id"]] {
        cancel(reply).await;
    }
    app.end().await;
}
