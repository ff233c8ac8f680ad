//! Tool calls by a model that was offered no tools.

use serde_json::json;
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use super::{EndedReply, app_with_provider, text};
use crate::support::app::TestApp;
use crate::support::openai_server::{Act, OpenAiServer};

/// Number of conversation items other than text.
async fn items(app: &TestApp) -> i64 {
    app.wait_for_projections().await;
    sqlx::query_scalar("SELECT count(*) FROM items").fetch_one(&app.db).await.unwrap()
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn unoffered_tool_call_creates_no_item(db: PgPool) {
    for api in ["responses", "chat_completions"] {
        let server = OpenAiServer::start([Act::reply(&["fine"])]).await;
        let app = app_with_provider(&db, &server, api, &[]).await;
        let person = app.person().await;
        for (name, arguments) in [
            ("ask_user", r#"{"questions": [{"question": "Which?"}]}"#),
            ("show_widget", r#"{"widget": {"type": "Card", "children": [{"type": "Text", "value": "x"}]}}"#),
            ("start_quiz", "{}"),
        ] {
            // Without text it is an empty reply, which is retried.
            server.set_script([Act::Call { name, arguments }, Act::reply(&["fine"])]);
            let answer = app.say(&person, None, "Hello").await;
            assert_eq!(answer["status"], "completed", "{name}: {answer}");
            server.set_script([Act::Call { name, arguments }]);
            let ended = EndedReply::of(&app, &person, "Hello").await;
            assert_eq!((ended.outcome(), ended.attempts().len()), (("failed", Some("empty")), 4), "{name}");
            assert!(server.requests().iter().all(|request| request.body["tools"].is_null()));
            assert_eq!(items(&app).await, 0, "{name}");
        }
        app.end().await;
    }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn text_beside_unoffered_tool_call_is_kept(db: PgPool) {
    let chunk = json!({"choices": [{"index": 0, "finish_reason": "stop", "delta": {
        "content": "Hello.",
        "tool_calls": [{"index": 0, "id": "c1", "type": "function", "function": {"name": "start_quiz", "arguments": "{}"}}],
    }}]});
    let parts = vec![format!("data: {chunk}\n\ndata: [DONE]\n\n").into_bytes()];
    let server = OpenAiServer::start([Act::Raw { kind: "text/event-stream", parts }]).await;
    let app = app_with_provider(&db, &server, "chat_completions", &[]).await;
    let person = app.person().await;
    let ended = EndedReply::to(&app, &person, &json!({"message": "Hello"})).await;
    assert_eq!((ended.status(), ended.attempts().len()), ("completed", 1));
    assert_eq!(text(&app, &person, &ended).await, "Hello.");
    assert_eq!(items(&app).await, 0);
    app.end().await;
}
