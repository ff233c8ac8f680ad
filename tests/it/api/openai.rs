//! End-to-end tests with the OpenAI protocol: API request, adapter, a local server that speaks the protocol, and the
//! log.

use serde_json::{Value, json};
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use crate::support::app::TestApp;
use crate::support::openai_server::{Act, KEY, MODEL, OpenAiServer};

async fn app_at(db: &PgPool, server: &OpenAiServer) -> TestApp {
    TestApp::with(db, &[("OPENAI_API_KEY", KEY), ("OPENAI_BASE_URL", &server.base_url())]).await
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn openai_reply_uses_history_and_records_provenance(db: PgPool) {
    let acts = [Act::reply(&["Paris", "."]), Act::reply(&["About two ", "million."])];
    let server = OpenAiServer::start(acts).await;
    let app = app_at(&db, &server).await;
    let person = app.person().await;

    let first = app.say(&person, None, "What is the capital of France?").await;
    assert_eq!((&first["reply"], &first["model"]), (&json!("Paris."), &json!(MODEL)));
    assert!(first["usage"]["tokens"].as_u64().unwrap() > 0, "{first}");
    let session = first["session_id"].as_str().unwrap();
    let second = app.say(&person, Some(session), "How many live there?").await;
    assert_eq!(second["reply"], json!("About two million."));

    let asked = server.requests();
    let body: &Value = &asked[1].body;
    assert_eq!((&body["stream"], &body["store"]), (&json!(true), &json!(false)));
    let sent = body["input"].to_string();
    let order = ["What is the capital of France?", "Paris.", "How many live there?"]
        .map(|text| sent.find(text).unwrap());
    assert!(order.is_sorted(), "{sent}");

    let reply = second["reply_id"].as_str().unwrap();
    let provenance = app.get(&format!("/api/replies/{reply}")).by(&person).send().await.is(200).value();
    let plan = &provenance["attempts"][0]["plan"];
    assert_eq!((&plan["provider"], &provenance["model"]), (&json!("openai"), &json!(MODEL)));
    assert_eq!(plan["input_message_ids"].as_array().unwrap().len(), 3, "{provenance}");
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn brief_openai_outage_costs_one_attempt(db: PgPool) {
    let server =
        OpenAiServer::start([Act::error(503, "server_error"), Act::reply(&["Back", " again."])]).await;
    let app = app_at(&db, &server).await;
    let person = app.person().await;
    let answer = app.say(&person, None, "Are you there?").await;
    assert_eq!(answer["reply"], json!("Back again."));
    let reply = answer["reply_id"].as_str().unwrap();
    let provenance = app.get(&format!("/api/replies/{reply}")).by(&person).send().await.is(200).value();
    assert_eq!(provenance["attempts"][0]["failure"], json!("provider_unavailable"), "{provenance}");
    assert_eq!(provenance["attempts"].as_array().unwrap().len(), 2);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn rejected_api_key_is_reported_but_never_shown(db: PgPool) {
    let server = OpenAiServer::start([Act::error(401, "invalid_api_key")]).await;
    let app = app_at(&db, &server).await;
    let person = app.person().await;
    let answer = app.post("/api/chat").by(&person).json(&json!({"message": "Hello"})).send().await;
    answer.assert_error(500, "reply_failed");
    assert!(answer.text.contains("key_invalid") && !answer.text.contains(KEY), "{}", answer.text);
    let events: String =
        sqlx::query_scalar("SELECT string_agg(payload::text || metadata::text, '') FROM events")
            .fetch_one(&db)
            .await
            .unwrap();
    assert!(!events.contains(KEY));
    app.end().await;
}
