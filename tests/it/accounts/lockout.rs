//! Tests the lockout after wrong passwords: it blocks new sign-ins for a while, and neither live logins nor resets.

use serde_json::json;
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use super::{login, me};
use crate::support::app::{PASSWORD, Person, TestApp, WAIT_TIMEOUT};
use crate::support::client::Answer;

const WRONG_PASSWORD: &str = "not the password 1";

/// Sends `times` wrong passwords one after the other; returns the last response.
async fn fail_sign_ins(app: &TestApp, identifier: &str, times: usize) -> Answer {
    let mut last = None;
    for _ in 0..times {
        last = Some(login(app, identifier, WRONG_PASSWORD).await);
    }
    last.unwrap()
}

#[track_caller]
fn assert_locked(answer: &Answer, max_seconds: u64) {
    answer.assert_error(429, "too_many_failures");
    let wait: u64 = answer.header("retry-after").parse().unwrap();
    assert!((1..=max_seconds).contains(&wait), "{wait}");
}

/// Moves all lockout times into the past by `seconds`.
async fn advance_lockout_clock(app: &TestApp, seconds: f64) {
    sqlx::query(
        "UPDATE sign_in_failures SET since = since - make_interval(secs => $1),
            locked_until = locked_until - make_interval(secs => $1),
            expires_at = expires_at - make_interval(secs => $1)",
    )
    .bind(seconds)
    .execute(&app.db)
    .await
    .unwrap();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn ten_wrong_passwords_lock_every_sign_in_but_not_live_logins(db: PgPool) {
    let app = TestApp::start(&db).await;
    let node = TestApp::with(&db, &[("ROLES", "api")]).await;
    let person = app.person().await;
    // Spread over both nodes, both sign-in routes and several spellings.
    for n in 0..10 {
        let name = if n % 3 == 0 { person.email.to_uppercase() } else { person.email.clone() };
        let form = [("username", name.as_str()), ("password", WRONG_PASSWORD)];
        let path = if n % 2 == 0 { "/api/auth/login" } else { "/auth/signin" };
        let through = if n < 5 { &app } else { &node };
        through.post(path).form(&form).send().await.assert_error(401, "invalid_credentials");
    }
    for through in [&app, &node] {
        for password in [PASSWORD, WRONG_PASSWORD, ""] {
            assert_locked(&login(through, &person.email, password).await, 60);
        }
        let form = [("username", person.email.as_str()), ("password", PASSWORD)];
        assert_locked(&through.post("/auth/signin").form(&form).send().await, 60);
    }
    // Live logins keep working: requests, refreshes, and changes that require the password.
    me(&app, &person.access).await.is(200);
    let body = json!({"refresh_token": person.refresh});
    app.post("/api/auth/refresh").json(&body).send().await.is(200);
    let body = json!({"current_password": PASSWORD, "new_password": "battery staple 8"});
    app.post("/api/auth/password").by(&person).json(&body).send().await.is(204);
    // The password change proved the owner's identity and unlocked the account.
    login(&app, &person.email, "battery staple 8").await.is(200);
    node.stop(WAIT_TIMEOUT).await;
    app.end().await;
}

/// The count is stored in the database, so it survives a restart of every process.
#[sqlx::test(migrator = "MIGRATOR")]
async fn lockout_survives_restart_grows_and_expires(db: PgPool) {
    let before = TestApp::start(&db).await;
    let person = before.person().await;
    fail_sign_ins(&before, &person.email, 10).await.assert_error(401, "invalid_credentials");
    before.end().await;
    let app = TestApp::start(&db).await;
    assert_locked(&login(&app, &person.email, PASSWORD).await, 60);
    advance_lockout_clock(&app, 61.0).await;
    fail_sign_ins(&app, &person.email, 1).await.assert_error(401, "invalid_credentials");
    let answer = login(&app, &person.email, PASSWORD).await;
    assert_locked(&answer, 120);
    assert!(answer.header("retry-after").parse::<u64>().unwrap() > 60);
    advance_lockout_clock(&app, 121.0).await;
    login(&app, &person.email, PASSWORD).await.is(200);
    fail_sign_ins(&app, &person.email, 9).await.assert_error(401, "invalid_credentials");
    login(&app, &person.email, PASSWORD).await.is(200);
    app.end().await;
}

/// The lockout does not reveal which accounts exist: unknown names are locked in the same way.
#[sqlx::test(migrator = "MIGRATOR")]
async fn unknown_accounts_are_locked_like_existing_ones(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let mut answers = Vec::new();
    for identifier in [person.email.as_str(), "nobody@mail.example", person.username.as_str(), "nobody-here"]
    {
        let wrong = fail_sign_ins(&app, identifier, 10).await;
        let locked = login(&app, identifier, PASSWORD).await;
        assert_locked(&locked, 60);
        answers.push((wrong.status, wrong.without_request_id(), locked.status, locked.without_request_id()));
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
    // No username and no email is stored.
    let kept: Vec<String> =
        sqlx::query_scalar("SELECT account FROM sign_in_failures").fetch_all(&db).await.unwrap();
    assert_eq!(kept.len(), 4);
    assert!(
        kept.iter().all(|account| !account.contains("nobody") && !account.contains("person")),
        "{kept:?}"
    );
    app.end().await;
}

/// Of two hundred concurrent guesses from different addresses only ten are checked; the correct password would
/// succeed only among these.
#[sqlx::test(migrator = "MIGRATOR")]
async fn only_ten_of_200_concurrent_guesses_are_checked(db: PgPool) {
    let app = TestApp::start(&db).await;
    let node = TestApp::with(&db, &[("ROLES", "api")]).await;
    let person = app.person().await;
    let mut checked = 0;
    // No more at a time than fit into the hashing queue.
    for round in 0..10 {
        let tries = (0..20).map(|n| {
            let through = if n % 2 == 0 { &app } else { &node };
            let from = format!("198.51.100.{}", round * 20 + n);
            let body = json!({"username": person.email, "password": format!("guess number {n}")});
            through.post("/api/auth/login").header("x-forwarded-for", &from).json(&body).send()
        });
        for answer in futures::future::join_all(tries).await {
            match answer.status {
                401 => checked += 1,
                429 => assert_locked(&answer, 60),
                // The machine is busy with other tests.
                503 => answer.assert_error(503, "busy"),
                other => panic!("{other}: {}", answer.text),
            }
        }
    }
    assert_eq!(checked, 10);
    assert_locked(&login(&app, &person.email, PASSWORD).await, 60);
    node.stop(WAIT_TIMEOUT).await;
    app.end().await;
}

/// Password checks of a live login are counted separately: a stolen session cannot guess the password, and failed
/// sign-ins by a stranger do not block the owner's changes.
#[sqlx::test(migrator = "MIGRATOR")]
async fn reauthentication_failures_are_counted_separately(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let change = |password: &str| {
        let body = json!({"current_password": password, "new_password": "battery staple 8"});
        app.post("/api/auth/password").by(&person).json(&body).send()
    };
    for n in 0..10 {
        let answer = match n % 3 {
            0 => change(WRONG_PASSWORD).await,
            1 => {
                app.put("/api/users/me/email")
                    .by(&person)
                    .json(&json!({"email": "new@mail.example", "password": WRONG_PASSWORD}))
                    .send()
                    .await
            }
            _ => {
                let body = json!({"password": WRONG_PASSWORD});
                app.post("/api/users/me/deactivate").by(&person).json(&body).send().await
            }
        };
        answer.assert_error(403, "wrong_password");
    }
    assert_locked(&change(PASSWORD).await, 60);
    // Sign-in is not affected.
    login(&app, &person.email, PASSWORD).await.is(200);
    advance_lockout_clock(&app, 61.0).await;
    change(PASSWORD).await.is(204);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn lockout_limits_are_configurable(db: PgPool) {
    let variables = [("LOCKOUT_FAILURES", "3"), ("LOCKOUT_SECONDS", "600"), ("LOCKOUT_MAX_SECONDS", "700")];
    let app = TestApp::with(&db, &variables).await;
    let person: Person = app.person().await;
    fail_sign_ins(&app, &person.email, 3).await.assert_error(401, "invalid_credentials");
    let answer = login(&app, &person.email, PASSWORD).await;
    assert_locked(&answer, 600);
    assert!(answer.header("retry-after").parse::<u64>().unwrap() > 500);
    advance_lockout_clock(&app, 601.0).await;
    fail_sign_ins(&app, &person.email, 1).await;
    let answer = login(&app, &person.email, PASSWORD).await;
    assert_locked(&answer, 700);
    assert!(answer.header("retry-after").parse::<u64>().unwrap() > 600);
    app.end().await;
}

/// A closed account is locked like any other, and looks like an unknown one.
#[sqlx::test(migrator = "MIGRATOR")]
async fn closed_account_rejects_correct_password_and_locks(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let body = json!({"password": PASSWORD});
    app.post("/api/users/me/deactivate").by(&person).json(&body).send().await.is(204);
    for _ in 0..10 {
        login(&app, &person.email, PASSWORD).await.assert_error(401, "invalid_credentials");
    }
    assert_locked(&login(&app, &person.email, PASSWORD).await, 60);
    app.end().await;
}
