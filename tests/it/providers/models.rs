//! Models: which can be requested, which provider serves them, and their cost.

use serde_json::{Value, json};
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use super::{EndedReply, app_with_provider};
use crate::support::app::TestApp;
use crate::support::openai_server::{Act, Ending, KEY, OpenAiServer};

/// Starts an app with two fake providers and a table of models.
async fn app_with_models(
    db: &PgPool,
    openai: &OpenAiServer,
    groq: &OpenAiServer,
    more: &[(&str, &str)],
) -> TestApp {
    let file = tempfile::NamedTempFile::new().unwrap();
    let table = json!([
        {"name": "small", "provider": "openai", "model": "gpt-4o-mini", "prompt_price": 1_000_000,
         "completion_price": 2_000_000, "context_window": 1000},
        {"name": "llama", "provider": "groq", "model": "llama-70b", "prompt_price": 500_000, "completion_price": 0,
         "max_output_tokens": 50},
        {"name": "both", "provider": "groq", "model": "both-at-groq"},
        {"name": "both", "provider": "openai", "model": "both-at-openai"},
        {"name": "elsewhere", "provider": "gemini", "model": "flash"},
    ]);
    std::fs::write(file.path(), table.to_string()).unwrap();
    let (one, other) = (openai.base_url(), groq.base_url());
    let usual = [
        ("OPENAI_API_KEY", KEY),
        ("OPENAI_BASE_URL", one.as_str()),
        ("AI_SERVICES__GROQ_API_KEY", KEY),
        ("AI_SERVICES__GROQ_BASE_URL", &other),
        ("AI_SERVICES__GROQ_MODEL", "groq-own"),
        ("MODELS_FILE", file.path().to_str().unwrap()),
        ("CHAT_TITLES", "off"),
    ];
    TestApp::with(db, &[&usual[..], more].concat()).await
}

async fn servers() -> (OpenAiServer, OpenAiServer) {
    let reply = || Act::ending(&["fine"], Ending::Tokens(Some((1000, 10))));
    (OpenAiServer::start([reply()]).await, OpenAiServer::start([reply()]).await)
}

fn names(models: &Value) -> Vec<&str> {
    models["models"].as_array().unwrap().iter().map(|model| model["name"].as_str().unwrap()).collect()
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn requested_model_uses_its_provider_and_price(db: PgPool) {
    let (openai, groq) = servers().await;
    let app = app_with_models(&db, &openai, &groq, &[]).await;
    let person = app.person().await;
    let cases = [
        (json!("small"), "openai", "gpt-4o-mini", json!(1020)),
        (json!("llama"), "groq", "llama-70b", json!(500)),
        // Both serve it; the first in the chain is used. The price is unknown.
        (json!("both"), "openai", "both-at-openai", Value::Null),
        (Value::Null, "openai", "gpt-4o-mini", json!(1020)),
        (json!("groq-own"), "groq", "groq-own", Value::Null),
    ];
    for (model, provider, own, cost) in cases {
        let ended = EndedReply::to(&app, &person, &json!({"message": "Hello", "model": model})).await;
        let plan = &ended.attempts()[0]["plan"];
        assert_eq!((&plan["provider"], &plan["model"]), (&json!(provider), &json!(own)), "{model}");
        assert_eq!(ended.0["requested_model"], model);
        assert_eq!(
            ended.0["usage"],
            json!({"tokens": 1010, "prompt_tokens": 1000, "completion_tokens": 10, "cost_micros": cost})
        );
        let server = if provider == "openai" { &openai } else { &groq };
        assert_eq!(server.requests().last().unwrap().body["model"], own, "{model}");
    }
    let capped = groq.requests().iter().find(|request| request.body["model"] == "llama-70b").cloned();
    assert_eq!(capped.unwrap().body["max_completion_tokens"], 50, "capped at the model's maximum");
    // The answer to the message has the cost, too, and the events alone determine it.
    let answer =
        app.post("/api/chat").by(&person).json(&json!({"message": "Hello", "model": "llama"})).send().await;
    assert_eq!(answer.is(200).value()["usage"]["cost_micros"], 500);
    let price: Value = sqlx::query_scalar(
        "SELECT payload::jsonb #> '{plan,parameters,price}' FROM events WHERE event_type = 'reply_begun'
         ORDER BY position DESC LIMIT 1",
    )
    .fetch_one(&db)
    .await
    .unwrap();
    assert_eq!(price, json!({"prompt": 500_000, "completion": 0}));
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn failover_uses_other_providers_default_model(db: PgPool) {
    let (openai, groq) = servers().await;
    groq.set_script([Act::error(503, "overloaded")]);
    let app = app_with_models(&db, &openai, &groq, &[]).await;
    let person = app.person().await;
    let ended = EndedReply::to(&app, &person, &json!({"message": "Hello", "model": "llama"})).await;
    assert_eq!(ended.asked(), [("groq", 1, Some("provider_unavailable")), ("openai", 1, None)]);
    assert_eq!(ended.attempts()[1]["plan"]["model"], "gpt-4o-mini");
    assert_eq!(ended.0["usage"]["cost_micros"], 1020, "at the price of the model that answered");
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn only_listed_models_are_accepted(db: PgPool) {
    let (openai, groq) = servers().await;
    let app = app_with_models(&db, &openai, &groq, &[]).await;
    let person = app.person().await;
    app.get("/api/models").send().await.assert_error(401, "invalid_token");
    let models = app.get("/api/models").by(&person).send().await.is(200).value();
    assert_eq!(names(&models), ["small", "groq-own", "llama", "both"]);
    let expected = json!({
        "name": "small", "default": true, "provider": "openai", "providers": ["openai"], "context_window": 1000,
        "max_output_tokens": null, "prompt_price": 1_000_000, "completion_price": 2_000_000,
    });
    assert_eq!(models["models"][0], expected);
    assert_eq!(models["models"][3]["providers"], json!(["openai", "groq"]));
    let before = app.events().await;
    for model in ["elsewhere", "gpt-9", ""] {
        let body = json!({"message": "Hello", "model": model});
        app.post("/api/chat").by(&person).json(&body).send().await.assert_error(400, "unknown_model");
        app.post("/api/chat/stream").by(&person).json(&body).send().await.assert_error(400, "unknown_model");
    }
    assert_eq!(app.events().await, before);
    app.end().await;
    // AI_MODELS restricts the list and adds a name that is in no table.
    let app = app_with_models(&db, &openai, &groq, &[("AI_MODELS", "llama,of-the-future")]).await;
    let models = app.get("/api/models").by(&person).send().await.is(200).value();
    assert_eq!(names(&models), ["small", "groq-own", "llama", "of-the-future"]);
    let body = json!({"message": "Hello", "model": "both"});
    app.post("/api/chat").by(&person).json(&body).send().await.assert_error(400, "unknown_model");
    let ended = EndedReply::to(&app, &person, &json!({"message": "Hello", "model": "of-the-future"})).await;
    assert_eq!((ended.asked()[0].0, &ended.0["usage"]["cost_micros"]), ("openai", &Value::Null));
    assert_eq!(openai.requests().last().unwrap().body["model"], "of-the-future");
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn without_models_file_only_priced_default_is_available(db: PgPool) {
    let server = OpenAiServer::start([Act::ending(&["fine"], Ending::Tokens(Some((1000, 10))))]).await;
    let app = app_with_provider(&db, &server, "responses", &[]).await;
    let person = app.person().await;
    let models = app.get("/api/models").by(&person).send().await.is(200).value();
    assert_eq!(names(&models), ["gpt-4o-mini"]);
    assert!(models["models"][0]["prompt_price"].as_u64().is_some_and(|price| price > 0));
    let ended = EndedReply::of(&app, &person, "Hello").await;
    assert!(ended.0["usage"]["cost_micros"].as_u64().is_some_and(|cost| cost > 0), "{}", ended.0);
    let body = json!({"message": "Hello", "model": "gpt-4o"});
    app.post("/api/chat").by(&person).json(&body).send().await.assert_error(400, "unknown_model");
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn withdrawn_model_is_replaced_by_default(db: PgPool) {
    let (openai, groq) = servers().await;
    let app = app_with_models(&db, &openai, &groq, &[]).await;
    let person = app.person().await;
    let body = json!({"message": "Hello", "model": "both"});
    let sent = app.post("/api/chat").by(&person).json(&body).send().await.is(200).value();
    assert_eq!(openai.requests().last().unwrap().body["model"], "both-at-openai");
    app.end().await;
    // The model is no longer available: the default replaces it.
    let app = app_with_models(&db, &openai, &groq, &[("AI_MODELS", "llama")]).await;
    let (session, message) =
        (sent["session_id"].as_str().unwrap(), sent["user_message_id"].as_str().unwrap());
    for (what, body) in [("regenerate", json!({})), ("edit", json!({"message": "Hello again"}))] {
        let path = format!("/api/history/{session}/messages/{message}/{what}");
        app.post(&path).by(&person).json(&body).send().await.is(200);
        assert_eq!(openai.requests().last().unwrap().body["model"], "gpt-4o-mini", "{what}");
    }
    app.end().await;
}
