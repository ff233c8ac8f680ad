//! S14: wrong passwords lock an account for a while, and lock nobody out of what matters.

use serde_json::json;
use sqlx::PgPool;
use verbatim::bootstrap::database::MIGRATOR;

use super::{login, me};
use crate::support::app::{PASSWORD, Person, TestApp, WAIT_TIMEOUT};
use crate::support::client::Answer;

const WRONG: &str = "not the password 1";

/// So many wrong passwords, one after the other; the last answer.
async fn fail(app: &TestApp, identifier: &str, times: usize) -> Answer {
    let mut last = None;
    for _ in 0..times {
        last = Some(login(app, identifier, WRONG).await);
    }
    last.unwrap()
}

#[track_caller]
fn locked(answer: &Answer, at_most: u64) {
    answer.assert_error(429, "too_many_failures");
    let wait: u64 = answer.header("retry-after").parse().unwrap();
    assert!((1..=at_most).contains(&wait), "{wait}");
}

/// Lets the time of everything that is counted pass by.
async fn later(app: &TestApp, seconds: f64) {
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
async fn ten_wrong_passwords_lock_every_door_for_everybody_but_live_logins(db: PgPool) {
    let app = TestApp::start(&db).await;
    let node = TestApp::with(&db, &[("ROLES", "api")]).await;
    let person = app.person().await;
    // Over both nodes, both doors and every spelling.
    for n in 0..10 {
        let name = if n % 3 == 0 { person.email.to_uppercase() } else { person.email.clone() };
        let form = [("username", name.as_str()), ("password", WRONG)];
        let path = if n % 2 == 0 { "/api/auth/login" } else { "/auth/signin" };
        let through = if n < 5 { &app } else { &node };
        through.post(path).form(&form).send().await.assert_error(401, "invalid_credentials");
    }
    for through in [&app, &node] {
        for password in [PASSWORD, WRONG, ""] {
            locked(&login(through, &person.email, password).await, 60);
        }
        let form = [("username", person.email.as_str()), ("password", PASSWORD)];
        locked(&through.post("/auth/signin").form(&form).send().await, 60);
    }
    // What is live goes on: requests, refreshing, and grave changes.
    me(&app, &person.access).await.is(200);
    let body = json!({"refresh_token": person.refresh});
    app.post("/api/auth/refresh").json(&body).send().await.is(200);
    let body = json!({"current_password": PASSWORD, "new_password": "battery staple 8"});
    app.post("/api/auth/password").by(&person).json(&body).send().await.is(204);
    // Which proves who it is, and so unlocks the account.
    login(&app, &person.email, "battery staple 8").await.is(200);
    node.stop(WAIT_TIMEOUT).await;
    app.end().await;
}

/// The count is the database's: it is there when every process was started anew.
#[sqlx::test(migrator = "MIGRATOR")]
async fn the_lock_survives_a_restart_grows_and_ends(db: PgPool) {
    let before = TestApp::start(&db).await;
    let person = before.person().await;
    fail(&before, &person.email, 10).await.assert_error(401, "invalid_credentials");
    before.end().await;
    let app = TestApp::start(&db).await;
    locked(&login(&app, &person.email, PASSWORD).await, 60);
    later(&app, 61.0).await;
    fail(&app, &person.email, 1).await.assert_error(401, "invalid_credentials");
    let answer = login(&app, &person.email, PASSWORD).await;
    locked(&answer, 120);
    assert!(answer.header("retry-after").parse::<u64>().unwrap() > 60);
    later(&app, 121.0).await;
    login(&app, &person.email, PASSWORD).await.is(200);
    fail(&app, &person.email, 9).await.assert_error(401, "invalid_credentials");
    login(&app, &person.email, PASSWORD).await.is(200);
    app.end().await;
}

/// A stranger learns nothing by it: what is not registered is locked in the same way.
#[sqlx::test(migrator = "MIGRATOR")]
async fn what_is_not_registered_is_counted_and_locked_in_the_same_way(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let mut answers = Vec::new();
    for identifier in [person.email.as_str(), "nobody@mail.example", person.username.as_str(), "nobody-here"]
    {
        let wrong = fail(&app, identifier, 10).await;
        let then = login(&app, identifier, PASSWORD).await;
        locked(&then, 60);
        answers.push((wrong.status, wrong.without_request_id(), then.status, then.without_request_id()));
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
    // No name and no address is kept.
    let kept: Vec<String> =
        sqlx::query_scalar("SELECT account FROM sign_in_failures").fetch_all(&db).await.unwrap();
    assert_eq!(kept.len(), 4);
    assert!(
        kept.iter().all(|account| !account.contains("nobody") && !account.contains("person")),
        "{kept:?}"
    );
    app.end().await;
}

/// Wherever two hundred tries come from and however they meet: ten of them are told anything, and the right password among
/// them only if it is one of those.
#[sqlx::test(migrator = "MIGRATOR")]
async fn of_two_hundred_tries_at_once_ten_are_told_anything(db: PgPool) {
    let app = TestApp::start(&db).await;
    let node = TestApp::with(&db, &[("ROLES", "api")]).await;
    let person = app.person().await;
    let mut told = 0;
    // As many at a time as are let wait for their turn to be hashed.
    for round in 0..10 {
        let tries = (0..20).map(|n| {
            let through = if n % 2 == 0 { &app } else { &node };
            let from = format!("198.51.100.{}", round * 20 + n);
            let body = json!({"username": person.email, "password": format!("guess number {n}")});
            through.post("/api/auth/login").header("x-forwarded-for", &from).json(&body).send()
        });
        for answer in futures::future::join_all(tries).await {
            match answer.status {
                401 => told += 1,
                429 => locked(&answer, 60),
                // The machine is busy with other things.
                503 => answer.assert_error(503, "busy"),
                other => panic!("{other}: {}", answer.text),
            }
        }
    }
    assert_eq!(told, 10);
    locked(&login(&app, &person.email, PASSWORD).await, 60);
    node.stop(WAIT_TIMEOUT).await;
    app.end().await;
}

/// Whoever has got hold of an open session does not find the password out by changing it; and a stranger cannot keep the
/// owner from changing it.
#[sqlx::test(migrator = "MIGRATOR")]
async fn passwords_that_are_asked_for_again_are_counted_apart(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let change = |password: &str| {
        let body = json!({"current_password": password, "new_password": "battery staple 8"});
        app.post("/api/auth/password").by(&person).json(&body).send()
    };
    for n in 0..10 {
        let answer = match n % 3 {
            0 => change(WRONG).await,
            1 => {
                app.put("/api/users/me/email")
                    .by(&person)
                    .json(&json!({"email": "new@mail.example", "password": WRONG}))
                    .send()
                    .await
            }
            _ => {
                let body = json!({"password": WRONG});
                app.post("/api/users/me/deactivate").by(&person).json(&body).send().await
            }
        };
        answer.assert_error(403, "wrong_password");
    }
    locked(&change(PASSWORD).await, 60);
    // Signing in is another matter.
    login(&app, &person.email, PASSWORD).await.is(200);
    later(&app, 61.0).await;
    change(PASSWORD).await.is(204);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn the_figures_can_be_set(db: PgPool) {
    let variables = [("LOCKOUT_FAILURES", "3"), ("LOCKOUT_SECONDS", "600"), ("LOCKOUT_MAX_SECONDS", "700")];
    let app = TestApp::with(&db, &variables).await;
    let person: Person = app.person().await;
    fail(&app, &person.email, 3).await.assert_error(401, "invalid_credentials");
    let answer = login(&app, &person.email, PASSWORD).await;
    locked(&answer, 600);
    assert!(answer.header("retry-after").parse::<u64>().unwrap() > 500);
    later(&app, 601.0).await;
    fail(&app, &person.email, 1).await;
    let answer = login(&app, &person.email, PASSWORD).await;
    locked(&answer, 700);
    assert!(answer.header("retry-after").parse::<u64>().unwrap() > 600);
    app.end().await;
}

/// A closed account is locked as any other, and looks like one that is not there.
#[sqlx::test(migrator = "MIGRATOR")]
async fn the_right_password_of_a_closed_account_is_a_wrong_one(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let body = json!({"password": PASSWORD});
    app.post("/api/users/me/deactivate").by(&person).json(&body).send().await.is(204);
    for _ in 0..10 {
        login(&app, &person.email, PASSWORD).await.assert_error(401, "invalid_credentials");
    }
    locked(&login(&app, &person.email, PASSWORD).await, 60);
    app.end().await;
}
