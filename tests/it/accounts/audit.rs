//! Tests the audit API: it returns the whole log in order, without personal text.

use serde_json::{Value, json};
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use super::grant;
use crate::support::app::{Person, TestApp};

async fn events(app: &TestApp, by: &Person, query: &str) -> Value {
    app.get(&format!("/api/audit/events{query}")).by(by).send().await.is(200).value()
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn audit_log_is_paged_and_has_no_personal_text(db: PgPool) {
    let app = TestApp::start(&db).await;
    let (auditor, person) = (app.person().await, app.person().await);
    grant(&app, &auditor, "auditor").await;
    let session = app.say(&person, None, "a-secret-word").await["session_id"].as_str().unwrap().to_owned();
    let path = format!("/api/history/{session}");
    app.patch(&path).by(&person).json(&json!({"title": "a-secret-title"})).send().await.is(200);

    for limit in [3, 500] {
        let (mut after, mut all) = (0, Vec::new());
        loop {
            let page = events(&app, &auditor, &format!("?after={after}&limit={limit}")).await;
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= limit);
            all.extend(items.clone());
            after = page["after"].as_i64().unwrap();
            if page["has_more"] == false {
                break;
            }
        }
        // Every event in log order, except claims, which have no public form.
        let expected: Vec<String> = sqlx::query_scalar(
            "SELECT e.position::text FROM events e WHERE aggregate_type <> 'claim' ORDER BY e.position",
        )
        .fetch_all(&db)
        .await
        .unwrap();
        let positions: Vec<&str> = all.iter().map(|event| event["position"].as_str().unwrap()).collect();
        assert_eq!(positions, expected);
        let text = json!(all).to_string();
        for secret in ["a-secret", &person.email, &person.username, "argon2", "$sealed"] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
        let sent = all.iter().find(|event| event["type"] == "verbatim.message.sent.v1").unwrap();
        assert_eq!(
            (&sent["actor"], &sent["surface"], &sent["specversion"]),
            (&json!(person.id), &json!("api"), &json!("1.0"))
        );
        let granted = all.iter().find(|event| event["type"] == "verbatim.user.role_granted.v1").unwrap();
        assert_eq!((&granted["data"]["role"], &granted["surface"]), (&json!("auditor"), &json!("command")));
        let head: i64 = sqlx::query_scalar("SELECT max(position) FROM events").fetch_one(&db).await.unwrap();
        assert_eq!(after, head);
    }
    // Nothing after the end of the log; later events follow it.
    let head = events(&app, &auditor, "?limit=500").await["after"].as_i64().unwrap();
    let empty = events(&app, &auditor, &format!("?after={head}")).await;
    assert_eq!(empty, json!({"items": [], "has_more": false, "after": head}));
    app.person().await;
    let more = events(&app, &auditor, &format!("?after={head}")).await;
    assert_eq!(more["items"][0]["type"], "verbatim.user.registered.v1");
    for (query, status, code) in [
        ("?limit=0", 400, "out_of_range"),
        ("?limit=501", 400, "out_of_range"),
        ("?after=-1", 400, "out_of_range"),
        ("?after=x", 422, "malformed_request"),
    ] {
        app.get(&format!("/api/audit/events{query}")).by(&auditor).send().await.assert_error(status, code);
    }
    app.end().await;
}
