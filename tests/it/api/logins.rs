//! Tests the lifetime of a login: refresh tokens, sign-out, password changes, closed accounts.

use serde_json::{Value, json};
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use crate::support::app::{PASSWORD, Person, TestApp};
use crate::support::client::Answer;

const NEW_PASSWORD: &str = "battery staple 8";

async fn refresh(app: &TestApp, token: &str) -> Answer {
    app.post("/api/auth/refresh").json(&json!({"refresh_token": token})).send().await
}

async fn me(app: &TestApp, access: &str) -> Answer {
    app.get("/api/auth/me").bearer(access).send().await
}

async fn login(app: &TestApp, person: &Person, password: &str) -> Answer {
    let body = json!({"username": person.email, "password": password});
    app.post("/api/auth/login").json(&body).send().await
}

fn text(answer: &Value, name: &str) -> String {
    answer[name].as_str().unwrap().to_owned()
}

/// Each refresh rotates the refresh token.
#[sqlx::test(migrator = "MIGRATOR")]
async fn refresh_rotates_tokens_within_one_login(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let first = refresh(&app, &person.refresh).await.is(200).value();
    assert_ne!(text(&first, "refresh_token"), person.refresh);
    assert_eq!(text(&first["user"], "email"), person.email);
    assert_eq!(first["token_type"], "bearer");
    assert_eq!(first["expires_in"], 1500);
    me(&app, &text(&first, "access_token")).await.is(200);
    // A second refresh, sent as a form.
    let form = [("grant_type", "refresh_token"), ("refresh_token", &text(&first, "refresh_token"))];
    let second = app.post("/api/auth/refresh").form(&form).send().await.is(200).value();
    me(&app, &text(&second, "access_token")).await.is(200);
    let logins: i64 = sqlx::query_scalar("SELECT count(*) FROM logins").fetch_one(&db).await.unwrap();
    assert_eq!(logins, 1);
    app.end().await;
}

/// A token that was used two refreshes ago has been copied, so the whole token family ends.
#[sqlx::test(migrator = "MIGRATOR")]
async fn refresh_token_reuse_ends_login_and_access_tokens(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let other = login(&app, &person, PASSWORD).await.is(200).value();
    let first = refresh(&app, &person.refresh).await.is(200).value();
    let second = refresh(&app, &text(&first, "refresh_token")).await.is(200).value();
    // Reuse of the token from two refreshes ago.
    refresh(&app, &person.refresh).await.assert_error(401, "invalid_token");
    refresh(&app, &text(&second, "refresh_token")).await.assert_error(401, "invalid_token");
    for access in [person.access.clone(), text(&first, "access_token"), text(&second, "access_token")] {
        me(&app, &access).await.assert_error(401, "invalid_token");
    }
    // Another login of the same user is not affected.
    me(&app, &text(&other, "access_token")).await.is(200);
    app.end().await;
}

/// A client that lost the response to a refresh can repeat the refresh.
#[sqlx::test(migrator = "MIGRATOR")]
async fn refresh_can_be_repeated_until_successor_is_used(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let lost = refresh(&app, &person.refresh).await.is(200).value();
    let again = refresh(&app, &person.refresh).await.is(200).value();
    assert_ne!(lost["refresh_token"], again["refresh_token"]);
    // The lost token is dead; presenting it reveals a copy and ends the login.
    refresh(&app, &text(&lost, "refresh_token")).await.assert_error(401, "invalid_token");
    refresh(&app, &text(&again, "refresh_token")).await.assert_error(401, "invalid_token");
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn parallel_refreshes_leave_at_most_one_valid_token(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let answers = futures::future::join_all((0..20).map(|_| refresh(&app, &person.refresh))).await;
    let tokens: Vec<String> = answers
        .iter()
        .filter(|answer| answer.status == 200)
        .map(|answer| answer.field("refresh_token"))
        .collect();
    assert!(!tokens.is_empty());
    let mut live = 0;
    for token in tokens {
        live += usize::from(refresh(&app, &token).await.status == 200);
    }
    assert!(live <= 1, "{live} tokens are still valid");
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn malformed_refresh_token_is_rejected_like_unknown_one(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let made_up = format!("vrt_{}", "A".repeat(43));
    for token in
        ["", "vrt_", "x", &made_up, &person.access, &person.refresh[..46], &format!("{} ", person.refresh)]
    {
        refresh(&app, token).await.assert_error(401, "invalid_token");
    }
    refresh(&app, &person.refresh).await.is(200);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn sign_out_ends_only_its_login(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let other = login(&app, &person, PASSWORD).await.is(200).value();
    app.post("/api/auth/logout").by(&person).send().await.is(204);
    me(&app, &person.access).await.assert_error(401, "invalid_token");
    refresh(&app, &person.refresh).await.assert_error(401, "invalid_token");
    app.post("/api/auth/logout").by(&person).send().await.assert_error(401, "invalid_token");
    me(&app, &text(&other, "access_token")).await.is(200);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn password_change_ends_all_other_logins(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let other = login(&app, &person, PASSWORD).await.is(200).value();
    let change = |old: &str, new: &str| {
        let body = json!({"current_password": old, "new_password": new});
        app.post("/api/auth/password").by(&person).json(&body).send()
    };
    change("not the password 1", NEW_PASSWORD).await.assert_error(403, "wrong_password");
    change(PASSWORD, "short1").await.assert_error(400, "invalid_password");
    change(PASSWORD, &person.email).await.assert_error(400, "invalid_password");
    me(&app, &text(&other, "access_token")).await.is(200);

    assert!(change(PASSWORD, NEW_PASSWORD).await.is(204).position() > 0);
    me(&app, &person.access).await.is(200);
    refresh(&app, &person.refresh).await.is(200);
    me(&app, &text(&other, "access_token")).await.assert_error(401, "invalid_token");
    refresh(&app, &text(&other, "refresh_token")).await.assert_error(401, "invalid_token");
    login(&app, &person, PASSWORD).await.assert_error(401, "invalid_credentials");
    login(&app, &person, NEW_PASSWORD).await.is(200);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn closed_account_is_rejected_everywhere(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let session = app.session(&person).await;
    let reply = app.say(&person, Some(&session), "Again").await["reply_id"].as_str().unwrap().to_owned();
    let other = login(&app, &person, PASSWORD).await.is(200).value();
    let close = |password: &str| {
        app.post("/api/users/me/deactivate").by(&person).json(&json!({"password": password})).send()
    };
    close("not the password 1").await.assert_error(403, "wrong_password");
    close(PASSWORD).await.is(204);

    for access in [person.access.as_str(), other["access_token"].as_str().unwrap()] {
        let calls = [
            app.get("/api/auth/me"),
            app.get("/api/users/me"),
            app.get("/api/history"),
            app.get(&format!("/api/history/{session}")),
            app.patch(&format!("/api/history/{session}")).json(&json!({"title": "x"})),
            app.delete(&format!("/api/history/{session}")),
            app.get(&format!("/api/replies/{reply}")),
            app.post(&format!("/api/replies/{reply}/cancel")),
            app.post("/api/chat").json(&json!({"message": "x"})),
            app.post("/api/chat/stream").json(&json!({"message": "x"})),
            app.get(&format!("/api/chat/stream/{reply}")),
            app.post("/api/auth/password")
                .json(&json!({"current_password": PASSWORD, "new_password": NEW_PASSWORD})),
            app.post("/api/users/me/deactivate").json(&json!({"password": PASSWORD})),
            app.post("/api/auth/logout"),
        ];
        for call in calls {
            call.bearer(access).send().await.assert_error(401, "invalid_token");
        }
    }
    login(&app, &person, PASSWORD).await.assert_error(401, "invalid_credentials");
    refresh(&app, &person.refresh).await.assert_error(401, "invalid_token");
    // The email stays taken.
    let body = json!({"email": person.email, "password": PASSWORD});
    app.post("/api/auth/register").json(&body).send().await.assert_error(409, "email_taken");
    app.end().await;
}

/// Refreshes count per account, whatever the client address; reuse is detected even over the limit.
#[sqlx::test(migrator = "MIGRATOR")]
async fn refreshes_are_rate_limited_per_account(db: PgPool) {
    let limits =
        [("RATE_LIMITS", "on"), ("REFRESH_LIMIT_USER_PER_MINUTE", "3"), ("TRUSTED_PROXIES", "127.0.0.0/8")];
    let app = TestApp::with(&db, &limits).await;
    let (person, other) = (app.person().await, app.person().await);
    let from = async |number: u32, token: &str| {
        let call = app.post("/api/auth/refresh").header("x-forwarded-for", &format!("198.51.100.{number}"));
        call.json(&json!({"refresh_token": token})).send().await
    };
    let mut tokens = vec![person.refresh.clone()];
    for number in 0..3 {
        let fresh = from(number, tokens.last().unwrap()).await.is(200).value();
        tokens.push(text(&fresh, "refresh_token"));
    }
    let refused = from(3, &tokens[3]).await;
    refused.assert_error(429, "too_many_attempts");
    assert_eq!(refused.header("ratelimit-policy"), "\"account\";q=3;w=60");
    // The previous token could still be exchanged, and counts too.
    from(4, &tokens[2]).await.assert_error(429, "too_many_attempts");
    from(5, &other.refresh).await.is(200);
    from(6, &tokens[0]).await.assert_error(401, "invalid_token");
    assert_eq!(from(7, &tokens[3]).await.status, 401, "reuse has ended the login");
    app.end().await;
}
