//! Tests `/api/history`: the list of conversations, their messages, titles, pins and the archive.

use serde_json::{Value, json};
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use crate::support::app::{Person, TestApp};
use crate::support::client::Answer;

async fn list(app: &TestApp, person: &Person, query: &str) -> Value {
    app.get(&format!("/api/history{query}")).by(person).send().await.is(200).value()
}

async fn change(app: &TestApp, person: &Person, session: &str, body: Value) -> Answer {
    app.patch(&format!("/api/history/{session}")).by(person).json(&body).send().await
}

fn sessions(page: &Value) -> Vec<String> {
    page["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["session_id"].as_str().unwrap().to_owned())
        .collect()
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn conversation_list_is_paged_newest_first(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    assert_eq!(list(&app, &person, "").await, json!({"items": [], "page": 1, "per_page": 20, "total": 0}));
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(app.session(&person).await);
    }
    made.reverse();
    let all = list(&app, &person, "").await;
    assert_eq!((sessions(&all), &all["total"]), (made.clone(), &json!(5)));
    let item = &all["items"][0];
    assert!(item["last_message"].as_str().unwrap().starts_with("Built-in scripted provider"));
    assert_eq!((&item["message_count"], &item["title"]), (&json!(2), &Value::Null));
    for name in ["created_at", "updated_at"] {
        assert!(chrono::DateTime::parse_from_rfc3339(item[name].as_str().unwrap()).is_ok());
    }
    for (page, expected) in [(1, &made[0..2]), (2, &made[2..4]), (3, &made[4..5]), (4, &[])] {
        let got = list(&app, &person, &format!("?page={page}&per_page=2")).await;
        assert_eq!(sessions(&got), expected);
        assert_eq!((&got["page"], &got["per_page"], &got["total"]), (&json!(page), &json!(2), &json!(5)));
    }
    // A new message moves its conversation to the top.
    app.say(&person, Some(&made[4]), "Again").await;
    assert_eq!(sessions(&list(&app, &person, "?per_page=1").await), [made[4].clone()]);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn conversations_are_renamed_pinned_archived_and_deleted(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let (old, new) = (app.session(&person).await, app.session(&person).await);
    let renamed = change(&app, &person, &old, json!({"title": "Grüße 🌍"})).await.is(200);
    assert!(renamed.position() > 0);
    assert_eq!(renamed.field("title"), "Grüße 🌍");
    assert_eq!(sessions(&list(&app, &person, "").await), [new.clone(), old.clone()]);

    let pinned = change(&app, &person, &old, json!({"pinned": true})).await.is(200).value();
    assert_eq!((&pinned["pinned"], &pinned["title"]), (&json!(true), &json!("Grüße 🌍")));
    assert_eq!(sessions(&list(&app, &person, "").await), [old.clone(), new.clone()]);
    // A change without effect writes no event and returns no position.
    let events = app.events().await;
    let again = change(&app, &person, &old, json!({"pinned": true, "archived": false})).await.is(200);
    assert_eq!((again.header("verbatim-position"), app.events().await), ("", events));

    let archived =
        change(&app, &person, &old, json!({"archived": true, "pinned": false})).await.is(200).value();
    assert_eq!((&archived["archived"], &archived["pinned"]), (&json!(true), &json!(false)));
    let (live, kept) = (list(&app, &person, "").await, list(&app, &person, "?archived=true").await);
    assert_eq!((sessions(&live), &live["total"]), (vec![new.clone()], &json!(1)));
    assert_eq!((sessions(&kept), &kept["total"]), (vec![old.clone()], &json!(1)));
    app.say(&person, Some(&old), "From the archive").await;
    change(&app, &person, &old, json!({"archived": false})).await.is(200);

    let path = format!("/api/history/{old}");
    app.delete(&path).by(&person).send().await.is(204);
    assert_eq!(sessions(&list(&app, &person, "").await).as_slice(), std::slice::from_ref(&new));
    app.get(&path).by(&person).send().await.assert_error(404, "not_found");
    change(&app, &person, &old, json!({"title": "x"})).await.assert_error(404, "not_found");
    let body = json!({"message": "x", "session_id": old});
    app.post("/api/chat").by(&person).json(&body).send().await.assert_error(404, "not_found");
    // A repeated deletion has no effect.
    let events = app.events().await;
    app.delete(&path).by(&person).send().await.is(204);
    assert_eq!(app.events().await, events);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn message_pages_go_back_from_newest_in_order(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let session = app.session(&person).await;
    for number in 2..=4 {
        app.say(&person, Some(&session), &format!("Number {number}")).await;
    }
    let path = format!("/api/history/{session}");
    let whole = app.get(&path).by(&person).send().await.is(200).value();
    assert_eq!(
        (&whole["session_id"], &whole["has_more"], &whole["before"]),
        (&json!(session), &json!(false), &Value::Null)
    );
    let all = whole["items"].as_array().unwrap().clone();
    assert_eq!(all.len(), 8);
    for (index, item) in all.iter().enumerate() {
        let (role, other) = if index % 2 == 0 { ("user", "assistant") } else { ("assistant", "user") };
        assert_eq!(
            (item["role"].as_str(), item["status"].as_str()),
            (Some(role), Some("complete")),
            "not {other}"
        );
        if index % 2 == 1 {
            assert_eq!(item["in_reply_to"], all[index - 1]["message_id"]);
            assert_eq!(
                (&item["reply_id"], &item["model"]),
                (&all[index - 1]["reply_id"], &json!("scripted-echo-1"))
            );
        }
    }
    for size in [1, 3, 5, 8, 100] {
        let (mut pages, mut before) = (Vec::new(), String::new());
        loop {
            let page =
                app.get(&format!("{path}?limit={size}{before}")).by(&person).send().await.is(200).value();
            let items = page["items"].as_array().unwrap();
            assert!((1..=size).contains(&items.len()));
            pages.push(items.clone());
            assert_eq!(page["has_more"].as_bool().unwrap(), page["before"].is_i64());
            match page["before"].as_i64() {
                Some(cursor) => before = format!("&before={cursor}"),
                None => break,
            }
        }
        pages.reverse();
        assert_eq!(pages.concat(), all, "in pages of {size}");
    }
    // New messages do not shift an older page.
    let last = app.get(&format!("{path}?limit=3")).by(&person).send().await.is(200).value();
    let older = format!("{path}?limit=3&before={}", last["before"]);
    let before = app.get(&older).by(&person).send().await.is(200).value();
    app.say(&person, Some(&session), "Meanwhile").await;
    assert_eq!(app.get(&older).by(&person).send().await.is(200).value(), before);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn other_users_conversation_looks_missing(db: PgPool) {
    let app = TestApp::start(&db).await;
    let (owner, stranger) = (app.person().await, app.person().await);
    let sent = app.say(&owner, None, "Mine").await;
    let (session, reply) = (sent["session_id"].as_str().unwrap(), sent["reply_id"].as_str().unwrap());
    let unknown = "0190a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2b";
    let events = app.events().await;
    let calls = |session: &str, reply: &str| {
        [
            app.get(&format!("/api/history/{session}")),
            app.patch(&format!("/api/history/{session}")).json(&json!({"title": "Yours"})),
            app.patch(&format!("/api/history/{session}")).json(&json!({"pinned": false})),
            app.delete(&format!("/api/history/{session}")),
            app.post("/api/chat").json(&json!({"message": "x", "session_id": session})),
            app.post("/api/chat/stream").json(&json!({"message": "x", "session_id": session})),
            app.get(&format!("/api/replies/{reply}")),
            app.get(&format!("/api/replies/{reply}?wait=true")),
            app.post(&format!("/api/replies/{reply}/cancel")),
            app.get(&format!("/api/chat/stream/{reply}")),
        ]
    };
    let expected = app.get(&format!("/api/history/{unknown}")).by(&stranger).send().await.is(404);
    let malformed_ids = ["1", "x", "%00", "..%2f..", "' OR 1=1 --", &"9".repeat(300)];
    let pairs = [(session, reply), (unknown, unknown), (reply, session)]
        .into_iter()
        .chain(malformed_ids.iter().map(|id| (*id, *id)));
    for (session, reply) in pairs {
        for (index, call) in calls(session, reply).into_iter().enumerate() {
            let answer = call.by(&stranger).send().await;
            assert_eq!(answer.status, 404, "call {index} with {session}: {}", answer.text);
            assert_eq!(answer.without_request_id(), expected.without_request_id());
        }
    }
    assert_eq!(app.events().await, events);
    assert_eq!(list(&app, &stranger, "").await["total"], 0);
    assert_eq!(list(&app, &owner, "").await["items"][0]["title"], Value::Null);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn invalid_query_and_patch_values_are_rejected(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let session = app.session(&person).await;
    let events = app.events().await;
    for query in [
        "?page=0",
        "?page=-1",
        "?page=1000001",
        "?per_page=0",
        "?per_page=101",
        "?per_page=-5",
        "?page=9223372036854775807",
        "?per_page=9223372036854775807",
    ] {
        app.get(&format!("/api/history{query}")).by(&person).send().await.assert_error(400, "out_of_range");
    }
    for query in ["?limit=0", "?limit=101", "?limit=-1"] {
        let path = format!("/api/history/{session}{query}");
        app.get(&path).by(&person).send().await.assert_error(400, "out_of_range");
    }
    for query in [
        "?page=x",
        "?page=",
        "?page=1.5",
        "?page=1&page=2",
        "?per_page=9223372036854775808",
        "?archived=perhaps",
    ] {
        app.get(&format!("/api/history{query}"))
            .by(&person)
            .send()
            .await
            .assert_error(422, "malformed_request");
    }
    for query in ["?limit=x", "?before=x", "?before=1e3", "?before=9223372036854775808"] {
        let path = format!("/api/history/{session}{query}");
        app.get(&path).by(&person).send().await.assert_error(422, "malformed_request");
    }
    for query in ["?before=-9223372036854775808", "?before=0"] {
        let path = format!("/api/history/{session}{query}");
        assert_eq!(app.get(&path).by(&person).send().await.is(200).value()["items"], json!([]));
    }
    for (body, status, code) in [
        (json!({}), 400, "nothing_to_change"),
        (json!({"title": null}), 400, "nothing_to_change"),
        (json!({"title": ""}), 400, "invalid_value"),
        (json!({"title": "a".repeat(201)}), 400, "invalid_value"),
        (json!({"title": "two\nlines"}), 400, "invalid_value"),
        (json!({"title": "good", "pinned": "yes"}), 422, "malformed_request"),
        (json!({"title": 5}), 422, "malformed_request"),
        (json!({"pinned": 1}), 422, "malformed_request"),
    ] {
        change(&app, &person, &session, body).await.assert_error(status, code);
    }
    assert_eq!(app.events().await, events);
    change(&app, &person, &session, json!({"title": "é".repeat(200)})).await.is(200);
    app.end().await;
}
