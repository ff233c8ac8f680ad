//! Calls of tools by a model that was offered none.

use serde_json::json;
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use super::{Shown, app_at, text};
use crate::support::app::TestApp;
use crate::support::openai_server::{Act, OpenAiServer};

/// How much answers have brought into conversations besides their text.
async fn items(app: &TestApp) -> i64 {
    app.wait_for_projections().await;
    sqlx::query_scalar("SELECT count(*) FROM items").fetch_one(&app.db).await.unwrap()
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn calls_where_no_tool_was_offered_bring_nothing(db: PgPool) {
    for api in ["responses", "chat_completions"] {
        let server = OpenAiServer::start([Act::reply(&["fine"])]).await;
        let app = app_at(&db, &server, api, &[]).await;
        let person = app.person().await;
        for (name, arguments) in [
            ("ask_user", r#"{"questions": [{"question": "Which?"}]}"#),
            ("show_widget", r#"{"widget": {"type": "Card", "children": [{"type": "Text", "value": "x"}]}}"#),
            ("start_quiz", "{}"),
        ] {
            // With nothing else it is an empty answer: asked again.
            server.set_script([Act::Call { name, arguments }, Act::reply(&["fine"])]);
            let answer = app.say(&person, None, "Hello").await;
            assert_eq!(answer["status"], "completed", "{name}: {answer}");
            server.set_script([Act::Call { name, arguments }]);
            let shown = Shown::of(&app, &person, "Hello").await;
            assert_eq!((shown.outcome(), shown.attempts().len()), (("failed", Some("empty")), 4), "{name}");
            assert!(server.requests().iter().all(|request| request.body["tools"].is_null()));
            assert_eq!(items(&app).await, 0, "{name}");
        }
        app.end().await;
    }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn what_was_said_beside_such_a_call_is_kept(db: PgPool) {
    let chunk = json!({"choices": [{"index": 0, "finish_reason": "stop", "delta": {
        "content": "Hello.",
        "tool_calls": [{"index": 0, "id": "c1", "type": "function", "function": {"name": "start_quiz", "arguments": "{}"}}],
    }}]});
    let parts = vec![format!("data: {chunk}\n\ndata: [DONE]\n\n").into_bytes()];
    let server = OpenAiServer::start([Act::Raw { kind: "text/event-stream", parts }]).await;
    let app = app_at(&db, &server, "chat_completions", &[]).await;
    let person = app.person().await;
    let shown = Shown::to(&app, &person, &json!({"message": "Hello"})).await;
    assert_eq!((shown.status(), shown.attempts().len()), ("completed", 1));
    assert_eq!(text(&app, &person, &shown).await, "Hello.");
    assert_eq!(items(&app).await, 0);
    app.end().await;
}
