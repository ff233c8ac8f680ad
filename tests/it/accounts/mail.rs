//! Mail, through a real server: encrypted, tried again, given up, lost by nobody.

use serde_json::json;
use sqlx::PgPool;
use verbatim::bootstrap::database::MIGRATOR;

use super::mail_server::MailServer;
use crate::support::app::{PASSWORD, TestApp, WAIT_TIMEOUT};

/// A system that sends mail through this server.
pub(super) async fn with_mail(db: &PgPool, server: &MailServer, more: &[(&str, &str)]) -> TestApp {
    let url = server.url("smtp", "");
    let usual = [("SMTP_URL", url.as_str()), ("MAIL_FROM", "Verbatim <chat@verbatim.example>")];
    TestApp::with(db, &[usual.as_slice(), more].concat()).await
}

pub(super) async fn forgot(app: &TestApp, email: &str) {
    app.post("/api/auth/password/forgot").json(&json!({"email": email})).send().await.is(202);
}

/// Waits until nothing is to be sent any more.
pub(super) async fn sent_all(app: &TestApp) {
    app.wait_until("the outbox is empty", async || waiting(app).await == 0).await;
}

async fn waiting(app: &TestApp) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM mails").fetch_one(&app.db).await.unwrap()
}

/// Makes what was put off due at once.
async fn due(app: &TestApp) {
    sqlx::query("UPDATE mails SET not_before = clock_timestamp()").execute(&app.db).await.unwrap();
}

/// How often the one waiting mail was tried, and whether its sender is through with that.
async fn attempts(app: &TestApp) -> Option<(i32, bool)> {
    sqlx::query_as("SELECT attempts, not_before < clock_timestamp() + interval '50 seconds' FROM mails")
        .fetch_optional(&app.db)
        .await
        .unwrap()
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_mail_has_a_proper_head(db: PgPool) {
    let server = MailServer::start().await;
    let app = with_mail(&db, &server, &[]).await;
    let person = app.person().await;
    forgot(&app, &person.email).await;
    let mail = server.mail(&app, 1).await;
    assert_eq!(mail.to(), person.email);
    assert_eq!(mail.header("to"), person.email);
    assert_eq!(mail.field("envelope_from"), "chat@verbatim.example");
    assert_eq!(mail.header("from"), "Verbatim <chat@verbatim.example>");
    assert_eq!(mail.header("subject"), "A new password");
    assert_eq!(mail.header("auto-submitted"), "auto-generated");
    assert!(mail.header("message-id").ends_with("@verbatim.example>"));
    chrono::DateTime::parse_from_rfc2822(mail.header("date")).unwrap();
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn mail_goes_encrypted_and_with_a_password_to_a_server_that_is_trusted(db: PgPool) {
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
        forgot(&app, &person.email).await;
        let mail = server.mail(&app, 1).await;
        assert_eq!((mail.field("tls"), mail.to()), (&json!(true), person.email.as_str()), "{tls}");
        sent_all(&app).await;
        app.end().await;

        // A server whose certificate nobody vouches for is told nothing.
        let app = TestApp::with(&db, &[variables[0], variables[2]]).await;
        forgot(&app, &person.email).await;
        app.wait_until("it was tried", async || attempts(&app).await == Some((1, true))).await;
        assert_eq!(server.tried(), 1, "{tls}");
        app.stop(WAIT_TIMEOUT).await;
        sqlx::query("DELETE FROM mails").execute(&db).await.unwrap();
    }
}

/// A wrong password for the mail server is the operator's mistake: mails wait until it is put right.
#[sqlx::test(migrator = "MIGRATOR")]
async fn a_server_that_does_not_let_us_in_loses_no_mail(db: PgPool) {
    let server = MailServer::with(json!({"user": "chat", "password": "right"})).await;
    let start = async |login: &str| {
        let url = server.url("smtp", login);
        TestApp::with(&db, &[("SMTP_URL", &url), ("MAIL_FROM", "chat@verbatim.example")]).await
    };
    let app = start("chat:wrong@").await;
    let person = app.person().await;
    forgot(&app, &person.email).await;
    app.wait_until("it was put off", async || attempts(&app).await == Some((1, true))).await;
    app.end().await;
    let app = start("chat:right@").await;
    due(&app).await;
    assert_eq!(server.mail(&app, 1).await.to(), person.email);
    sent_all(&app).await;
    app.end().await;
}

/// So is a server that does not offer, for a while, to encrypt or to let anybody in: nothing is said about the mail.
#[sqlx::test(migrator = "MIGRATOR")]
async fn a_server_that_lacks_what_is_needed_loses_no_mail(db: PgPool) {
    let folder = tempfile::tempdir().unwrap();
    let roots = folder.path().join("roots.pem");
    let full = json!({"tls": "starttls", "user": "chat", "password": "right"});
    for lacking in [json!({"user": "chat", "password": "right"}), json!({"tls": "starttls"})] {
        let start = async |server: &MailServer| {
            let url = format!("{}?tls=required", server.url("smtp", "chat:right@"));
            let mut variables = vec![("SMTP_URL", url.as_str()), ("MAIL_FROM", "chat@verbatim.example")];
            if let Some(certificate) = server.any_certificate() {
                std::fs::write(&roots, certificate).unwrap();
                variables.push(("SMTP_CA_FILE", roots.to_str().unwrap()));
            }
            TestApp::with(&db, &variables).await
        };
        let server = MailServer::with(lacking.clone()).await;
        let app = start(&server).await;
        let person = app.person().await;
        forgot(&app, &person.email).await;
        app.wait_until("it was put off", async || attempts(&app).await == Some((1, true))).await;
        assert_eq!(server.tried(), 0, "{lacking}");
        app.end().await;
        let server = MailServer::with(full.clone()).await;
        let app = start(&server).await;
        due(&app).await;
        assert_eq!(server.mail(&app, 1).await.to(), person.email, "{lacking}");
        sent_all(&app).await;
        app.end().await;
    }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn what_the_server_puts_off_is_tried_again_and_what_it_refuses_is_given_up(db: PgPool) {
    let server = MailServer::with(json!({"answers": [
        "451 4.3.0 come back later", "drop", "take", "550 5.1.1 <ada@mail.example>: no such user",
    ]}))
    .await;
    let app = with_mail(&db, &server, &[]).await;
    let person = app.person().await;
    forgot(&app, &person.email).await;
    for attempt in 1..=2 {
        app.wait_until("it was put off", async || attempts(&app).await == Some((attempt, true))).await;
        assert_eq!(server.tried(), usize::try_from(attempt).unwrap());
        due(&app).await;
    }
    assert_eq!(server.mail(&app, 1).await.to(), person.email);
    sent_all(&app).await;

    forgot(&app, &person.email).await;
    app.wait_until("it was refused", async || server.tried() == 4).await;
    sent_all(&app).await;
    assert_eq!(server.mails().len(), 1);
    app.end().await;
}

/// The process that has answered 202 is gone before it could send anything; another one does.
#[sqlx::test(migrator = "MIGRATOR")]
async fn what_was_promised_is_sent_by_whoever_comes_next(db: PgPool) {
    let server = MailServer::start().await;
    let app = with_mail(&db, &server, &[("ROLES", "api,project")]).await;
    let person = app.person().await;
    forgot(&app, &person.email).await;
    // Nothing in it that could be read: no address, no token.
    let row: String =
        sqlx::query_scalar("SELECT to_json(m)::text FROM mails m").fetch_one(&db).await.unwrap();
    assert!(!row.contains("person") && !row.contains("vpr_") && !row.contains("mail.example"), "{row}");
    app.stop(WAIT_TIMEOUT).await;
    assert_eq!(server.tried(), 0);
    // As if its first sender had died with it in hand.
    sqlx::query("SELECT mails_lease(10, '2 seconds')").execute(&db).await.unwrap();
    let app = with_mail(&db, &server, &[]).await;
    assert_eq!(server.mail(&app, 1).await.to(), person.email);
    sent_all(&app).await;
    app.end().await;
}

/// Two processes at one outbox: each mail once.
#[sqlx::test(migrator = "MIGRATOR")]
async fn two_senders_send_each_mail_once(db: PgPool) {
    let server = MailServer::start().await;
    let one = with_mail(&db, &server, &[("ROLES", "api,project")]).await;
    let mut people = Vec::new();
    for _ in 0..12 {
        people.push(one.person().await);
    }
    for person in &people {
        forgot(&one, &person.email).await;
    }
    let (two, three) = tokio::join!(with_mail(&db, &server, &[]), with_mail(&db, &server, &[]));
    sent_all(&one).await;
    server.mail(&one, 12).await;
    let mut to: Vec<String> = server.mails().iter().map(|mail| mail.to().to_owned()).collect();
    let mut expected: Vec<String> = people.iter().map(|person| person.email.clone()).collect();
    to.sort();
    expected.sort();
    assert_eq!(to, expected);
    three.stop(WAIT_TIMEOUT).await;
    two.stop(WAIT_TIMEOUT).await;
    one.end().await;
}

/// Notices go where they should, and are in one append with what they are about.
#[sqlx::test(migrator = "MIGRATOR")]
async fn people_are_told_of_what_was_changed_at_the_address_that_they_had(db: PgPool) {
    let server = MailServer::start().await;
    let app = with_mail(&db, &server, &[]).await;
    let person = app.person().await;
    let body = json!({"current_password": PASSWORD, "new_password": "battery staple 8"});
    app.post("/api/auth/password").by(&person).json(&body).send().await.is(204);
    let mail = server.mail(&app, 1).await;
    assert_eq!((mail.to(), mail.header("subject")), (person.email.as_str(), "Your password was changed"));
    // Twice in a row: each old address is told.
    for new in ["first@mail.example", "second@mail.example"] {
        let body = json!({"email": new, "password": "battery staple 8"});
        app.put("/api/users/me/email").by(&person).json(&body).send().await.is(200);
    }
    sent_all(&app).await;
    server.mail(&app, 3).await;
    let mut told: Vec<(String, String)> = server.mails()[1..]
        .iter()
        .map(|mail| (mail.to().to_owned(), mail.header("subject").to_owned()))
        .collect();
    told.sort();
    let subject = "Your e-mail address was changed".to_owned();
    let mut expected = [("first@mail.example".to_owned(), subject.clone()), (person.email.clone(), subject)];
    expected.sort();
    assert_eq!(told, expected);
    for mail in server.mails() {
        assert!(!mail.text().contains("second@mail.example"), "{}", mail.text());
    }
    // A change that was refused tells nobody.
    let body = json!({"email": "third@mail.example", "password": "not the password 1"});
    app.put("/api/users/me/email").by(&person).json(&body).send().await.assert_error(403, "wrong_password");
    assert_eq!(waiting(&app).await, 0);
    app.end().await;
}

/// A mail that could not be written was not tried: what is not there yet costs it none of its tries.
#[sqlx::test(migrator = "MIGRATOR")]
async fn a_mail_that_cannot_be_written_loses_no_try(db: PgPool) {
    let server = MailServer::start().await;
    let app = with_mail(&db, &server, &[]).await;
    let person = app.person().await;
    sqlx::query("ALTER TABLE password_resets RENAME TO gone").execute(&db).await.unwrap();
    forgot(&app, &person.email).await;
    for _ in 0..2 {
        app.wait_until("it is put off", async || {
            sqlx::query_scalar("SELECT attempts = 0 AND not_before > clock_timestamp() FROM mails")
                .fetch_one(&app.db)
                .await
                .unwrap()
        })
        .await;
        due(&app).await;
    }
    sqlx::query("ALTER TABLE gone RENAME TO password_resets").execute(&db).await.unwrap();
    app.wait_until("it is sent", async || {
        due(&app).await;
        server.mails().len() == 1
    })
    .await;
    sent_all(&app).await;
    app.end().await;
}
