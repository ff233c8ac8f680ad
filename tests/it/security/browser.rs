//! Tests what a foreign page can make a browser do: cross-site requests, CORS, framing and caching.

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use crate::support::app::{PASSWORD, TestApp};
use crate::support::client::{Answer, form};

/// A foreign page can send forms and plain text without a preflight. Without the `Authorization` header, which it
/// cannot set, they have no effect; no cookie that a browser adds by itself is accepted.
#[sqlx::test(migrator = "MIGRATOR")]
async fn cross_site_requests_are_rejected(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    app.session(&person).await;
    let api = app.get("/openapi.json").send().await.is(200).value();
    let events = app.events().await;
    let mut sent = 0;
    for (path, methods) in api["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let secured = operation["security"].as_array().is_some_and(|schemes| !schemes.is_empty());
            if method != "post" || !secured {
                continue;
            }
            let path = path.replace("{id}", "01960000-0000-7000-8000-000000000001");
            for (media, body) in [
                ("application/x-www-form-urlencoded", b"message=x&title=x".to_vec()),
                ("text/plain", b"{\"message\":\"x\"}".to_vec()),
                (
                    "multipart/form-data; boundary=cut-here",
                    form(&[("file", Some("a.txt"), Some("text/plain"), b"x")]),
                ),
            ] {
                let call = app
                    .call(Method::POST, &path)
                    .header("origin", "https://evil.example")
                    .header("sec-fetch-site", "cross-site")
                    .header("cookie", &format!("session={0}; access_token={0}; token={0}", person.access))
                    .body(media, body);
                let answer = call.send().await;
                answer.assert_error(401, "invalid_token");
                assert!(answer.headers.get("set-cookie").is_none(), "{path}");
                assert!(answer.headers.get("access-control-allow-origin").is_none(), "{path}");
                sent += 1;
            }
        }
    }
    assert!(sent > 20, "only {sent} requests");
    assert_eq!(app.events().await, events);
    app.end().await;
}

/// An origin is allowed only if it equals a listed one exactly.
#[sqlx::test(migrator = "MIGRATOR")]
async fn lookalike_origins_get_no_cors_headers(db: PgPool) {
    let app = TestApp::with(&db, &[("CORS_ORIGINS", "https://chat.example")]).await;
    let good = app.get("/health").header("origin", "https://chat.example").send().await;
    assert_eq!(good.header("access-control-allow-origin"), "https://chat.example");
    assert!(good.header("vary").to_ascii_lowercase().contains("origin"), "{good:?}");
    for origin in [
        "null",
        "https://chat.example.evil.test",
        "https://evilchat.example",
        "https://chat.example:8443",
        "http://chat.example",
        "https://CHAT.example.",
        "https://chat.example/",
        "https://chat.example@evil.test",
    ] {
        for method in [Method::GET, Method::OPTIONS] {
            let call = app.call(method, "/health").header("origin", origin);
            let answer = call.header("access-control-request-method", "POST").send().await;
            assert!(answer.headers.get("access-control-allow-origin").is_none(), "{origin}: {answer:?}");
            assert!(answer.headers.get("access-control-allow-credentials").is_none(), "{origin}");
        }
    }
    app.end().await;
}

/// Checks the headers that restrict browsers. Only event streams may be stored (`no-cache`), since each is read once.
#[track_caller]
fn assert_restrictive_headers(answer: &Answer, what: &str) {
    let what = format!("{what} {}", answer.status);
    assert_eq!(answer.header("x-content-type-options"), "nosniff", "{what}");
    assert_eq!(answer.header("referrer-policy"), "no-referrer", "{what}");
    assert_eq!(answer.header("x-frame-options"), "DENY", "{what}");
    assert!(answer.header("content-security-policy").contains("frame-ancestors 'none'"), "{what}");
    let cache_control = answer.header("cache-control");
    if answer.header("content-type").starts_with("text/event-stream") {
        assert_eq!(cache_control, "no-cache", "{what}");
    } else {
        let words: Vec<&str> = cache_control.split(',').map(str::trim).collect();
        assert!(words == ["no-store"] || words == ["private", "no-store"], "{what}: {cache_control}");
    }
    assert!(answer.headers.get("server").is_none() && answer.headers.get("x-powered-by").is_none(), "{what}");
}

/// Every response restricts browsers, whatever its status.
#[sqlx::test(migrator = "MIGRATOR")]
async fn every_response_has_restrictive_browser_headers(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let api = app.get("/openapi.json").send().await.is(200).value();
    let mut seen = 0;
    for (path, methods) in api["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let path = path.replace("{id}", "01960000-0000-7000-8000-000000000001");
            let method: Method = method.to_uppercase().parse().unwrap();
            for call in
                [app.call(method.clone(), &path), app.call(method.clone(), &path).bearer(&person.access)]
            {
                if path.ends_with("logout") || path.ends_with("ticket") {
                    continue;
                }
                assert_restrictive_headers(&call.send().await, &format!("{method} {path}"));
                seen += 1;
            }
        }
    }
    assert!(seen > 60, "only {seen} responses");
    let missing = app.get("/nowhere").send().await.is(404);
    assert_restrictive_headers(&missing, "nowhere");
    let _: Value = missing.value();
    app.end().await;
}

/// Successful responses contain personal data; so do files, previews and streams.
#[sqlx::test(migrator = "MIGRATOR")]
async fn personal_responses_are_never_cached(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let said = app.say(&person, None, "Hello").await;
    let (session, reply) = (said["session_id"].as_str().unwrap(), said["reply_id"].as_str().unwrap());
    let mut pixels = std::io::Cursor::new(Vec::new());
    image::DynamicImage::new_rgb8(40, 20).write_to(&mut pixels, image::ImageFormat::Png).unwrap();
    let upload = async |name: &str, media: &str, content: &[u8]| {
        let parts = [("file", Some(name), Some(media), content)];
        app.post("/files").by(&person).parts(&parts).send().await.is(200)
    };
    let image = upload("a.png", "image/png", &pixels.into_inner()).await;
    let (file, note) = (image.field("id"), upload("a.txt", "text/plain", b"personal").await.field("id"));
    let preview = image.field("preview_url");
    let preview = &preview[preview.find("/files/").unwrap()..];
    app.wait_for_projections().await;
    let sign_in = json!({"username": person.email, "password": PASSWORD});
    let message = json!({"message": "And on", "session_id": session});
    let create = json!({"content": [{"type": "input_text", "text": "Hello"}], "attachments": [], "inference_options": {}});
    let chatkit = |kind: &str, params: &Value| {
        app.post("/chatkit").by(&person).json(&json!({"type": kind, "params": params}))
    };
    let mut calls = vec![
        ("sign-in".to_owned(), app.post("/api/auth/login").json(&sign_in)),
        ("ticket".to_owned(), app.post("/api/chat/ws/ticket").by(&person)),
        ("message".to_owned(), app.post("/api/chat").by(&person).json(&message)),
        ("threads".to_owned(), chatkit("threads.list", &json!({}))),
        ("preview".to_owned(), app.get(preview)),
    ];
    for path in [
        "/api/users/me",
        "/api/auth/me",
        "/api/auth/logins",
        "/api/history",
        "/api/usage",
        &format!("/api/history/{session}"),
        &format!("/api/replies/{reply}"),
        &format!("/files/{file}"),
        &format!("/files/{note}"),
    ] {
        calls.push((path.to_owned(), app.get(path).by(&person)));
    }
    for (what, call) in calls {
        let answer = call.send().await;
        assert!((200..300).contains(&answer.status), "{what}: {} {}", answer.status, answer.text);
        assert!(answer.header("cache-control").contains("no-store"), "{what}");
        assert_restrictive_headers(&answer, &what);
    }
    // A client with a copy of the file gets 304 with the same headers.
    let tag = app.get(&format!("/files/{note}")).by(&person).send().await.header("etag").to_owned();
    let call = app.get(&format!("/files/{note}")).by(&person).header("if-none-match", &tag);
    assert_restrictive_headers(&call.send().await.is(304), "unchanged file");
    for (what, call) in [
        ("stream", app.post("/api/chat/stream").by(&person).json(&message)),
        ("resumed stream", app.get(&format!("/api/chat/stream/{reply}")).by(&person)),
        ("thread", chatkit("threads.create", &json!({"input": create}))),
    ] {
        let answer = call.send().await.is(200);
        assert!(answer.header("content-type").starts_with("text/event-stream"), "{what}");
        assert_restrictive_headers(&answer, what);
    }
    app.end().await;
}

/// With an `https` public URL responses require TLS from browsers; without one that would lock users out.
#[sqlx::test(migrator = "MIGRATOR")]
async fn https_public_url_enables_hsts(db: PgPool) {
    for (public, expected) in [
        (None, None),
        (Some("http://chat.example"), None),
        (Some("https://chat.example"), Some("max-age=31536000")),
    ] {
        let variables: Vec<(&str, &str)> = public.map(|url| ("PUBLIC_URL", url)).into_iter().collect();
        let app = TestApp::with(&db, &variables).await;
        for path in ["/", "/livez", "/docs", "/nowhere", "/api/users/me"] {
            let answer = app.get(path).send().await;
            let header = answer.headers.get("strict-transport-security").map(|value| value.to_str().unwrap());
            assert_eq!(header, expected, "{public:?} {path}");
        }
        app.end().await;
    }
}
