//! Small programs written to the documentation of APIs that this one stands in for. Each knows nothing of us, prints what it saw,
//! and ends with an error where something is not as it was promised.

use std::ffi::OsStr;

use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::process::Command;
use verbatim::bootstrap::database::MIGRATOR;

use super::{here, python, run, said};
use crate::support::app::{TestApp, WAIT_TIMEOUT};
use crate::support::root;

/// Lets a program talk with a new system; gives what it printed.
async fn ran(db: &PgPool, program: &[&OsStr]) -> String {
    // At a pace at which a reply comes in pieces.
    let app = TestApp::with(db, &[("SCRIPTED_WORDS_PER_SECOND", "100")]).await;
    let mut command = Command::new(python());
    command
        .args(program)
        .env("CHAT_API", format!("http://{}", app.address()))
        .env("API", format!("http://{}", app.address()))
        .env("NO_PROXY", "*");
    let output = run(&mut command, WAIT_TIMEOUT).await;
    assert!(output.status.success(), "{}", said(&output));
    app.end().await;
    String::from_utf8(output.stdout).unwrap()
}

/// Lets a program of this folder talk with a new system; gives what it saw.
async fn saw(db: &PgPool, program: &str) -> Value {
    let printed = ran(db, &[here("programs").join(program).as_os_str()]).await;
    serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"))
}

/// Whether a field is as it was promised.
type Promise = fn(&Value) -> bool;

/// The value has these fields, each as promised.
fn assert_fields(value: &Value, fields: &[(&str, Promise)]) {
    for (name, is_right) in fields {
        assert!(value.get(*name).is_some_and(is_right), "{name} of {value}");
    }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_client_of_the_chat_api_runs_unchanged(db: PgPool) {
    let saw = saw(&db, "chat_api.py").await;
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
    assert!(deltas().count() > 1, "it came in pieces: {names:?}");
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
        let is_text: Promise = Value::is_string;
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

/// As it was published with the API that this one stands in for; only where its requests go is not as it says.
#[sqlx::test(migrator = "MIGRATOR")]
async fn the_published_example_runs_unchanged(db: PgPool) {
    let (elsewhere, example) = (here("programs/elsewhere.py"), here("programs/as_published.py"));
    let printed = ran(&db, &[elsewhere.as_os_str(), example.as_os_str()]).await;
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
async fn the_client_that_the_documents_show_runs(db: PgPool) {
    let document = std::fs::read_to_string(root().join("docs/API_EXAMPLES.md")).unwrap();
    let (_, rest) = document.split_once("```python\n").unwrap();
    let (program, _) = rest.split_once("```").unwrap();
    let printed = ran(&db, &["-c".as_ref(), program.as_ref()]).await;
    assert_eq!(printed.matches("Turns seen").count(), 2, "{printed}");
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn what_a_chatkit_page_does_besides_its_protocol_works(db: PgPool) {
    let saw = saw(&db, "chatkit_accounts.py").await;
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
async fn a_client_with_user_names_and_refresh_tokens_runs_unchanged(db: PgPool) {
    let saw = saw(&db, "named_accounts.py").await;
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
