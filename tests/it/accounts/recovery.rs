//! Tests password resets: only a person who receives the account's mail can replace a forgotten password.

use serde_json::{Value, json};
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use super::mail::{request_reset, wait_for_empty_outbox, with_mail};
use super::mail_server::MailServer;
use super::{login, me, program_on_database_of, user_event_types};
use crate::sockets::client::Socket;
use crate::support::app::{PASSWORD, Person, TestApp, WAIT_TIMEOUT};
use crate::support::client::{Answer, Call};

const NEW_PASSWORD: &str = "battery staple 8";

fn reset(app: &TestApp, token: &str, password: &str) -> Call {
    app.post("/api/auth/password/reset").json(&json!({"token": token, "password": password}))
}

/// Requests a reset and returns the token from the mail.
async fn mailed_token(app: &TestApp, server: &MailServer, person: &Person) -> String {
    let before = server.mails().len();
    request_reset(app, &person.email).await;
    let mail = server.wait_for_mail(app, before + 1).await;
    assert_eq!(mail.to(), person.email);
    wait_for_empty_outbox(app).await;
    mail.token()
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn reset_token_works_once_and_ends_all_logins(db: PgPool) {
    let server = MailServer::start().await;
    let app = with_mail(&db, &server, &[]).await;
    let node = TestApp::with(&db, &[("ROLES", "api")]).await;
    let person = app.person().await;
    let mut socket = Socket::of(&node, &person).await;
    let token = mailed_token(&app, &server, &person).await;
    // Requesting a reset changes nothing.
    login(&app, &person.email, PASSWORD).await.is(200);

    let answer = reset(&app, &token, NEW_PASSWORD).send().await.is(204);
    assert!(answer.position() > 0);
    assert_eq!(user_event_types(&app, &person).await, ["password_changed"]);
    login(&app, &person.email, PASSWORD).await.assert_error(401, "invalid_credentials");
    login(&app, &person.email, NEW_PASSWORD).await.is(200);
    assert_eq!(socket.closed().await, 4401);
    me(&app, &person.access).await.assert_error(401, "invalid_token");
    app.wait_until("the other node rejects the token", async || {
        me(&node, &person.access).await.status == 401
    })
    .await;
    let body = json!({"refresh_token": person.refresh});
    app.post("/api/auth/refresh").json(&body).send().await.assert_error(401, "invalid_token");

    reset(&app, &token, "another horse 9").send().await.assert_error(401, "invalid_token");
    // The owner gets a notice.
    let mail = server.wait_for_mail(&app, 2).await;
    assert_eq!((mail.to(), mail.header("subject")), (person.email.as_str(), "Your password was changed"));
    node.stop(WAIT_TIMEOUT).await;
    app.end().await;
}

/// Body, status, headers and stored row are the same for every address; the account is looked up later, by the sender.
#[sqlx::test(migrator = "MIGRATOR")]
async fn reset_request_reveals_nothing(db: PgPool) {
    let server = MailServer::start().await;
    let app = with_mail(&db, &server, &[("ROLES", "api,project")]).await;
    let (person, closed) = (app.person().await, app.person().await);
    let body = json!({"password": PASSWORD});
    app.post("/api/users/me/deactivate").by(&closed).json(&body).send().await.is(204);
    let ask = async |email: &str| -> (u16, Value, Vec<String>) {
        let answer: Answer =
            app.post("/api/auth/password/forgot").json(&json!({"email": email})).send().await;
        let mut headers: Vec<String> = answer.headers.keys().map(ToString::to_string).collect();
        headers.sort();
        (answer.status, answer.value(), headers)
    };
    let known = ask(&person.email).await;
    assert_eq!(known.0, 202);
    for email in ["nobody@mail.example", closed.email.as_str(), "NOBODY@mail.example"] {
        assert_eq!(ask(email).await, known, "{email}");
    }
    // The same as a form, immediately afterwards.
    let form = [("email", person.email.as_str())];
    assert_eq!(app.post("/api/auth/password/forgot").form(&form).send().await.is(202).value(), known.1);
    app.post("/api/auth/password/forgot")
        .json(&json!({"email": "nowhere"}))
        .send()
        .await
        .assert_error(400, "invalid_value");
    // One row of the same shape for each requested address.
    let rows: Vec<(String, bool, bool)> =
        sqlx::query_as("SELECT kind, user_id IS NULL, claim LIKE 'email:%' FROM mails")
            .fetch_all(&db)
            .await
            .unwrap();
    assert_eq!(rows, vec![("password_reset".to_owned(), true, true); 3]);
    app.end().await;

    let app = with_mail(&db, &server, &[]).await;
    wait_for_empty_outbox(&app).await;
    let to: Vec<String> = server.mails().iter().map(|mail| mail.to().to_owned()).collect();
    assert_eq!(to, [person.email]);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn invalid_reset_tokens_are_rejected(db: PgPool) {
    let server = MailServer::start().await;
    let app = with_mail(&db, &server, &[]).await;
    let person = app.person().await;
    let token = mailed_token(&app, &server, &person).await;
    let made_up = format!("vpr_{}", "A".repeat(43));
    // Other kinds of tokens are not accepted either.
    for wrong in
        ["", "x", "vpr_", &made_up, &token[..46], &format!("{token} "), &person.refresh, &person.access]
    {
        reset(&app, wrong, NEW_PASSWORD).send().await.assert_error(401, "invalid_token");
    }
    // An invalid password does not use up the token.
    for password in ["short1", "12345678", "Password1", &person.email] {
        reset(&app, &token, password).send().await.assert_error(400, "invalid_password");
    }
    sqlx::query("UPDATE password_resets SET ends_at = clock_timestamp()").execute(&db).await.unwrap();
    reset(&app, &token, NEW_PASSWORD).send().await.assert_error(401, "invalid_token");
    login(&app, &person.email, PASSWORD).await.is(200);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn concurrent_resets_let_one_win(db: PgPool) {
    let server = MailServer::start().await;
    let app = with_mail(&db, &server, &[]).await;
    let person = app.person().await;
    let tokens = [mailed_token(&app, &server, &person).await, mailed_token(&app, &server, &person).await];
    assert_ne!(tokens[0], tokens[1]);
    let tries = (0..8).map(|n| reset(&app, &tokens[n % 2], &format!("battery staple {n}")).send());
    let answers = futures::future::join_all(tries).await;
    let won: Vec<usize> = (0..8).filter(|n| answers[*n].status == 204).collect();
    assert_eq!(won.len(), 1, "{answers:?}");
    for answer in answers.iter().filter(|answer| answer.status != 204) {
        assert!([401, 503].contains(&answer.status), "{}", answer.text);
    }
    assert_eq!(user_event_types(&app, &person).await, ["password_changed"]);
    login(&app, &person.email, &format!("battery staple {}", won[0])).await.is(200);
    wait_for_empty_outbox(&app).await;
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn keyed_reset_runs_once(db: PgPool) {
    let server = MailServer::start().await;
    let app = with_mail(&db, &server, &[]).await;
    let person = app.person().await;
    let token = mailed_token(&app, &server, &person).await;
    let first = reset(&app, &token, NEW_PASSWORD).key("reset-1").send().await.is(204);
    let again = reset(&app, &token, NEW_PASSWORD).key("reset-1").send().await.is(204);
    assert_eq!(first.position(), again.position());
    reset(&app, &token, "another horse 9")
        .key("reset-1")
        .send()
        .await
        .assert_error(422, "idempotency_key_reused");
    assert_eq!(user_event_types(&app, &person).await, ["password_changed"]);
    wait_for_empty_outbox(&app).await;
    app.end().await;
}

/// Changes by the owner invalidate tokens that were issued before.
#[sqlx::test(migrator = "MIGRATOR")]
async fn account_change_invalidates_reset_tokens(db: PgPool) {
    let server = MailServer::start().await;
    let app = with_mail(&db, &server, &[]).await;
    for how in ["password", "email", "account"] {
        let person = app.person().await;
        let token = mailed_token(&app, &server, &person).await;
        let call = match how {
            "password" => app
                .post("/api/auth/password")
                .json(&json!({"current_password": PASSWORD, "new_password": "another horse 9"})),
            "email" => app
                .put("/api/users/me/email")
                .json(&json!({"email": format!("new.{}", person.email), "password": PASSWORD})),
            _ => app.post("/api/users/me/deactivate").json(&json!({"password": PASSWORD})),
        };
        assert!(call.by(&person).send().await.status < 300, "{how}");
        reset(&app, &token, NEW_PASSWORD).send().await.assert_error(401, "invalid_token");
        wait_for_empty_outbox(&app).await;
    }
    app.end().await;
}

/// A lockout is no denial of service: a stranger who locks an account cannot keep its owner out.
#[sqlx::test(migrator = "MIGRATOR")]
async fn reset_unlocks_account_locked_by_stranger(db: PgPool) {
    let server = MailServer::start().await;
    let app = with_mail(&db, &server, &[]).await;
    let person = app.person().await;
    for identifier in [&person.email, &person.username] {
        for _ in 0..10 {
            login(&app, identifier, "not the password 1").await.assert_error(401, "invalid_credentials");
        }
        login(&app, identifier, PASSWORD).await.assert_error(429, "too_many_failures");
    }
    let token = mailed_token(&app, &server, &person).await;
    reset(&app, &token, NEW_PASSWORD).send().await.is(204);
    login(&app, &person.email, NEW_PASSWORD).await.is(200);
    login(&app, &person.username, NEW_PASSWORD).await.is(200);
    wait_for_empty_outbox(&app).await;
    app.end().await;
}

/// Repeated requests cannot flood a mailbox.
#[sqlx::test(migrator = "MIGRATOR")]
async fn reset_mails_are_limited_to_five_per_half_hour(db: PgPool) {
    let server = MailServer::start().await;
    let app = with_mail(&db, &server, &[]).await;
    let (person, other) = (app.person().await, app.person().await);
    for _ in 0..9 {
        request_reset(&app, &person.email).await;
        wait_for_empty_outbox(&app).await;
    }
    assert_eq!(server.mails().len(), 5);
    mailed_token(&app, &server, &other).await;
    sqlx::query("UPDATE password_resets SET ends_at = ends_at - interval '31 minutes'")
        .execute(&db)
        .await
        .unwrap();
    mailed_token(&app, &server, &person).await;
    app.end().await;
}

/// Links use the configured public URL, whatever host a request claims.
#[sqlx::test(migrator = "MIGRATOR")]
async fn forged_host_does_not_change_reset_link(db: PgPool) {
    let server = MailServer::start().await;
    for (public, link) in [
        (None, None),
        (
            Some("https://chat.verbatim.example"),
            Some("https://chat.verbatim.example/password-reset?token=vpr_"),
        ),
    ] {
        let more: Vec<(&str, &str)> = public.map(|url| ("PUBLIC_URL", url)).into_iter().collect();
        let app = with_mail(&db, &server, &more).await;
        let person = app.person().await;
        let before = server.mails().len();
        app.post("/api/auth/password/forgot")
            .header("host", "evil.example")
            .header("x-forwarded-host", "evil.example")
            .header("forwarded", "host=evil.example")
            .header("origin", "https://evil.example")
            .header("referer", "https://evil.example/")
            .json(&json!({"email": person.email}))
            .send()
            .await
            .is(202);
        let mail = server.wait_for_mail(&app, before + 1).await;
        assert!(!mail.text().contains("evil"), "{}", mail.text());
        match link {
            Some(link) => assert!(mail.text().contains(link), "{}", mail.text()),
            None => assert!(!mail.text().contains("://"), "{}", mail.text()),
        }
        wait_for_empty_outbox(&app).await;
        app.end().await;
    }
}

/// The page behind the link is a form without scripts; opening it does not use up the token.
#[sqlx::test(migrator = "MIGRATOR")]
async fn reset_page_replaces_password(db: PgPool) {
    let server = MailServer::start().await;
    let app = with_mail(&db, &server, &[]).await;
    let person = app.person().await;
    let token = mailed_token(&app, &server, &person).await;
    let open = || app.get(&format!("/password-reset?token={token}")).send();
    for _ in 0..2 {
        let page = open().await.is(200);
        assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
        assert!(page.header("content-security-policy").starts_with("default-src 'none'; form-action 'self'"));
        assert_eq!(
            (page.header("referrer-policy"), page.header("cache-control")),
            ("no-referrer", "no-store")
        );
        assert!(page.text.contains(&token) && !page.text.contains("<script"), "{}", page.text);
    }
    for wrong in ["", "?token=", "?token=x", "?token=%22%3E%3Cscript%3Ealert(1)%3C/script%3E"] {
        let page = app.get(&format!("/password-reset{wrong}")).send().await.is(400);
        assert!(page.text.contains("is incomplete") && !page.text.contains("<script"), "{}", page.text);
    }
    let send = |password: &'static str| {
        app.post("/password-reset").form(&[("token", &token), ("password", password)]).send()
    };
    let refused = send("short1").await.is(400);
    assert!(
        refused.text.contains("at least 8 characters") && refused.text.contains(&token),
        "{}",
        refused.text
    );
    let done = send(NEW_PASSWORD).await.is(200);
    assert!(done.text.contains("Your password was changed") && !done.text.contains(&token), "{}", done.text);
    login(&app, &person.email, NEW_PASSWORD).await.is(200);
    let again = send("another horse 9").await.is(401);
    assert!(again.text.contains("Request a new one") && !again.text.contains(&token), "{}", again.text);
    wait_for_empty_outbox(&app).await;
    app.end().await;
}

/// Without a mail server the response is the same, and the operator issues tokens with a command.
#[sqlx::test(migrator = "MIGRATOR")]
async fn reset_token_can_be_issued_by_command(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    request_reset(&app, &person.email).await;
    let mails: i64 = sqlx::query_scalar("SELECT count(*) FROM mails").fetch_one(&db).await.unwrap();
    assert_eq!(mails, 0);
    let issue = async |email: &str, public: &str| {
        let mut command = program_on_database_of(&app);
        command.args(["accounts", "reset", "--email", email]).env("PUBLIC_URL", public);
        command.output().await.unwrap()
    };
    let output = issue(&person.email.to_uppercase(), "https://chat.verbatim.example").await;
    let said = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = said.lines().collect();
    assert!(output.status.success() && lines[0].starts_with("vpr_"), "{said}");
    assert_eq!(lines[1], format!("https://chat.verbatim.example/password-reset?token={}", lines[0]));
    reset(&app, lines[0], NEW_PASSWORD).send().await.is(204);
    login(&app, &person.email, NEW_PASSWORD).await.is(200);

    let output = issue("nobody@mail.example", "").await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("No active account"), "{said}");
    app.end().await;
}

/// The page's form shares the rate limit of the API route, so tokens cannot be guessed there either.
#[sqlx::test(migrator = "MIGRATOR")]
async fn reset_page_shares_rate_limit_of_reset_route(db: PgPool) {
    let app = TestApp::with(&db, &[("RATE_LIMITS", "on"), ("RESET_LIMIT_ADDRESS_PER_HOUR", "2")]).await;
    let token = format!("vpr_{}", "A".repeat(43));
    let send = || app.post("/password-reset").form(&[("token", &token), ("password", NEW_PASSWORD)]).send();
    for _ in 0..2 {
        send().await.is(401);
        app.get(&format!("/password-reset?token={token}")).send().await.is(200);
    }
    send().await.assert_error(429, "too_many_attempts");
    reset(&app, &token, NEW_PASSWORD).send().await.assert_error(429, "too_many_attempts");
    app.get(&format!("/password-reset?token={token}")).send().await.is(200);
    app.end().await;
}
