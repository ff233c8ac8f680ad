//! Tests health, the root and OpenAPI pages, and the headers and limits common to all responses.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use crate::support::app::TestApp;

#[sqlx::test(migrator = "MIGRATOR")]
async fn health_reports_status_and_positions(db: PgPool) {
    let app = TestApp::start(&db).await;
    app.person().await;
    app.wait_for_projections().await;
    let health = app.get("/health").send().await.is(200).value();
    let head: i64 = sqlx::query_scalar("SELECT max(position) FROM events").fetch_one(&db).await.unwrap();
    let models: Vec<Value> = [
        "conversations",
        "files",
        "messages",
        "pending_replies",
        "replies",
        "usage",
        "users",
        "widget_state",
    ]
    .iter()
    .map(|name| json!({"name": name, "position": head, "lag": 0, "status": "running"}))
    .collect();
    assert_eq!(health["status"], "healthy");
    assert_eq!(health["database"], "connected");
    assert_eq!(health["event_store"], json!({"position": head}));
    assert_eq!(health["projections"], json!(models));
    assert_eq!(app.get("/livez").send().await.is(200).value(), json!({"status": "alive"}));
    let ready = json!({"status": "ready", "missing": []});
    assert_eq!(app.get("/readyz").send().await.is(200).value(), ready);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn readiness_waits_for_read_models_to_catch_up(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    app.session(&person).await;
    app.end().await;
    // A read model lags and cannot advance.
    let mut held = db.begin().await.unwrap();
    sqlx::query("UPDATE checkpoints SET position = 0 WHERE projection = 'messages'")
        .execute(&mut *held)
        .await
        .unwrap();
    sqlx::query("DELETE FROM messages").execute(&mut *held).await.unwrap();
    held.commit().await.unwrap();
    let mut held = db.begin().await.unwrap();
    sqlx::query("SELECT FROM checkpoints WHERE projection = 'messages' FOR UPDATE")
        .execute(&mut *held)
        .await
        .unwrap();
    let next = TestApp::start(&db).await;
    let readiness = next.get("/readyz").send().await.is(503).value();
    assert_eq!(readiness["status"], "not_ready");
    assert!(readiness["missing"].as_array().unwrap().contains(&json!("read model messages")), "{readiness}");
    held.rollback().await.unwrap();
    next.wait_until("the service is ready", async || next.get("/readyz").send().await.status == 200).await;
    next.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn root_links_docs_and_health(db: PgPool) {
    let app = TestApp::start(&db).await;
    for accept in [None, Some("application/json"), Some("*/*")] {
        let call = app.get("/");
        let answer = match accept {
            Some(accept) => call.header("accept", accept),
            None => call,
        };
        let answer = answer.send().await.is(200);
        assert!(answer.header("vary").to_ascii_lowercase().contains("accept"), "{:?}", answer.headers);
        assert_eq!(answer.header("content-type"), "application/json");
        let root = answer.value();
        assert_eq!(root["name"], "Verbatim");
        for page in ["docs", "redoc", "openapi", "health"] {
            app.get(root[page].as_str().unwrap()).send().await.is(200);
        }
    }
    app.end().await;
}

fn assert_references(value: &Value, root: &Value) {
    match value {
        Value::Object(object) => {
            if let Some(Value::String(reference)) = object.get("$ref") {
                let pointer = reference.strip_prefix('#').expect("a reference within the description");
                assert!(root.pointer(pointer).is_some(), "{reference} leads nowhere");
            }
            object.values().for_each(|value| assert_references(value, root));
        }
        Value::Array(items) => items.iter().for_each(|value| assert_references(value, root)),
        _ => {}
    }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn openapi_lists_operations_and_authentication(db: PgPool) {
    let app = TestApp::start(&db).await;
    let api = app.get("/openapi.json").send().await.is(200).value();
    assert!(api["openapi"].as_str().unwrap().starts_with("3.1"));
    assert_references(&api, &api);
    let schemes = api["components"]["securitySchemes"].as_object().unwrap();
    assert_eq!(schemes["bearer"]["scheme"], "bearer");

    let mut listed = BTreeMap::new();
    let mut names = BTreeSet::new();
    for (path, methods) in api["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            assert!(names.insert(operation["operationId"].as_str().unwrap().to_owned()), "{operation}");
            let responses = operation["responses"].as_object().unwrap();
            let good = |status: &String| status.starts_with('2') || status == "101";
            assert!(responses.keys().any(good), "{method} {path}: {responses:?}");
            let secured = operation["security"][0] == json!({"bearer": []});
            listed.insert((method.clone(), path.clone()), secured);
        }
    }
    for (method, path, header) in [
        ("get", "/api/chat/stream/{id}", "Last-Event-ID"),
        ("post", "/api/chat", "Idempotency-Key"),
        ("delete", "/api/history/{id}", "Idempotency-Key"),
    ] {
        let parameters = api["paths"][path][method]["parameters"].as_array().unwrap();
        let named = |parameter: &Value| parameter["in"] == "header" && parameter["name"] == header;
        assert!(parameters.iter().any(named), "{method} {path}: {parameters:?}");
    }

    // The description is true: without a token exactly the public operations answer.
    listed.insert(("get".to_owned(), "/openapi.json".to_owned()), false);
    for ((method, path), secured) in listed {
        let path = path.replace("{id}", "01960000-0000-7000-8000-000000000001");
        let answer = app.call(method.to_uppercase().parse().unwrap(), &path).send().await;
        if secured {
            answer.assert_error(401, "invalid_token");
        } else {
            assert_ne!(answer.status, 401, "{method} {path}");
        }
    }
    app.end().await;
}

/// Returns a page without the contents of its scripts and styles.
fn markup(html: &str) -> String {
    let mut markup = html.to_owned();
    for tag in ["script", "style"] {
        let mut kept = String::new();
        for (index, piece) in markup.split(&format!("<{tag}")).enumerate() {
            let (open, rest) =
                if index == 0 { ("", piece) } else { piece.split_once('>').unwrap_or((piece, "")) };
            let after = if index == 0 {
                rest
            } else {
                rest.split_once(&format!("</{tag}>")).map_or("", |rest| rest.1)
            };
            if index > 0 {
                kept.push_str(&format!("<{tag}{open}>"));
            }
            kept.push_str(after);
        }
        markup = kept;
    }
    markup
}

/// Returns the values of an attribute in every tag of this name.
fn attributes(html: &str, tag: &str, attribute: &str) -> Vec<String> {
    let mut values = Vec::new();
    for piece in html.split(&format!("<{tag}")).skip(1) {
        let inside = piece.split('>').next().unwrap_or_default();
        if let Some((_, value)) = inside.split_once(&format!("{attribute}=")) {
            let value = value.trim_start_matches(['"', '\'']);
            values.push(value.split(['"', '\'', ' ']).next().unwrap_or_default().to_owned());
        }
    }
    values
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn api_doc_pages_load_nothing_external(db: PgPool) {
    let app = TestApp::start(&db).await;
    for path in ["/docs", "/redoc"] {
        let page = app.get(path).send().await.is(200);
        assert!(page.header("content-type").starts_with("text/html"));
        assert!(page.text.contains("/openapi.json"));
        let markup = markup(&page.text);
        assert!(markup.contains("<script") && markup.len() < page.text.len());
        for (tag, attribute) in [("script", "src"), ("link", "href"), ("img", "src"), ("iframe", "src")] {
            for value in attributes(&markup, tag, attribute) {
                assert!(
                    value.starts_with('/') && !value.starts_with("//") || value.starts_with("data:"),
                    "{path}: {value}"
                );
            }
        }
        let policy = page.header("content-security-policy");
        assert!(policy.contains("default-src 'none'") && policy.contains("connect-src 'self'"), "{policy}");
        assert!(!policy.contains("http:") && !policy.contains("https:") && !policy.contains('*'), "{policy}");
    }
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn every_response_has_security_headers_and_request_id(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let calls = || {
        [
            app.get("/"),
            app.get("/health"),
            app.get("/docs"),
            app.get("/nope"),
            app.delete("/health"),
            app.get("/api/auth/me"),
            app.get("/api/auth/me").by(&person),
            app.post("/api/chat").by(&person).json(&json!({"message": "x"})),
            app.post("/api/chat").by(&person).json(&json!({})),
            app.get(&format!("/{}", "a".repeat(9000))),
        ]
    };
    for call in calls() {
        let answer = call.send().await;
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("x-frame-options", "DENY"),
        ] {
            assert_eq!(answer.header(name), value, "{name} of {answer:?}");
        }
        assert!(answer.header("content-security-policy").contains("frame-ancestors 'none'"));
        assert!(!answer.header("cache-control").is_empty());
        assert!(!answer.header("x-request-id").is_empty());
        assert!(answer.headers.get("server").is_none() && answer.headers.get("x-powered-by").is_none());
    }
    assert_eq!(app.get("/api/auth/me").by(&person).send().await.header("cache-control"), "no-store");
    for id in ["abc", "a.b-c_1", &"x".repeat(128)] {
        for call in calls() {
            assert_eq!(call.header("x-request-id", id).send().await.header("x-request-id"), id);
        }
    }
    for id in ["", "two words", "a/b", "é", &"x".repeat(129), "<script>"] {
        let answer = app.get("/health").header("x-request-id", id).send().await;
        assert!(answer.header("x-request-id").parse::<uuid::Uuid>().is_ok(), "{id}: {answer:?}");
    }
    // The request id is recorded in the events' metadata.
    let call = app.post("/api/chat").by(&person).json(&json!({"message": "x"}));
    call.header("x-request-id", "traced-1").send().await.is(200);
    let traced: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM events WHERE metadata ->> 'request_id' = 'traced-1' AND metadata ->> 'actor' = $1",
    )
    .bind(person.id.to_string())
    .fetch_one(&db)
    .await
    .unwrap();
    assert_eq!(traced, 3);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn cors_allows_only_listed_origins(db: PgPool) {
    let app = TestApp::start(&db).await;
    let preflight = async |origin: &str| {
        app.call(reqwest::Method::OPTIONS, "/api/chat")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,content-type,idempotency-key")
            .send()
            .await
    };
    for origin in ["http://localhost:3000", "http://127.0.0.1:3000"] {
        let allowed = preflight(origin).await.is(200);
        assert_eq!(allowed.header("access-control-allow-origin"), origin);
        assert!(allowed.header("access-control-allow-methods").contains("POST"));
        for name in ["authorization", "content-type", "idempotency-key", "last-event-id", "verbatim-position"]
        {
            assert!(allowed.header("access-control-allow-headers").contains(name), "{name}");
        }
        let answer = app.get("/health").header("origin", origin).send().await.is(200);
        assert_eq!(answer.header("access-control-allow-origin"), origin);
        assert!(answer.header("vary").to_ascii_lowercase().contains("origin"));
        assert!(answer.header("access-control-expose-headers").contains("verbatim-position"));
        assert!(answer.headers.get("access-control-allow-credentials").is_none());
    }
    for origin in [
        "null",
        "http://localhost:3000.evil.example",
        "http://evil-localhost:3000",
        "http://localhost:3001",
        "https://localhost:3000",
        "http://localhost",
        "http://LOCALHOST:3000",
        "*",
        "",
    ] {
        for answer in [preflight(origin).await, app.get("/health").header("origin", origin).send().await] {
            assert!(answer.headers.get("access-control-allow-origin").is_none(), "{origin}: {answer:?}");
            assert!(answer.headers.get("access-control-allow-credentials").is_none());
        }
    }
    app.end().await;
    let open = TestApp::with(&db, &[("CORS_ORIGINS", "*")]).await;
    let answer = open.get("/health").header("origin", "https://anywhere.example").send().await;
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert!(answer.headers.get("access-control-allow-credentials").is_none());
    open.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn rate_limited_message_gets_retry_after(db: PgPool) {
    let limits =
        [("RATE_LIMITS", "on"), ("RATE_LIMIT_USER_PER_MINUTE", "6"), ("RATE_LIMIT_SESSION_PER_MINUTE", "3")];
    let app = TestApp::with(&db, &limits).await;
    let (person, other) = (app.person().await, app.person().await);
    let session = app.session(&person).await;
    let send = async |person, session: Option<&str>| {
        let body = json!({"message": "x", "session_id": session});
        app.post("/api/chat").by(person).json(&body).send().await
    };
    // Another user can neither use up the conversation's limit nor learn that it exists.
    for _ in 0..4 {
        let answer = send(&other, Some(&session)).await;
        assert!([404, 429].contains(&answer.status), "{}", answer.text);
    }
    for _ in 0..2 {
        send(&person, Some(&session)).await.is(200);
    }
    let events = app.events().await;
    let refused = send(&person, Some(&session)).await;
    refused.assert_error(429, "rate_limited");
    let seconds: u64 = refused.header("retry-after").parse().unwrap();
    // The rest of this window, and the part of the next one until a third of the count has decayed.
    assert!((1..=80).contains(&seconds), "{seconds}");
    let body = json!({"message": "x", "session_id": session});
    app.post("/api/chat/stream").by(&person).json(&body).send().await.assert_error(429, "rate_limited");
    assert_eq!(app.events().await, events);
    // Other conversations work up to the user's own limit; queries are not counted.
    for _ in 0..3 {
        send(&person, None).await.is(200);
    }
    send(&person, None).await.assert_error(429, "rate_limited");
    app.get("/api/history").by(&person).send().await.is(200);
    send(&app.person().await, None).await.is(200);
    app.end().await;

    let without = TestApp::with(&db, &[limits[1], limits[2], ("RATE_LIMITS", "off")]).await;
    for _ in 0..12 {
        without.say(&person, Some(&session), "x").await;
    }
    without.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn root_serves_html_to_browsers(db: PgPool) {
    let app = TestApp::start(&db).await;
    let accept = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    let page = app.get("/").header("accept", accept).send().await.is(200);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert!(page.header("vary").to_ascii_lowercase().contains("accept"), "{:?}", page.headers);
    let policy = page.header("content-security-policy");
    assert!(
        policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
        "{policy}"
    );
    assert_eq!(markup(&page.text), page.text, "the page has neither scripts nor styles");
    let links = attributes(&page.text, "a ", "href");
    assert_eq!(links, ["/docs", "/redoc", "/openapi.json", "/health"]);
    for link in links {
        app.get(&link).send().await.is(200);
    }
    app.end().await;
}
