//! Tests registration, sign-in and the current user: `/api/auth/register`, `/api/auth/login`, `/api/auth/me`,
//! `/api/users/me`.

use serde_json::{Value, json};
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use crate::support::app::{PASSWORD, Person, TestApp};
use crate::support::client::Answer;

async fn register(app: &TestApp, body: &Value) -> Answer {
    app.post("/api/auth/register").json(body).send().await
}

async fn login(app: &TestApp, username: &str, password: &str) -> Answer {
    app.post("/api/auth/login").json(&json!({"username": username, "password": password})).send().await
}

/// Checks the fields that every response with tokens has: the four of OAuth 2, the alias `token`, and the user.
fn assert_tokens(answer: &Value, person: &str) {
    assert_eq!(answer["access_token"].as_str().unwrap().split('.').count(), 3);
    assert!(answer["refresh_token"].as_str().unwrap().starts_with("vrt_"));
    assert_eq!(answer["token_type"], "bearer");
    assert_eq!(answer["expires_in"], 25 * 60);
    assert_eq!(answer["token"], answer["access_token"]);
    assert_eq!(answer["user"]["email"], person);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn registration_returns_account_and_tokens(db: PgPool) {
    let app = TestApp::start(&db).await;
    let body = json!({"email": "Ada@Mail.Example", "username": "Ada-1", "password": PASSWORD});
    let answer = register(&app, &body).await.is(201);
    assert!(answer.position() > 0);
    let account = answer.value();
    assert_eq!(account["email"], "Ada@Mail.Example");
    assert_eq!(account["username"], "Ada-1");
    assert_eq!(account["is_active"], true);
    assert!(account["id"].as_str().unwrap().parse::<uuid::Uuid>().unwrap().get_version_num() == 7);
    assert!(chrono::DateTime::parse_from_rfc3339(account["created_at"].as_str().unwrap()).is_ok());
    assert_tokens(&account, "Ada@Mail.Example");

    let token = account["access_token"].as_str().unwrap();
    let user = json!({
        "id": account["id"], "email": "Ada@Mail.Example", "username": "Ada-1", "is_active": true,
        "created_at": account["created_at"], "role": "user",
    });
    for path in ["/api/auth/me", "/api/users/me"] {
        assert_eq!(app.get(path).bearer(token).send().await.is(200).value(), user, "{path}");
    }
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn username_is_optional(db: PgPool) {
    let app = TestApp::start(&db).await;
    for (email, body) in [
        ("one@mail.example", json!({"email": "one@mail.example", "password": "password123x"})),
        (
            "two@mail.example",
            json!({"email": "two@mail.example", "username": null, "password": "password123x"}),
        ),
    ] {
        let account = register(&app, &body).await.is(201).value();
        assert_eq!(account["username"], Value::Null);
        assert_tokens(&account, email);
    }
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn sign_in_accepts_form_or_json_email_or_username_any_spelling(db: PgPool) {
    let app = TestApp::start(&db).await;
    let body = json!({"email": "Zoë.Ångström@Mail.Example", "username": "Zoë_Å", "password": PASSWORD});
    register(&app, &body).await.is(201);
    let identifiers = [
        "Zoë.Ångström@Mail.Example",
        "zoë.ångström@mail.example",
        "ZOË.ÅNGSTRÖM@MAIL.EXAMPLE",
        // The same letters, composed of two characters each.
        "Zoe\u{308}.A\u{30a}ngstro\u{308}m@Mail.Example",
        // Full-width letters.
        "ｚoë.ångström@ｍail.example",
        "Zoë_Å",
        "zoë_å",
        "ZOE\u{308}_\u{212b}",
    ];
    for identifier in identifiers {
        let by_json = login(&app, identifier, PASSWORD).await.is(200).value();
        assert_tokens(&by_json, "Zoë.Ångström@Mail.Example");
        // An OAuth 2 password grant; the fields that this API does not use are ignored.
        let form =
            [("grant_type", "password"), ("username", identifier), ("password", PASSWORD), ("scope", "")];
        let by_form = app.post("/api/auth/login").form(&form).send().await.is(200).value();
        assert_tokens(&by_form, "Zoë.Ångström@Mail.Example");
        assert_ne!(by_form["refresh_token"], by_json["refresh_token"]);
    }
    for (field, media) in [("email", "json"), ("email", "form")] {
        let call = app.post("/api/auth/login");
        let call = match media {
            "json" => call.json(&json!({field: "zoë.ångström@mail.example", "password": PASSWORD})),
            _ => call.form(&[(field, "zoë.ångström@mail.example"), ("password", PASSWORD)]),
        };
        assert_tokens(&call.send().await.is(200).value(), "Zoë.Ångström@Mail.Example");
    }
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn invalid_registration_creates_no_account(db: PgPool) {
    let app = TestApp::start(&db).await;
    let good = json!({"email": "ada@mail.example", "username": "ada", "password": PASSWORD});
    let long = |chars: usize| format!("a1{}", "é".repeat(chars - 2));
    let broken = [
        ("email", json!("ada"), "invalid_value"),
        ("email", json!("ada@mail"), "invalid_value"),
        ("email", json!("ada@@mail.example"), "invalid_value"),
        ("email", json!("ada lovelace@mail.example"), "invalid_value"),
        ("email", json!(""), "invalid_value"),
        ("email", json!(format!("{}@mail.example", "a".repeat(250))), "invalid_value"),
        ("email", json!("ada\u{200b}@mail.example"), "invalid_value"),
        ("username", json!("ad"), "invalid_value"),
        ("username", json!("a".repeat(33)), "invalid_value"),
        ("username", json!("ada lovelace"), "invalid_value"),
        ("username", json!("ada@mail.example"), "invalid_value"),
        ("username", json!(""), "invalid_value"),
        ("password", json!("abcdef1"), "invalid_password"),
        ("password", json!(long(129)), "invalid_password"),
        ("password", json!("abcdefgh"), "invalid_password"),
        ("password", json!("12345678"), "invalid_password"),
        ("password", json!("ÄÖÜ45678"), "invalid_password"),
        ("password", json!("ADA@mail.example"), "invalid_password"),
        ("password", json!("Password1"), "invalid_password"),
        ("password", json!(""), "invalid_password"),
    ];
    for (field, value, code) in broken {
        let mut body = good.clone();
        body[field] = value;
        let answer = register(&app, &body).await;
        answer.assert_error(400, code);
    }
    assert_eq!(app.events().await, 0);
    let mut edge = good.clone();
    edge["password"] = json!(long(128));
    register(&app, &edge).await.is(201);
    login(&app, "ada", &long(128)).await.is(200);
    // No truncation: the last character matters.
    login(&app, "ada", &format!("{}x", long(127))).await.assert_error(401, "invalid_credentials");
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn taken_email_or_username_conflicts_in_every_spelling(db: PgPool) {
    let app = TestApp::start(&db).await;
    let body = json!({"email": "straße@mail.example", "username": "Éva", "password": PASSWORD});
    register(&app, &body).await.is(201);
    let events = app.events().await;
    for email in ["straße@mail.example", "STRAßE@MAIL.EXAMPLE", "ｓtraße@mail.example", "straẞe@Mail.Example"]
    {
        let body = json!({"email": email, "username": "somebody", "password": PASSWORD});
        register(&app, &body).await.assert_error(409, "email_taken");
    }
    for username in ["Éva", "éva", "E\u{301}VA", "ｅ\u{301}va"] {
        let body = json!({"email": "other@mail.example", "username": username, "password": PASSWORD});
        register(&app, &body).await.assert_error(409, "username_taken");
    }
    assert_eq!(app.events().await, events);
    // The rejected registration did not claim the username that was free.
    let body = json!({"email": "other@mail.example", "username": "somebody", "password": PASSWORD});
    register(&app, &body).await.is(201);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn concurrent_registrations_of_one_email_create_one_account(db: PgPool) {
    let app = TestApp::start(&db).await;
    let spellings = ["ada@mail.example", "ADA@mail.example", "ａda@mail.example", "Ada@Mail.Example"];
    let registrations = (0..20).map(|number| {
        let email = spellings[number % spellings.len()];
        let body = json!({"email": email, "username": format!("name{number}"), "password": PASSWORD});
        let app = &app;
        async move { register(app, &body).await }
    });
    let answers = futures::future::join_all(registrations).await;
    let created = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(created, 1, "{:?}", answers.iter().map(|answer| answer.status).collect::<Vec<_>>());
    for answer in answers.iter().filter(|answer| answer.status != 201) {
        // On a busy machine hashing twenty passwords can outlast the wait for a hashing slot.
        if answer.status == 503 {
            answer.assert_error(503, "busy");
            assert!(answer.header("retry-after").parse::<u32>().unwrap() > 0);
        } else {
            answer.assert_error(409, "email_taken");
        }
    }
    let registered: i64 =
        sqlx::query_scalar("SELECT count(*) FROM events WHERE event_type = 'user_registered'")
            .fetch_one(&db)
            .await
            .unwrap();
    let credentials: i64 =
        sqlx::query_scalar("SELECT count(*) FROM credentials").fetch_one(&db).await.unwrap();
    assert_eq!((registered, credentials), (1, 1));
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn unknown_user_and_wrong_password_get_equal_responses(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person: Person = app.person().await;
    let wrong = login(&app, &person.email, "another password 1").await;
    wrong.assert_error(401, "invalid_credentials");
    let others = [
        login(&app, &person.username, "another password 1").await,
        login(&app, "nobody@mail.example", PASSWORD).await,
        login(&app, "nobody", PASSWORD).await,
        login(&app, &person.email, "").await,
        login(&app, &person.email, &PASSWORD.to_uppercase()).await,
        login(&app, &person.email, &format!("{PASSWORD} ")).await,
    ];
    for other in others {
        assert_eq!(other.status, 401);
        assert_eq!(other.without_request_id(), wrong.without_request_id());
        assert_eq!(other.header("www-authenticate"), "Bearer");
    }
    for no_identifier in ["ada@", "@", "a b", "x", "ada@mail", ""] {
        login(&app, no_identifier, PASSWORD).await.assert_error(400, "invalid_value");
    }
    app.end().await;
}

/// A password over the body limit is rejected before any hashing.
#[sqlx::test(migrator = "MIGRATOR")]
async fn oversized_password_is_rejected_before_hashing(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person: Person = app.person().await;
    let password = "a1".repeat(512 * 1024);
    let bodies = [
        ("/api/auth/login", json!({"username": person.email, "password": password})),
        ("/auth/signin", json!({"email": person.email, "password": password})),
        ("/api/auth/register", json!({"email": "new@mail.example", "password": password})),
        ("/api/auth/password/reset", json!({"token": "vpr_", "password": password})),
    ];
    for (path, body) in bodies {
        app.post(path).json(&body).send().await.assert_error(413, "body_too_large");
    }
    // One that fits into a body but is longer than a password may be is not hashed either.
    let body = json!({"email": "new@mail.example", "password": "a1".repeat(100_000)});
    app.post("/api/auth/register").json(&body).send().await.assert_error(400, "invalid_password");
    app.end().await;
}
