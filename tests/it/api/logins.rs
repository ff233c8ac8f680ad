//! The life of a login: refresh tokens, signing out, a new password, a closed account.

use serde_json::{Value, json};
use sqlx::PgPool;
use verbatim::bootstrap::database::MIGRATOR;

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

/// S9: each use rotates.
#[sqlx::test(migrator = "MIGRATOR")]
async fn a_refresh_token_is_exchanged_for_new_tokens_of_the_same_login(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let first = refresh(&app, &person.refresh).await.is(200).value();
    assert_ne!(text(&first, "refresh_token"), person.refresh);
    assert_eq!(text(&first["user"], "email"), person.email);
    assert_eq!(first["token_type"], "bearer");
    assert_eq!(first["expires_in"], 1500);
    me(&app, &text(&first, "access_token")).await.is(200);
    // As a form, and once more.
    let form = [("grant_type", "refresh_token"), ("refresh_token", &text(&first, "refresh_token"))];
    let second = app.post("/api/auth/refresh").form(&form).send().await.is(200).value();
    me(&app, &text(&second, "access_token")).await.is(200);
    let logins: i64 = sqlx::query_scalar("SELECT count(*) FROM logins").fetch_one(&db).await.unwrap();
    assert_eq!(logins, 1);
    app.end().await;
}

/// S9: a copy ends the family.
#[sqlx::test(migrator = "MIGRATOR")]
async fn the_reuse_of_an_old_token_ends_the_login_and_its_access_tokens(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let other = login(&app, &person, PASSWORD).await.is(200).value();
    let first = refresh(&app, &person.refresh).await.is(200).value();
    let second = refresh(&app, &text(&first, "refresh_token")).await.is(200).value();
    // Two steps back: somebody has a copy.
    refresh(&app, &person.refresh).await.assert_error(401, "invalid_token");
    refresh(&app, &text(&second, "refresh_token")).await.assert_error(401, "invalid_token");
    for access in [person.access.clone(), text(&first, "access_token"), text(&second, "access_token")] {
        me(&app, &access).await.assert_error(401, "invalid_token");
    }
    // Another login of the same person goes on.
    me(&app, &text(&other, "access_token")).await.is(200);
    app.end().await;
}

/// S9: a lost answer.
#[sqlx::test(migrator = "MIGRATOR")]
async fn a_lost_answer_is_asked_for_again_as_long_as_its_successor_is_unused(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let lost = refresh(&app, &person.refresh).await.is(200).value();
    let again = refresh(&app, &person.refresh).await.is(200).value();
    assert_ne!(lost["refresh_token"], again["refresh_token"]);
    // What was lost is dead from now on; whoever shows it has read another's answer.
    refresh(&app, &text(&lost, "refresh_token")).await.assert_error(401, "invalid_token");
    refresh(&app, &text(&again, "refresh_token")).await.assert_error(401, "invalid_token");
    app.end().await;
}

/// S10.
#[sqlx::test(migrator = "MIGRATOR")]
async fn parallel_uses_of_one_refresh_token_leave_at_most_one_live_branch(db: PgPool) {
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
    assert!(live <= 1, "{live} branches live on");
    app.end().await;
}

/// S5, S11.
#[sqlx::test(migrator = "MIGRATOR")]
async fn what_is_no_refresh_token_is_refused_like_a_wrong_one(db: PgPool) {
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

/// S6, S11.
#[sqlx::test(migrator = "MIGRATOR")]
async fn signing_out_ends_this_login_and_no_other(db: PgPool) {
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

/// S6, S11, S17.
#[sqlx::test(migrator = "MIGRATOR")]
async fn a_new_password_ends_every_other_login(db: PgPool) {
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

/// S6.
#[sqlx::test(migrator = "MIGRATOR")]
async fn a_closed_account_is_closed_everywhere(db: PgPool) {
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
    // The address stays taken.
    let body = json!({"email": person.email, "password": PASSWORD});
    app.post("/api/auth/register").json(&body).send().await.assert_error(409, "email_taken");
    app.end().await;
}

/// S36: one account is refreshed only so often, wherever that comes from; a copy is noticed all the same.
#[sqlx::test(migrator = "MIGRATOR")]
async fn the_tokens_of_one_account_are_exchanged_only_so_often(db: PgPool) {
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
    // The one before it could be exchanged too, and counts.
    from(4, &tokens[2]).await.assert_error(429, "too_many_attempts");
    from(5, &other.refresh).await.is(200);
    from(6, &tokens[0]).await.assert_error(401, "invalid_token");
    assert_eq!(from(7, &tokens[3]).await.status, 401, "a copy has ended the login");
    app.end().await;
}
