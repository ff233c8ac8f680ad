//! Small programs written to the documentation of the APIs that this one replaces. They know nothing about this
//! implementation, print what they received, and fail if something differs from the documentation.

use std::ffi::OsStr;

use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::process::Command;
use verbatim::schema::MIGRATOR;

use super::{in_this_folder, printed, python, run};
use crate::support::app::{TestApp, WAIT_TIMEOUT};
use crate::support::root;

/// Runs a program against a new app; returns its output.
async fn output_of(db: &PgPool, program: &[&OsStr]) -> String {
    // Slow enough that a reply arrives in several pieces.
    let app = TestApp::with(db, &[("SCRIPTED_WORDS_PER_SECOND", "100")]).await;
    let mut command = Command::new(python());
    command
        .args(program)
        .env("CHAT_API", format!("http://{}", app.address()))
        .env("API", format!("http://{}", app.address()))
        .env("NO_PROXY", "*");
    let output = run(&mut command, WAIT_TIMEOUT).await;
    assert!(output.status.success(), "{}", printed(&output));
    app.end().await;
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a program of this folder against a new app; returns what it received.
async fn received_by(db: &PgPool, program: &str) -> Value {
    let printed = output_of(db, &[in_this_folder("programs").join(program).as_os_str()]).await;
    serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"))
}

/// A check of a documented field.
type FieldCheck = fn(&Value) -> bool;

/// Checks that the value has these fields, as documented.
fn assert_fields(value: &Value, fields: &[(&str, FieldCheck)]) {
    for (name, is_right) in fields {
        assert!(value.get(*name).is_some_and(is_right), "{name} of {value}");
    }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn chat_api_client_runs_unchanged(db: PgPool) {
    let saw = received_by(&db, "chat_api.py").await;
    assert_fields(
        &saw["registered"],
        &[
            ("id", Value::is_string),
            ("email", |email| email == "user@example.com"),
            ("created_at", Value::is_string),
        ],
    );
    assert_fields(
        &saw["login"],
        &[
            ("access_token", Value::is_string),
            ("token_type", |kind| kind == "bearer"),
            ("expires_in", |seconds| *seconds == 1500),
        ],
    );
    assert_fields(
        &saw["me"],
        &[
            ("id", |_| true),
            ("email", |email| email == "user@example.com"),
            ("is_active", |active| *active == true),
        ],
    );
    assert_eq!(saw["me"]["id"], saw["registered"]["id"]);
    for answer in [&saw["first"], &saw["second"]] {
        assert_fields(
            answer,
            &[
                ("message_id", Value::is_string),
                ("reply", |reply| reply.as_str().is_some_and(|reply| !reply.is_empty())),
                ("model", Value::is_string),
                ("usage", |usage| usage["tokens"].as_u64().is_some_and(|tokens| tokens > 0)),
                ("created_at", Value::is_string),
            ],
        );
    }
    assert_eq!(saw["first"]["session_id"], saw["second"]["session_id"]);

    let events = saw["stream"].as_array().unwrap();
    let names: Vec<&str> = events.iter().filter_map(|event| event[0].as_str()).collect();
    assert_eq!((names[0], names[names.len() - 1]), ("message", "reply.done"), "{names:?}");
    let deltas = || events.iter().filter(|event| event[0] == "reply.delta");
    assert!(deltas().count() > 1, "the reply arrives in pieces: {names:?}");
    let text: String = deltas().filter_map(|event| event[1]["text"].as_str()).collect();
    assert_eq!(json!(text), events[events.len() - 1][1]["text"]);

    for frames in [&saw["socket"], &saw["socket_by_header"]] {
        let frames = frames.as_array().unwrap();
        let kinds: Vec<&str> = frames.iter().filter_map(|frame| frame["type"].as_str()).collect();
        assert!(kinds.contains(&"reply.delta") && kinds.ends_with(&["reply.done"]), "{kinds:?}");
    }
    let history = &saw["history"];
    assert_eq!(
        (&history["page"], &history["per_page"], &history["total"]),
        (&json!(1), &json!(20), &json!(4))
    );
    for item in history["items"].as_array().unwrap() {
        let is_text: FieldCheck = Value::is_string;
        assert_fields(item, &[("session_id", is_text), ("last_message", is_text), ("updated_at", is_text)]);
    }
    let expected = [
        ("short password", 400),
        ("no address", 400),
        ("no password", 422),
        ("malformed login", 400),
        ("wrong login", 401),
        ("no token", 401),
        ("bad token", 401),
    ];
    for (what, status) in expected {
        let refused = &saw["refused"][what];
        assert_eq!(refused[0], status, "{what}: {refused}");
        assert!(refused[1].is_string(), "{what}: {refused}");
    }
}

/// Runs the example published with the original API; only the server's address is replaced.
#[sqlx::test(migrator = "MIGRATOR")]
async fn published_example_runs_unchanged(db: PgPool) {
    let (redirect, example) =
        (in_this_folder("programs/redirect.py"), in_this_folder("programs/as_published.py"));
    let printed = output_of(&db, &[redirect.as_os_str(), example.as_os_str()]).await;
    for field in [
        "'message_id': '",
        "'reply': '",
        "'model': 'scripted-echo-1'",
        "'usage': {'tokens': ",
        "'created_at': '",
    ] {
        assert!(printed.contains(field), "no {field} in {printed}");
    }
}

/// The client that docs/API_EXAMPLES.md shows.
#[sqlx::test(migrator = "MIGRATOR")]
async fn documented_client_runs(db: PgPool) {
    let document = std::fs::read_to_string(root().join("docs/API_EXAMPLES.md")).unwrap();
    let (_, rest) = document.split_once("```python\n").unwrap();
    let (program, _) = rest.split_once("```").unwrap();
    let printed = output_of(&db, &["-c".as_ref(), program.as_ref()]).await;
    assert_eq!(printed.matches("Turns seen").count(), 2, "{printed}");
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn chatkit_page_account_and_file_calls_work(db: PgPool) {
    let saw = received_by(&db, "chatkit_accounts.py").await;
    assert_eq!(saw["signed_up"][0], 201);
    for answer in [&saw["signed_up"][1], &saw["signed_in"]] {
        assert!(answer["token"].is_string() && answer["token"] == answer["access_token"], "{answer}");
        assert_eq!(answer["user"]["email"], "joan@example.com");
    }
    assert_eq!((&saw["me"]["email"], &saw["stranger"]), (&json!("joan@example.com"), &json!(401)));
    assert_fields(
        &saw["file"],
        &[
            ("id", |id| id.as_str().is_some_and(|id| id.starts_with("atc_"))),
            ("name", |name| name == "tides.csv"),
            ("mime_type", |mime| mime == "text/csv"),
            ("type", |kind| kind == "file"),
        ],
    );
    let events: Vec<&str> = saw["events"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(events.starts_with(&["thread.created", "thread.item.done"]), "{events:?}");
    assert!(events.contains(&"thread.item.updated"), "{events:?}");
    assert_eq!(saw["again"], 400);
    assert_eq!(
        (&saw["health"]["status"], &saw["health"]["database"]),
        (&json!("healthy"), &json!("connected"))
    );
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn client_with_usernames_and_refresh_tokens_runs_unchanged(db: PgPool) {
    let saw = received_by(&db, "named_accounts.py").await;
    for answer in ["registered", "login", "refreshed", "next"] {
        assert_fields(
            &saw[answer],
            &[
                ("access_token", Value::is_string),
                ("refresh_token", Value::is_string),
                ("token_type", |kind| kind == "bearer"),
            ],
        );
    }
    assert_ne!(saw["refreshed"]["refresh_token"], saw["next"]["refresh_token"]);
    assert_eq!(saw["me"][0]["username"], "testuser");
    assert_eq!(saw["stolen"][0], 401);
    assert_eq!(saw["pages"], json!([200, 200, 200, 200]));
}
