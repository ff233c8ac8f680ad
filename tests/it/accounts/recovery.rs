//! S17: a forgotten password is replaced by whoever reads the account's mail, and by nobody else.

use serde_json::{Value, json};
use sqlx::PgPool;
use verbatim::bootstrap::database::MIGRATOR;

use super::mail::{forgot, sent_all, with_mail};
use super::mail_server::MailServer;
use super::{beside, kinds, login, me};
use crate::sockets::client::Socket;
use crate::support::app::{PASSWORD, Person, TestApp, WAIT_TIMEOUT};
use crate::support::client::{Answer, Call};

const NEW: &str = "battery staple 8";

fn reset(app: &TestApp, token: &str, password: &str) -> Call {
    app.post("/api/auth/password/reset").json(&json!({"token": token, "password": password}))
}

/// A token that was mailed to this person.
async fn mailed(app: &TestApp, server: &MailServer, person: &Person) -> String {
    let before = server.mails().len();
    forgot(app, &person.email).await;
    let mail = server.mail(app, before + 1).await;
    assert_eq!(mail.to(), person.email);
    sent_all(app).await;
    mail.token()
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn the_token_of_a_mail_replaces_the_password_once_and_ends_every_login(db: PgPool) {
    let server = MailServer::start().await;
    let app = with_mail(&db, &server, &[]).await;
    let node = TestApp::with(&db, &[("ROLES", "api")]).await;
    let person = app.person().await;
    let mut socket = Socket::of(&node, &person).await;
    let token = mailed(&app, &server, &person).await;
    // Asking for it changes nothing.
    login(&app, &person.email, PASSWORD).await.is(200);

    let answer = reset(&app, &token, NEW).send().await.is(204);
    assert!(answer.position() > 0);
    assert_eq!(kinds(&app, &person).await, ["password_changed"]);
    login(&app, &person.email, PASSWORD).await.assert_error(401, "invalid_credentials");
    login(&app, &person.email, NEW).await.is(200);
    assert_eq!(socket.closed().await, 4401);
    me(&app, &person.access).await.assert_error(401, "invalid_token");
    app.wait_until("it counts on the other node", async || me(&node, &person.access).await.status == 401)
        .await;
    let body = json!({"refresh_token": person.refresh});
    app.post("/api/auth/refresh").json(&body).send().await.assert_error(401, "invalid_token");

    reset(&app, &token, "another horse 9").send().await.assert_error(401, "invalid_token");
    // The owner is told.
    let mail = server.mail(&app, 2).await;
    assert_eq!((mail.to(), mail.header("subject")), (person.email.as_str(), "Your password was changed"));
    node.stop(WAIT_TIMEOUT).await;
    app.end().await;
}

/// Body, status, headers and what is done are the same for every address; whose it is, is looked up later.
#[sqlx::test(migrator = "MIGRATOR")]
async fn asking_tells_nothing(db: PgPool) {
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
    // As a form too, and again at once.
    let form = [("email", person.email.as_str())];
    assert_eq!(app.post("/api/auth/password/forgot").form(&form).send().await.is(202).value(), known.1);
    app.post("/api/auth/password/forgot")
        .json(&json!({"email": "nowhere"}))
        .send()
        .await
        .assert_error(400, "invalid_value");
    // One row for each address that was asked for, of the same shape.
    let rows: Vec<(String, bool, bool)> =
        sqlx::query_as("SELECT kind, user_id IS NULL, claim LIKE 'email:%' FROM mails")
            .fetch_all(&db)
            .await
            .unwrap();
    assert_eq!(rows, vec![("password_reset".to_owned(), true, true); 3]);
    app.end().await;

    let app = with_mail(&db, &server, &[]).await;
    sent_all(&app).await;
    let to: Vec<String> = server.mails().iter().map(|mail| mail.to().to_owned()).collect();
    assert_eq!(to, [person.email]);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_token_that_is_not_good_is_refused_whatever_is_wrong_with_it(db: PgPool) {
    let server = MailServer::start().await;
    let app = with_mail(&db, &server, &[]).await;
    let person = app.person().await;
    let token = mailed(&app, &server, &person).await;
    let made_up = format!("vpr_{}", "A".repeat(43));
    // S5: no other kind of token is taken for one.
    for wrong in
        ["", "x", "vpr_", &made_up, &token[..46], &format!("{token} "), &person.refresh, &person.access]
    {
        reset(&app, wrong, NEW).send().await.assert_error(401, "invalid_token");
    }
    // A password that breaks the rule uses nothing up.
    for password in ["short1", "12345678", "Password1", &person.email] {
        reset(&app, &token, password).send().await.assert_error(400, "invalid_password");
    }
    sqlx::query("UPDATE password_resets SET ends_at = clock_timestamp()").execute(&db).await.unwrap();
    reset(&app, &token, NEW).send().await.assert_error(401, "invalid_token");
    login(&app, &person.email, PASSWORD).await.is(200);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn of_many_that_use_a_token_at_once_one_replaces_the_password(db: PgPool) {
    let server = MailServer::start().await;
    let app = with_mail(&db, &server, &[]).await;
    let person = app.person().await;
    let tokens = [mailed(&app, &server, &person).await, mailed(&app, &server, &person).await];
    assert_ne!(tokens[0], tokens[1]);
    let tries = (0..8).map(|n| reset(&app, &tokens[n % 2], &format!("battery staple {n}")).send());
    let answers = futures::future::join_all(tries).await;
    let won: Vec<usize> = (0..8).filter(|n| answers[*n].status == 204).collect();
    assert_eq!(won.len(), 1, "{answers:?}");
    for answer in answers.iter().filter(|answer| answer.status != 204) {
        assert!([401, 503].contains(&answer.status), "{}", answer.text);
    }
    assert_eq!(kinds(&app, &person).await, ["password_changed"]);
    login(&app, &person.email, &format!("battery staple {}", won[0])).await.is(200);
    sent_all(&app).await;
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_reset_that_is_repeated_under_its_key_is_one_reset(db: PgPool) {
    let server = MailServer::start().await;
    let app = with_mail(&db, &server, &[]).await;
    let person = app.person().await;
    let token = mailed(&app, &server, &person).await;
    let first = reset(&app, &token, NEW).key("reset-1").send().await.is(204);
    let again = reset(&app, &token, NEW).key("reset-1").send().await.is(204);
    assert_eq!(first.position(), again.position());
    reset(&app, &token, "another horse 9")
        .key("reset-1")
        .send()
        .await
        .assert_error(422, "idempotency_key_reused");
    assert_eq!(kinds(&app, &person).await, ["password_changed"]);
    sent_all(&app).await;
    app.end().await;
}

/// What the owner does meanwhile makes tokens worthless.
#[sqlx::test(migrator = "MIGRATOR")]
async fn a_token_ends_with_the_password_the_address_and_the_account_that_it_was_for(db: PgPool) {
    let server = MailServer::start().await;
    let app = with_mail(&db, &server, &[]).await;
    for how in ["password", "email", "account"] {
        let person = app.person().await;
        let token = mailed(&app, &server, &person).await;
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
        reset(&app, &token, NEW).send().await.assert_error(401, "invalid_token");
        sent_all(&app).await;
    }
    app.end().await;
}

/// No lock-out as a weapon: a stranger who keeps an account locked does not keep its owner out.
#[sqlx::test(migrator = "MIGRATOR")]
async fn a_reset_opens_an_account_that_a_stranger_has_locked(db: PgPool) {
    let server = MailServer::start().await;
    let app = with_mail(&db, &server, &[]).await;
    let person = app.person().await;
    for identifier in [&person.email, &person.username] {
        for _ in 0..10 {
            login(&app, identifier, "not the password 1").await.assert_error(401, "invalid_credentials");
        }
        login(&app, identifier, PASSWORD).await.assert_error(429, "too_many_failures");
    }
    let token = mailed(&app, &server, &person).await;
    reset(&app, &token, NEW).send().await.is(204);
    login(&app, &person.email, NEW).await.is(200);
    login(&app, &person.username, NEW).await.is(200);
    sent_all(&app).await;
    app.end().await;
}

/// Nobody's mailbox is filled by somebody who asks again and again.
#[sqlx::test(migrator = "MIGRATOR")]
async fn five_mails_in_half_an_hour_are_enough(db: PgPool) {
    let server = MailServer::start().await;
    let app = with_mail(&db, &server, &[]).await;
    let (person, other) = (app.person().await, app.person().await);
    for _ in 0..9 {
        forgot(&app, &person.email).await;
        sent_all(&app).await;
    }
    assert_eq!(server.mails().len(), 5);
    mailed(&app, &server, &other).await;
    sqlx::query("UPDATE password_resets SET ends_at = ends_at - interval '31 minutes'")
        .execute(&db)
        .await
        .unwrap();
    mailed(&app, &server, &person).await;
    app.end().await;
}

/// S17: links point where the operator says, whatever a request claims.
#[sqlx::test(migrator = "MIGRATOR")]
async fn a_forged_host_does_not_reach_the_link(db: PgPool) {
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
        let mail = server.mail(&app, before + 1).await;
        assert!(!mail.text().contains("evil"), "{}", mail.text());
        match link {
            Some(link) => assert!(mail.text().contains(link), "{}", mail.text()),
            None => assert!(!mail.text().contains("://"), "{}", mail.text()),
        }
        sent_all(&app).await;
        app.end().await;
    }
}

/// The page behind the link: a form without a script, which uses nothing up until it is sent.
#[sqlx::test(migrator = "MIGRATOR")]
async fn the_page_of_the_link_replaces_the_password(db: PgPool) {
    let server = MailServer::start().await;
    let app = with_mail(&db, &server, &[]).await;
    let person = app.person().await;
    let token = mailed(&app, &server, &person).await;
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
        assert!(page.text.contains("not whole") && !page.text.contains("<script"), "{}", page.text);
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
    let done = send(NEW).await.is(200);
    assert!(done.text.contains("The password was changed") && !done.text.contains(&token), "{}", done.text);
    login(&app, &person.email, NEW).await.is(200);
    let again = send("another horse 9").await.is(401);
    assert!(again.text.contains("Ask for another mail") && !again.text.contains(&token), "{}", again.text);
    sent_all(&app).await;
    app.end().await;
}

/// Without a mail server the answer is the same, and whoever runs the service makes tokens by hand.
#[sqlx::test(migrator = "MIGRATOR")]
async fn without_mail_a_reset_is_issued_by_command(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    forgot(&app, &person.email).await;
    let waiting: i64 = sqlx::query_scalar("SELECT count(*) FROM mails").fetch_one(&db).await.unwrap();
    assert_eq!(waiting, 0);
    let issue = async |email: &str, public: &str| {
        let mut command = beside(&app);
        command.args(["accounts", "reset", "--email", email]).env("PUBLIC_URL", public);
        command.output().await.unwrap()
    };
    let output = issue(&person.email.to_uppercase(), "https://chat.verbatim.example").await;
    let said = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = said.lines().collect();
    assert!(output.status.success() && lines[0].starts_with("vpr_"), "{said}");
    assert_eq!(lines[1], format!("https://chat.verbatim.example/password-reset?token={}", lines[0]));
    reset(&app, lines[0], NEW).send().await.is(204);
    login(&app, &person.email, NEW).await.is(200);

    let output = issue("nobody@mail.example", "").await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("no open account"), "{said}");
    app.end().await;
}

/// The page's form is one of the doors at which tokens could be guessed.
#[sqlx::test(migrator = "MIGRATOR")]
async fn forms_of_the_page_are_counted_like_resets(db: PgPool) {
    let app = TestApp::with(&db, &[("RATE_LIMITS", "on"), ("RESET_LIMIT_ADDRESS_PER_HOUR", "2")]).await;
    let token = format!("vpr_{}", "A".repeat(43));
    let send = || app.post("/password-reset").form(&[("token", &token), ("password", NEW)]).send();
    for _ in 0..2 {
        send().await.is(401);
        app.get(&format!("/password-reset?token={token}")).send().await.is(200);
    }
    send().await.assert_error(429, "too_many_attempts");
    reset(&app, &token, NEW).send().await.assert_error(429, "too_many_attempts");
    app.get(&format!("/password-reset?token={token}")).send().await.is(200);
    app.end().await;
}
