//! What a page of somebody else's could make a browser send.

use reqwest::Method;
use serde_json::Value;
use sqlx::PgPool;
use verbatim::server::database::MIGRATOR;

use crate::support::app::TestApp;
use crate::support::client::form;

/// S32: forms and plain texts are what a page may send elsewhere without asking. Without the header that it cannot set, nothing
/// comes of them; there is no cookie that a browser would add by itself.
#[sqlx::test(migrator = "MIGRATOR")]
async fn what_a_foreign_page_can_send_does_nothing(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    app.session(&person).await;
    let api = app.get("/openapi.json").send().await.is(200).value();
    let events = app.events().await;
    let mut asked = 0;
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
                answer.refused(401, "invalid_token");
                assert!(answer.headers.get("set-cookie").is_none(), "{path}");
                assert!(answer.headers.get("access-control-allow-origin").is_none(), "{path}");
                asked += 1;
            }
        }
    }
    assert!(asked > 20, "{asked}");
    assert_eq!(app.events().await, events);
    app.end().await;
}

/// S33: an origin is one that is listed, to the letter.
#[sqlx::test(migrator = "MIGRATOR")]
async fn origins_that_only_look_like_a_listed_one_are_not_let_in(db: PgPool) {
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

/// S34: what every answer says to browsers, whatever it answers.
#[sqlx::test(migrator = "MIGRATOR")]
async fn every_answer_tells_browsers_to_be_careful(db: PgPool) {
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
                let answer = call.send().await;
                let what = format!("{method} {path} {}", answer.status);
                assert_eq!(answer.header("x-content-type-options"), "nosniff", "{what}");
                assert_eq!(answer.header("referrer-policy"), "no-referrer", "{what}");
                assert_eq!(answer.header("x-frame-options"), "DENY", "{what}");
                assert!(
                    answer.header("content-security-policy").contains("frame-ancestors 'none'"),
                    "{what}"
                );
                assert!(
                    ["no-store", "no-cache"].iter().any(|word| answer.header("cache-control").contains(word)),
                    "{what}"
                );
                assert!(
                    answer.headers.get("server").is_none() && answer.headers.get("x-powered-by").is_none(),
                    "{what}"
                );
                seen += 1;
            }
        }
    }
    assert!(seen > 60, "{seen}");
    let missing = app.get("/nowhere").send().await.is(404);
    assert_eq!(missing.header("x-content-type-options"), "nosniff");
    let _: Value = missing.value();
    app.end().await;
}

/// S34: where people come under TLS, browsers are told to come so always; elsewhere that would lock them out.
#[sqlx::test(migrator = "MIGRATOR")]
async fn under_tls_browsers_are_told_to_stay_there(db: PgPool) {
    for (public, told) in [
        (None, None),
        (Some("http://chat.example"), None),
        (Some("https://chat.example"), Some("max-age=31536000")),
    ] {
        let variables: Vec<(&str, &str)> = public.map(|url| ("PUBLIC_URL", url)).into_iter().collect();
        let app = TestApp::with(&db, &variables).await;
        for path in ["/", "/livez", "/docs", "/nowhere", "/api/users/me"] {
            let answer = app.get(path).send().await;
            let said = answer.headers.get("strict-transport-security").map(|value| value.to_str().unwrap());
            assert_eq!(said, told, "{public:?} {path}");
        }
        app.end().await;
    }
}
