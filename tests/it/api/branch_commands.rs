//! What is asked for about branches while replies are owed, with a key, too often, or wrongly.

use serde_json::{Value, json};
use sqlx::PgPool;
use verbatim::bootstrap::database::MIGRATOR;

use super::branches::{Talk, text};
use crate::support::app::TestApp;

#[sqlx::test(migrator = "MIGRATOR")]
async fn nobody_goes_to_another_branch_while_replies_are_owed_and_asking_again_cancels_them(db: PgPool) {
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
    // Something of it has to be there, so that a branch begins.
    let mut stream =
        app.get(&format!("/api/chat/stream/{}", text(&first, "reply_id"))).by(&person).stream().await;
    while stream.next().await.unwrap().name != "reply.delta" {}
    cancel(&first).await;
    let again = send(&format!("/api/history/{session}/messages/{message}/regenerate"), json!({})).await;
    let activate = format!("/api/history/{session}/branches/0/activate");
    app.post(&activate).by(&person).send().await.assert_error(409, "replies_owed");
    // Asked once more, or edited: what is owed is not waited for.
    let edited =
        send(&format!("/api/history/{session}/messages/{message}/edit"), json!({"message": "eins"})).await;
    let ended =
        app.get(&format!("/api/replies/{}", text(&again, "reply_id"))).by(&person).send().await.is(200);
    assert_eq!(ended.value()["status"], "cancelled");
    app.post(&activate).by(&person).send().await.assert_error(409, "replies_owed");
    cancel(&edited).await;
    app.post(&activate).by(&person).send().await.is(200);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn what_was_read_of_an_answer_is_kept_when_something_else_is_asked_for(db: PgPool) {
    let slow = [("REPLY_WAIT_SECONDS", "0"), ("SCRIPTED_WORDS_PER_SECOND", "2")];
    let app = TestApp::with(&db, &slow).await;
    let person = app.person().await;
    let send =
        async |path: &str, body: Value| app.post(path).by(&person).json(&body).send().await.is(202).value();
    let first = send("/api/chat", json!({"message": "one"})).await;
    let (session, message) = (text(&first, "session_id"), text(&first, "user_message_id"));
    // What somebody has read of a reply that is being written.
    let read = async |asked: &Value| {
        let path = format!("/api/chat/stream/{}", text(asked, "reply_id"));
        let mut stream = app.get(&path).by(&person).stream().await;
        loop {
            let event = stream.next().await.unwrap();
            if event.name == "reply.delta" {
                return event.text().to_owned();
            }
        }
    };
    let stands = async |branch: u32| {
        let path = format!("/api/history/{session}?branch={branch}");
        app.get(&path).by(&person).send().await.is(200).value()["items"].as_array().unwrap().clone()
    };
    let words = read(&first).await;
    let again = send(&format!("/api/history/{session}/messages/{message}/regenerate"), json!({})).await;
    let more_words = read(&again).await;
    let edited =
        send(&format!("/api/history/{session}/messages/{message}/edit"), json!({"message": "eins"})).await;
    for (branch, asked, words) in [(0, &first, words), (1, &again, more_words)] {
        let items = stands(branch).await;
        assert_eq!(items.len(), 2, "{items:?}");
        assert_eq!((&items[1]["status"], &items[1]["reply_id"]), (&json!("cancelled"), &asked["reply_id"]));
        let kept = items[1]["text"].as_str().unwrap();
        assert!(!words.is_empty() && kept.starts_with(&words), "{kept:?} is what was read: {words:?}");
    }
    let path = format!("/api/replies/{}/cancel", text(&edited, "reply_id"));
    app.post(&path).by(&person).send().await.is(200);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn what_is_wrong_is_refused_and_nothing_happens(db: PgPool) {
    let app = TestApp::start(&db).await;
    let (person, other) = (app.person().await, app.person().await);
    let (talk, said) = Talk::with(&app, &person, &["one", "two"]).await;
    talk.edit(&said[1]["user_message_id"], "zwei").await;
    let (one, two) =
        (said[0]["user_message_id"].as_str().unwrap(), said[1]["user_message_id"].as_str().unwrap());
    app.wait_for_projections().await;
    let before = app.events().await;
    let nobody = "01960000-0000-7000-8000-000000000001";
    let session = &talk.session;
    let text = json!({"message": "eins"});
    for (path, body, status, code) in [
        // On the branch that is not active.
        (format!("{session}/messages/{two}/regenerate"), json!({}), 409, "branch_not_active"),
        (format!("{session}/messages/{two}/edit"), text.clone(), 409, "branch_not_active"),
        // Nothing that is there.
        (format!("{session}/messages/{nobody}/regenerate"), json!({}), 404, "not_found"),
        (format!("{session}/messages/nonsense/edit"), text.clone(), 404, "not_found"),
        (format!("{nobody}/messages/{one}/regenerate"), json!({}), 404, "not_found"),
        (format!("{session}/branches/2/activate"), json!({}), 404, "not_found"),
        (format!("{session}/branches/-1/activate"), json!({}), 404, "not_found"),
        (format!("{session}/branches/4294967296/activate"), json!({}), 404, "not_found"),
        (format!("{nobody}/branches/0/activate"), json!({}), 404, "not_found"),
        // Not as it has to be.
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
        let told = refused.value();
        assert_eq!(told["code"], code, "{path}: {told}");
    }
    let answer = said[0]["message_id"].as_str().unwrap();
    let of_answer = app.post(&talk.path(&format!("/messages/{answer}/edit"))).by(&person).json(&text);
    of_answer.send().await.assert_error(400, "not_a_message");
    app.get(&talk.path("?branch=2")).by(&person).send().await.assert_error(404, "not_found");
    app.get(&talk.path("?branch=x")).by(&person).send().await.is(422);
    // To somebody else it is not there at all.
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
    // A body that is no JSON.
    let plain = app.post(&talk.path(&format!("/messages/{one}/regenerate"))).by(&person);
    plain.body("text/plain", b"{}".to_vec()).send().await.is(422);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn commands_with_a_key_happen_once_and_reads_see_them(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let (talk, said) = Talk::with(&app, &person, &["one", "two"]).await;
    let path = talk.path(&format!("/messages/{}/regenerate", said[0]["message_id"].as_str().unwrap()));
    let first = app.post(&path).by(&person).key("again").send().await.is(200).value();
    // The answer that was named is on another branch by now; what came of the key is told all the same.
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
    // The key was used: it is not gone to a second time, and the answer tells how it stands.
    let repeated = app.post(&activate).by(&person).key("go").send().await.is(200).value();
    assert_eq!((&repeated["branch"], &repeated["active"]), (&json!(0), &json!(false)));
    assert_eq!(talk.branches().await["active"], 1);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn going_to_branches_counts_like_messages_and_a_repetition_costs_nothing(db: PgPool) {
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
    let go = async |branch: u32, key: &str| {
        let path = talk.path(&format!("/branches/{branch}/activate"));
        app.post(&path).by(&person).key(key).send().await
    };
    let first = go(0, "k1").await; // 3
    assert_eq!(first.header("ratelimit-policy"), "\"user\";q=6;w=60");
    for _ in 0..5 {
        go(0, "k1").await.is(200);
    }
    // More than the conversation's messages may be: they are none.
    go(1, "k2").await.is(200); // 4
    go(0, "k3").await.is(200); // 5
    go(1, "k4").await.is(200); // 6
    for _ in 0..2 {
        let refused = go(0, "k5").await;
        refused.assert_error(429, "rate_limited");
        assert!(refused.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds >= 1));
    }
    go(0, "k1").await.is(200);
    assert_eq!(talk.branches().await["active"], 1, "what was refused did not happen");
    let usage = app.get("/api/usage").by(&person).send().await.is(200).value();
    assert_eq!(usage["messages"]["remaining"], 18, "two of today's messages: {usage}");
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_key_that_added_nothing_goes_on_telling_what_it_told(db: PgPool) {
    let slow = [("REPLY_WAIT_SECONDS", "0"), ("SCRIPTED_WORDS_PER_SECOND", "2")];
    let app = TestApp::with(&db, &slow).await;
    let person = app.person().await;
    let send = async |body: Value| app.post("/api/chat").by(&person).json(&body).send().await.is(202).value();
    let busy = send(json!({"message": "one"})).await;
    let session = text(&busy, "session_id");
    // Behind it in the same conversation: its turn has not come.
    let waiting = send(json!({"message": "two", "session_id": session})).await;
    let path = format!("/api/history/{session}/messages/{}/regenerate", text(&waiting, "user_message_id"));
    let again = async |key: &str| {
        app.post(&path).by(&person).key(key).send().await.is(202).value()["reply_id"].clone()
    };
    let cancel = async |reply: &Value| {
        let path = format!("/api/replies/{}/cancel", reply.as_str().unwrap());
        app.post(&path).by(&person).send().await.is(200);
    };
    assert_eq!(again("k1").await, waiting["reply_id"], "it has not begun: nothing is added");
    cancel(&waiting["reply_id"]).await;
    let other = again("k2").await;
    assert_ne!(other, waiting["reply_id"]);
    let repeated = app.post(&path).by(&person).key("k1").send().await.value();
    // It has ended since; who asks late enough is told so, of the same reply.
    let told = if repeated["code"] == "reply_cancelled" { &repeated["kept"] } else { &repeated };
    assert_eq!(told["reply_id"], waiting["reply_id"], "as it was told: {repeated}");
    assert_eq!(again("k2").await, other);
    for reply in [&other, &busy["reply_id"]] {
        cancel(reply).await;
    }
    app.end().await;
}
