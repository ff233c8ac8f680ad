//! Tests mail through a real SMTP server: encryption, retries, permanent rejections, and that no mail is lost.

use serde_json::json;
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use super::mail_server::MailServer;
use crate::support::app::{PASSWORD, TestApp, WAIT_TIMEOUT};

/// Starts an app that sends mail through this server.
pub(super) async fn with_mail(db: &PgPool, server: &MailServer, more: &[(&str, &str)]) -> TestApp {
    let url = server.url("smtp", "");
    let usual = [("SMTP_URL", url.as_str()), ("MAIL_FROM", "Verbatim <chat@verbatim.example>")];
    TestApp::with(db, &[usual.as_slice(), more].concat()).await
}

pub(super) async fn request_reset(app: &TestApp, email: &str) {
    app.post("/api/auth/password/forgot").json(&json!({"email": email})).send().await.is(202);
}

/// Waits until the outbox is empty.
pub(super) async fn wait_for_empty_outbox(app: &TestApp) {
    app.wait_until("the outbox is empty", async || outbox_len(app).await == 0).await;
}

async fn outbox_len(app: &TestApp) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM mails").fetch_one(&app.db).await.unwrap()
}

/// Makes deferred mails due at once.
async fn make_due(app: &TestApp) {
    sqlx::query("UPDATE mails SET not_before = clock_timestamp()").execute(&app.db).await.unwrap();
}

/// Returns how often the only mail in the outbox was tried, and whether its sender has released it.
async fn attempts(app: &TestApp) -> Option<(i32, bool)> {
    sqlx::query_as("SELECT attempts, not_before < clock_timestamp() + interval '50 seconds' FROM mails")
        .fetch_optional(&app.db)
        .await
        .unwrap()
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn mail_has_complete_headers(db: PgPool) {
    let server = MailServer::start().await;
    let app = with_mail(&db, &server, &[]).await;
    let person = app.person().await;
    request_reset(&app, &person.email).await;
    let mail = server.wait_for_mail(&app, 1).await;
    assert_eq!(mail.to(), person.email);
    assert_eq!(mail.header("to"), person.email);
    assert_eq!(mail.field("envelope_from"), "chat@verbatim.example");
    assert_eq!(mail.header("from"), "Verbatim <chat@verbatim.example>");
    assert_eq!(mail.header("subject"), "Reset your password");
    assert_eq!(mail.header("auto-submitted"), "auto-generated");
    assert!(mail.header("message-id").ends_with("@verbatim.example>"));
    chrono::DateTime::parse_from_rfc2822(mail.header("date")).unwrap();
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn mail_is_sent_over_tls_with_auth_to_trusted_server(db: PgPool) {
    for (tls, scheme, query) in [("starttls", "smtp", "?tls=required"), ("smtps", "smtps", "")] {
        let server =
            MailServer::with(json!({"tls": tls, "user": "chat@verbatim.example", "password": "p@ss:1"}))
                .await;
        let folder = tempfile::tempdir().unwrap();
        let roots = folder.path().join("roots.pem");
        std::fs::write(&roots, server.certificate()).unwrap();
        let url = format!("{}{query}", server.url(scheme, "chat%40verbatim.example:p%40ss%3A1@"));
        let variables = [
            ("SMTP_URL", url.as_str()),
            ("SMTP_CA_FILE", roots.to_str().unwrap()),
            ("MAIL_FROM", "chat@verbatim.example"),
        ];
        let app = TestApp::with(&db, &variables).await;
        let person = app.person().await;
        request_reset(&app, &person.email).await;
        let mail = server.wait_for_mail(&app, 1).await;
        assert_eq!((mail.field("tls"), mail.to()), (&json!(true), person.email.as_str()), "{tls}");
        wait_for_empty_outbox(&app).await;
        app.end().await;

        // A server with an untrusted certificate receives nothing.
        let app = TestApp::with(&db, &[variables[0], variables[2]]).await;
        request_reset(&app, &person.email).await;
        app.wait_until("delivery was attempted", async || attempts(&app).await == Some((1, true))).await;
        assert_eq!(server.attempts(), 1, "{tls}");
        app.stop(WAIT_TIMEOUT).await;
        sqlx::query("DELETE FROM mails").execute(&db).await.unwrap();
    }
}

/// With a wrong SMTP password, a mistake of the operator, mails wait until it is corrected.
#[sqlx::test(migrator = "MIGRATOR")]
async fn smtp_auth_failure_loses_no_mail(db: PgPool) {
    let server = MailServer::with(json!({"user": "chat", "password": "right"})).await;
    let start = async |login: &str| {
        let url = server.url("smtp", login);
        TestApp::with(&db, &[("SMTP_URL", &url), ("MAIL_FROM", "chat@verbatim.example")]).await
    };
    let app = start("chat:wrong@").await;
    let person = app.person().await;
    request_reset(&app, &person.email).await;
    app.wait_until("the mail was deferred", async || attempts(&app).await == Some((1, true))).await;
    app.end().await;
    let app = start("chat:right@").await;
    make_due(&app).await;
    assert_eq!(server.wait_for_mail(&app, 1).await.to(), person.email);
    wait_for_empty_outbox(&app).await;
    app.end().await;
}

/// A server that temporarily offers no TLS or no authentication has not rejected the mail.
#[sqlx::test(migrator = "MIGRATOR")]
async fn missing_smtp_capability_loses_no_mail(db: PgPool) {
    let folder = tempfile::tempdir().unwrap();
    let roots = folder.path().join("roots.pem");
    let full = json!({"tls": "starttls", "user": "chat", "password": "right"});
    for lacking in [json!({"user": "chat", "password": "right"}), json!({"tls": "starttls"})] {
        let start = async |server: &MailServer| {
            let url = format!("{}?tls=required", server.url("smtp", "chat:right@"));
            let mut variables = vec![("SMTP_URL", url.as_str()), ("MAIL_FROM", "chat@verbatim.example")];
            if let Some(certificate) = server.certificate_if_tls() {
                std::fs::write(&roots, certificate).unwrap();
                variables.push(("SMTP_CA_FILE", roots.to_str().unwrap()));
            }
            TestApp::with(&db, &variables).await
        };
        let server = MailServer::with(lacking.clone()).await;
        let app = start(&server).await;
        let person = app.person().await;
        request_reset(&app, &person.email).await;
        app.wait_until("the mail was deferred", async || attempts(&app).await == Some((1, true))).await;
        assert_eq!(server.attempts(), 0, "{lacking}");
        app.end().await;
        let server = MailServer::with(full.clone()).await;
        let app = start(&server).await;
        make_due(&app).await;
        assert_eq!(server.wait_for_mail(&app, 1).await.to(), person.email, "{lacking}");
        wait_for_empty_outbox(&app).await;
        app.end().await;
    }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn deferred_mail_is_retried_and_rejected_mail_is_dropped(db: PgPool) {
    let server = MailServer::with(json!({"answers": [
        "451 4.3.0 come back later", "drop", "take", "550 5.1.1 <ada@mail.example>: no such user",
    ]}))
    .await;
    let app = with_mail(&db, &server, &[]).await;
    let person = app.person().await;
    request_reset(&app, &person.email).await;
    for attempt in 1..=2 {
        app.wait_until("the mail was deferred", async || attempts(&app).await == Some((attempt, true))).await;
        assert_eq!(server.attempts(), usize::try_from(attempt).unwrap());
        make_due(&app).await;
    }
    assert_eq!(server.wait_for_mail(&app, 1).await.to(), person.email);
    wait_for_empty_outbox(&app).await;

    request_reset(&app, &person.email).await;
    app.wait_until("the server rejected the mail", async || server.attempts() == 4).await;
    wait_for_empty_outbox(&app).await;
    assert_eq!(server.mails().len(), 1);
    app.end().await;
}

/// The process that answered 202 ends before it sends the mail; another one sends it.
#[sqlx::test(migrator = "MIGRATOR")]
async fn outbox_mail_is_sent_by_next_process(db: PgPool) {
    let server = MailServer::start().await;
    let app = with_mail(&db, &server, &[("ROLES", "api,project")]).await;
    let person = app.person().await;
    request_reset(&app, &person.email).await;
    // The row contains no address and no token.
    let row: String =
        sqlx::query_scalar("SELECT to_json(m)::text FROM mails m").fetch_one(&db).await.unwrap();
    assert!(!row.contains("person") && !row.contains("vpr_") && !row.contains("mail.example"), "{row}");
    app.stop(WAIT_TIMEOUT).await;
    assert_eq!(server.attempts(), 0);
    // As if the first sender had died while holding the mail.
    sqlx::query("SELECT mails_lease(10, '2 seconds')").execute(&db).await.unwrap();
    let app = with_mail(&db, &server, &[]).await;
    assert_eq!(server.wait_for_mail(&app, 1).await.to(), person.email);
    wait_for_empty_outbox(&app).await;
    app.end().await;
}

/// Two processes share one outbox; each mail is sent once.
#[sqlx::test(migrator = "MIGRATOR")]
async fn concurrent_senders_send_each_mail_once(db: PgPool) {
    let server = MailServer::start().await;
    let one = with_mail(&db, &server, &[("ROLES", "api,project")]).await;
    let mut people = Vec::new();
    for _ in 0..12 {
        people.push(one.person().await);
    }
    for person in &people {
        request_reset(&one, &person.email).await;
    }
    let (two, three) = tokio::join!(with_mail(&db, &server, &[]), with_mail(&db, &server, &[]));
    wait_for_empty_outbox(&one).await;
    server.wait_for_mail(&one, 12).await;
    let mut to: Vec<String> = server.mails().iter().map(|mail| mail.to().to_owned()).collect();
    let mut expected: Vec<String> = people.iter().map(|person| person.email.clone()).collect();
    to.sort();
    expected.sort();
    assert_eq!(to, expected);
    three.stop(WAIT_TIMEOUT).await;
    two.stop(WAIT_TIMEOUT).await;
    one.end().await;
}

/// Notices go to the address before the change, and are written in the change's transaction.
#[sqlx::test(migrator = "MIGRATOR")]
async fn change_notices_go_to_previous_address(db: PgPool) {
    let server = MailServer::start().await;
    let app = with_mail(&db, &server, &[]).await;
    let person = app.person().await;
    let body = json!({"current_password": PASSWORD, "new_password": "battery staple 8"});
    app.post("/api/auth/password").by(&person).json(&body).send().await.is(204);
    let mail = server.wait_for_mail(&app, 1).await;
    assert_eq!((mail.to(), mail.header("subject")), (person.email.as_str(), "Your password was changed"));
    // Two changes in a row: each old address gets a notice.
    for new in ["first@mail.example", "second@mail.example"] {
        let body = json!({"email": new, "password": "battery staple 8"});
        app.put("/api/users/me/email").by(&person).json(&body).send().await.is(200);
    }
    wait_for_empty_outbox(&app).await;
    server.wait_for_mail(&app, 3).await;
    let mut notices: Vec<(String, String)> = server.mails()[1..]
        .iter()
        .map(|mail| (mail.to().to_owned(), mail.header("subject").to_owned()))
        .collect();
    notices.sort();
    let subject = "Your e-mail address was changed".to_owned();
    let mut expected = [("first@mail.example".to_owned(), subject.clone()), (person.email.clone(), subject)];
    expected.sort();
    assert_eq!(notices, expected);
    for mail in server.mails() {
        assert!(!mail.text().contains("second@mail.example"), "{}", mail.text());
    }
    // A rejected change sends no notice.
    let body = json!({"email": "third@mail.example", "password": "not the password 1"});
    app.put("/api/users/me/email").by(&person).json(&body).send().await.assert_error(403, "wrong_password");
    assert_eq!(outbox_len(&app).await, 0);
    app.end().await;
}

/// A mail that cannot be rendered was not sent, so that does not count as an attempt.
#[sqlx::test(migrator = "MIGRATOR")]
async fn unrenderable_mail_is_deferred_without_counting_attempt(db: PgPool) {
    let server = MailServer::start().await;
    let app = with_mail(&db, &server, &[]).await;
    let person = app.person().await;
    sqlx::query("ALTER TABLE password_resets RENAME TO gone").execute(&db).await.unwrap();
    request_reset(&app, &person.email).await;
    for _ in 0..2 {
        app.wait_until("the mail is deferred", async || {
            sqlx::query_scalar("SELECT attempts = 0 AND not_before > clock_timestamp() FROM mails")
                .fetch_one(&app.db)
                .await
                .unwrap()
        })
        .await;
        make_due(&app).await;
    }
    sqlx::query("ALTER TABLE gone RENAME TO password_resets").execute(&db).await.unwrap();
    app.wait_until("the mail is sent", async || {
        make_due(&app).await;
        server.mails().len() == 1
    })
    .await;
    wait_for_empty_outbox(&app).await;
    app.end().await;
}
