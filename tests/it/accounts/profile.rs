//! Tests email and username changes: releases of the old value, conflicts, repetitions, limits.

use serde_json::{Value, json};
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use super::{login, me, user_event_types, user_events};
use crate::support::app::{PASSWORD, Person, TestApp, WAIT_TIMEOUT};
use crate::support::client::{Answer, Call};

fn email(app: &TestApp, person: &Person, email: &str, password: &str) -> Call {
    app.put("/api/users/me/email").by(person).json(&json!({"email": email, "password": password}))
}

fn username(app: &TestApp, person: &Person, username: &str) -> Call {
    app.put("/api/users/me/username").by(person).json(&json!({"username": username}))
}

async fn register(app: &TestApp, email: &str, username: Option<&str>) -> Answer {
    let body = json!({"email": email, "username": username, "password": PASSWORD});
    app.post("/api/auth/register").json(&body).send().await
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn email_change_moves_sign_in_and_releases_old_address(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let answer = email(&app, &person, "New.One@mail.example", PASSWORD).send().await.is(200);
    assert_eq!(answer.field("email"), "New.One@mail.example");
    let position = answer.position();
    assert!(position > 0);
    assert_eq!(me(&app, &person.access).await.value(), answer.value());
    login(&app, "new.one@mail.example", PASSWORD).await.is(200);
    login(&app, &person.email, PASSWORD).await.assert_error(401, "invalid_credentials");
    // Existing logins stay valid.
    me(&app, &person.access).await.is(200);

    register(&app, &person.email, None).await.is(201);
    register(&app, "NEW.one@mail.example", None).await.assert_error(409, "email_taken");
    let sealed = user_events(&app, &person).await;
    assert_eq!(sealed.len(), 1);
    assert!(sealed[0].1["email"]["$sealed"].is_string(), "{sealed:?}");
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn invalid_email_change_is_rejected_without_events(db: PgPool) {
    let app = TestApp::start(&db).await;
    let (person, other) = (app.person().await, app.person().await);
    let events = app.events().await;
    let taken = other.email.to_uppercase();
    email(&app, &person, &taken, PASSWORD).send().await.assert_error(409, "email_taken");
    email(&app, &person, "nowhere", PASSWORD).send().await.assert_error(400, "invalid_value");
    email(&app, &person, "free@mail.example", "not the password 1")
        .send()
        .await
        .assert_error(403, "wrong_password");
    app.put("/api/users/me/email")
        .by(&person)
        .json(&json!({"email": "free@mail.example"}))
        .send()
        .await
        .assert_error(422, "malformed_request");
    app.put("/api/users/me/email")
        .json(&json!({"email": "free@mail.example", "password": PASSWORD}))
        .send()
        .await
        .assert_error(401, "invalid_token");
    // Setting the current address again is no change.
    email(&app, &person, &person.email, PASSWORD).send().await.is(200);
    assert_eq!(app.events().await, events);
    register(&app, "free@mail.example", None).await.is(201);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn respelling_own_email_keeps_claim(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let upper_case = person.email.to_uppercase();
    let answer = email(&app, &person, &upper_case, PASSWORD).send().await.is(200);
    assert_eq!(answer.field("email"), upper_case);
    assert_eq!(user_event_types(&app, &person).await, ["email_changed"]);
    register(&app, &person.email, None).await.assert_error(409, "email_taken");
    login(&app, &person.email, PASSWORD).await.is(200);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn keyed_profile_change_runs_once(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let change = || email(&app, &person, "moved@mail.example", PASSWORD).key("move-1").send();
    let first = change().await.is(200);
    let again = change().await.is(200);
    assert_eq!((first.value(), first.position()), (again.value(), again.position()));
    let other = email(&app, &person, "further@mail.example", PASSWORD).key("move-1").send().await;
    other.assert_error(422, "idempotency_key_reused");
    let rename = || username(&app, &person, "moved-on").key("name-1").send();
    assert_eq!(rename().await.is(200).value(), rename().await.is(200).value());
    assert_eq!(user_event_types(&app, &person).await, ["email_changed", "username_changed"]);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn username_can_be_set_changed_and_reused(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let answer = username(&app, &person, "Zoë").send().await.is(200);
    assert_eq!(answer.field("username"), "Zoë");
    assert!(answer.position() > 0);
    login(&app, "ZOE\u{308}", PASSWORD).await.is(200);
    login(&app, &person.username, PASSWORD).await.assert_error(401, "invalid_credentials");

    let nameless = register(&app, "nameless@mail.example", None).await.is(201);
    let nameless = Person { access: nameless.field("access_token"), ..person.clone() };
    username(&app, &nameless, "zoë").send().await.assert_error(409, "username_taken");
    username(&app, &nameless, "a b").send().await.assert_error(400, "invalid_value");
    // The name that the first user released.
    username(&app, &nameless, &person.username).send().await.is(200);
    let answer = login(&app, &person.username, PASSWORD).await.is(200).value();
    assert_eq!(answer["user"]["email"], "nameless@mail.example");
    app.end().await;
}

/// Concurrent changes leave one username and exactly its claim.
#[sqlx::test(migrator = "MIGRATOR")]
async fn concurrent_changes_leave_one_username_claim(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let change = |number: usize| username(&app, &person, &format!("name-{number}")).send();
    let answers = futures::future::join_all((0..12).map(change)).await;
    for answer in &answers {
        assert!(answer.status == 200 || answer.status == 409 || answer.status == 503, "{}", answer.text);
    }
    let now = me(&app, &person.access).await.field("username");
    let claims: i64 = sqlx::query_scalar(
        "SELECT coalesce(sum(CASE event_type WHEN 'claim_taken' THEN 1 ELSE -1 END), 0) FROM events
         WHERE aggregate_type = 'claim' AND aggregate_id LIKE 'username:%'",
    )
    .fetch_one(&db)
    .await
    .unwrap();
    assert_eq!(claims, 1);
    login(&app, &now, PASSWORD).await.is(200);
    app.end().await;
}

/// An address wanted by concurrent changes and a registration has one owner.
#[sqlx::test(migrator = "MIGRATOR")]
async fn contended_email_gets_one_owner(db: PgPool) {
    let app = TestApp::start(&db).await;
    let mut people = Vec::new();
    for _ in 0..6 {
        people.push(app.person().await);
    }
    let changes = people.iter().map(|person| email(&app, person, "wanted@mail.example", PASSWORD).send());
    let registration = register(&app, "Wanted@mail.example", None);
    let (answers, registered) = futures::future::join(futures::future::join_all(changes), registration).await;
    let won =
        answers.iter().filter(|answer| answer.status == 200).count() + usize::from(registered.status == 201);
    assert_eq!(won, 1, "{:?}", answers.iter().map(|answer| answer.status).collect::<Vec<_>>());
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn privileged_fields_in_account_requests_are_ignored(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let extra = |mut body: Value| {
        let more = json!({
            "id": person.id, "user_id": uuid::Uuid::from_u128(7), "role": "admin", "is_active": false, "sender": "ai",
            "status": "x", "created_at": "2000-01-01T00:00:00Z", "position": 1, "email_verified": true,
        });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let mut registration =
        extra(json!({"email": "extra@mail.example", "username": "extra", "password": PASSWORD}));
    registration["id"] = json!(uuid::Uuid::from_u128(9));
    let made = app.post("/api/auth/register").json(&registration).send().await.is(201).value();
    assert_eq!((&made["is_active"], &made["user"]["role"]), (&json!(true), &json!("user")));
    let made = Person {
        id: made["id"].as_str().unwrap().parse().unwrap(),
        access: made["access_token"].as_str().unwrap().to_owned(),
        ..person.clone()
    };
    let (path, body) = ("/api/users/me/email", json!({"email": "x1@mail.example", "password": PASSWORD}));
    app.put(path).by(&made).json(&extra(body)).send().await.is(200);
    app.put("/api/users/me/username").by(&made).json(&extra(json!({"username": "x-1"}))).send().await.is(200);
    let body = json!({"current_password": PASSWORD, "new_password": "battery staple 8"});
    app.post("/api/auth/password").by(&made).json(&extra(body)).send().await.is(204);
    let body = json!({"email": "x1@mail.example"});
    app.post("/api/auth/password/forgot").json(&extra(body)).send().await.is(202);

    let expected = [
        ("email_changed", vec!["email", "type", "user_id"]),
        ("username_changed", vec!["type", "user_id", "username"]),
        ("password_changed", vec!["type", "user_id"]),
    ];
    for ((kind, payload), (name, fields)) in user_events(&app, &made).await.iter().zip(expected) {
        let keys: Vec<&str> = payload.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!((kind.as_str(), keys), (name, fields));
        assert_eq!(payload["user_id"], json!(made.id));
    }
    let user = me(&app, &made.access).await.value();
    assert_eq!((&user["role"], &user["is_active"]), (&json!("user"), &json!(true)));
    app.end().await;
}

/// A user whom another process has just registered gets a retryable error, not a rejection, while the read model lags.
#[sqlx::test(migrator = "MIGRATOR")]
async fn user_not_yet_projected_gets_retryable_error(db: PgPool) {
    let app = TestApp::start(&db).await;
    app.person().await;
    app.wait_for_projections().await;
    let mut held = db.begin().await.unwrap();
    sqlx::query("SELECT FROM checkpoints WHERE projection = 'users' FOR UPDATE")
        .execute(&mut *held)
        .await
        .unwrap();
    let made = register(&app, "new@mail.example", None).await.is(201);
    let access = made.field("access_token");
    for answer in [login(&app, "new@mail.example", PASSWORD).await, me(&app, &access).await] {
        answer.assert_error(503, "unavailable");
        assert_eq!(answer.header("retry-after"), "1");
    }
    held.rollback().await.unwrap();
    app.wait_for_projections().await;
    login(&app, "new@mail.example", PASSWORD).await.is(200);
    me(&app, &access).await.is(200);
    app.end().await;
}

/// Enumerating accounts by profile changes is limited like registration: one count for addresses and names, on all
/// nodes.
#[sqlx::test(migrator = "MIGRATOR")]
async fn profile_change_enumeration_is_rate_limited(db: PgPool) {
    let limits = [("RATE_LIMITS", "on"), ("REGISTER_LIMIT_ADDRESS_PER_HOUR", "3")];
    let (app, node) = (TestApp::with(&db, &limits).await, TestApp::with(&db, &limits).await);
    let (person, victim) = (app.person().await, app.person().await);
    // Changes that reveal nothing are free.
    for own in [person.email.to_uppercase(), person.email.clone(), person.email.to_uppercase()] {
        email(&app, &person, &own, PASSWORD).send().await.is(200);
    }
    username(&app, &person, &person.username.to_uppercase()).send().await.is(200);
    email(&app, &person, "nowhere", PASSWORD).send().await.assert_error(400, "invalid_value");
    email(&app, &person, &victim.email, PASSWORD).send().await.assert_error(409, "email_taken");
    username(&node, &person, &victim.username).send().await.assert_error(409, "username_taken");
    let moved = || username(&app, &person, "another-name").key("name-1").send();
    moved().await.is(200);
    let events = app.events().await;
    for app in [&app, &node] {
        let refused = email(app, &person, "nobody@mail.example", PASSWORD).send().await;
        refused.assert_error(429, "too_many_attempts");
        let seconds: u64 = refused.header("retry-after").parse().unwrap();
        assert!((1..=5400).contains(&seconds), "{seconds}");
        assert_eq!(refused.header("ratelimit-policy"), "\"names\";q=3;w=3600");
        assert_eq!(refused.header("ratelimit"), format!("\"names\";r=0;t={seconds}"));
        username(app, &person, "nobodys-name").send().await.assert_error(429, "too_many_attempts");
    }
    assert_eq!(app.events().await, events);
    // A repetition does not count, and other users are not limited.
    assert_eq!(moved().await.is(200).field("username"), "another-name");
    username(&app, &victim, "a-name-of-its-own").send().await.is(200);
    node.stop(WAIT_TIMEOUT).await;
    app.end().await;
}
