//! Tests sign-up, sign-in and the current user at `/auth/*`.

use serde_json::{Value, json};
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use crate::support::app::{PASSWORD, TestApp};
use crate::support::client::Answer;

async fn sign_up(app: &TestApp, body: &Value) -> Answer {
    app.post("/auth/signup").json(body).send().await
}

async fn sign_in(app: &TestApp, body: &Value) -> Answer {
    app.post("/auth/signin").json(body).send().await
}

/// Checks that the response has tokens and the user, and no other field.
fn assert_tokens(answer: &Value, email: &str, username: Option<&str>) {
    assert_eq!(answer["access_token"].as_str().unwrap().split('.').count(), 3);
    assert!(answer["refresh_token"].as_str().unwrap().starts_with("vrt_"));
    assert_eq!(answer["token_type"], "bearer");
    assert_eq!(answer["expires_in"], 25 * 60);
    assert_eq!(answer["token"], answer["access_token"]);
    assert_eq!(answer.as_object().unwrap().len(), 6, "{answer}");
    let user = &answer["user"];
    assert_eq!((&user["email"], &user["username"]), (&json!(email), &json!(username)));
    assert_eq!(user["is_active"], true);
    assert!(user["id"].as_str().unwrap().parse::<uuid::Uuid>().is_ok());
    assert!(chrono::DateTime::parse_from_rfc3339(user["created_at"].as_str().unwrap()).is_ok());
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn sign_up_and_sign_in_accept_json_and_form(db: PgPool) {
    let app = TestApp::start(&db).await;
    let body = json!({"email": "ada@mail.example", "password": PASSWORD});
    let made = sign_up(&app, &body).await.is(201);
    assert!(made.position() > 0);
    assert_tokens(&made.value(), "ada@mail.example", None);
    let form = [("email", "eve@mail.example"), ("username", "eve"), ("password", PASSWORD)];
    let made_by_form = app.post("/auth/signup").form(&form).send().await.is(201).value();
    assert_tokens(&made_by_form, "eve@mail.example", Some("eve"));

    let by_json = sign_in(&app, &body).await.is(200).value();
    assert_tokens(&by_json, "ada@mail.example", None);
    assert_ne!(by_json["refresh_token"], made.value()["refresh_token"]);
    for field in ["username", "email"] {
        let form = [(field, "EVE@mail.example"), ("password", PASSWORD)];
        let by_form = app.post("/auth/signin").form(&form).send().await.is(200).value();
        assert_tokens(&by_form, "eve@mail.example", Some("eve"));
    }
    let by_name = sign_in(&app, &json!({"username": "Eve", "password": PASSWORD})).await.is(200).value();

    let token = by_name["access_token"].as_str().unwrap();
    for path in ["/auth/me", "/api/users/me"] {
        assert_eq!(app.get(path).bearer(token).send().await.is(200).value(), by_name["user"], "{path}");
    }
    app.get("/auth/me").send().await.assert_error(401, "invalid_token");
    app.get("/auth/me").bearer("x").send().await.assert_error(401, "invalid_token");
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn invalid_sign_up_creates_no_account(db: PgPool) {
    let app = TestApp::start(&db).await;
    let taken = json!({"email": "ada@mail.example", "username": "ada", "password": PASSWORD});
    sign_up(&app, &taken).await.is(201);
    let events = app.events().await;
    let other = |field: &str, value: Value| {
        let mut body = json!({"email": "eve@mail.example", "username": "eve", "password": PASSWORD});
        body[field] = value;
        body
    };
    for (body, status, code) in [
        (other("email", json!("ADA@mail.example")), 400, "email_taken"),
        (other("username", json!("Ada")), 409, "username_taken"),
        (other("email", json!("ada")), 400, "invalid_value"),
        (other("username", json!("a b")), 400, "invalid_value"),
        (other("password", json!("short1")), 400, "invalid_password"),
        (other("email", json!(null)), 422, "malformed_request"),
        (other("email", json!("a\u{0}@mail.example")), 400, "invalid_character"),
        (json!({"email": "eve@mail.example"}), 422, "malformed_request"),
    ] {
        sign_up(&app, &body).await.assert_error(status, code);
    }
    let text = app.post("/auth/signup").body("text/plain", b"{}".to_vec()).send().await;
    text.assert_error(422, "malformed_request");
    assert_eq!(app.events().await, events);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn keyed_sign_up_runs_once(db: PgPool) {
    let app = TestApp::start(&db).await;
    let body = json!({"email": "ada@mail.example", "password": PASSWORD});
    let first = app.post("/auth/signup").key("ada-1").json(&body).send().await.is(201);
    let again = app.post("/auth/signup").key("ada-1").json(&body).send().await.is(201);
    assert_eq!(again.value()["user"], first.value()["user"]);
    assert_eq!(again.position(), first.position());
    app.post("/auth/signup").key("").json(&body).send().await.assert_error(400, "invalid_idempotency_key");
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn unknown_user_and_wrong_password_get_equal_responses(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let wrong = sign_in(&app, &json!({"email": person.email, "password": "another password 1"})).await;
    wrong.assert_error(401, "invalid_credentials");
    let unknown = sign_in(&app, &json!({"email": "nobody@mail.example", "password": PASSWORD})).await;
    assert_eq!(unknown.without_request_id(), wrong.without_request_id());
    assert_eq!(unknown.status, 401);
    app.end().await;
}
