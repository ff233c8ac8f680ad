//! Tests the import of accounts from other systems.

use std::process::Output;

use argon2::{Algorithm, Argon2, Params, PasswordHasher, Version};
use serde_json::json;
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use super::mail::{request_reset, wait_for_empty_outbox, with_mail};
use super::mail_server::MailServer;
use super::{login, program_on_database_of};
use crate::support::app::{PASSWORD, TestApp};

async fn import(app: &TestApp, lines: &[String], more: &[&str]) -> Output {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), lines.join("\n")).unwrap();
    let mut command = program_on_database_of(app);
    command.args(["accounts", "import"]).arg(file.path()).args(more);
    command.output().await.unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Returns a hash as another system may have made it, weaker than ours.
fn weak_hash(password: &str) -> String {
    let params = Params::new(8192, 1, 1, Some(32)).unwrap();
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password_with_salt(password.as_bytes(), b"0123456789abcdef").unwrap().to_string()
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn import_reports_every_line(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let lines = [
        json!({"email": "one@mail.example", "username": "one-1", "password_hash": weak_hash("old password 1")}).to_string(),
        json!({"email": "two@mail.example", "password_hash": "$2b$12$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW"}).to_string(),
        json!({"email": person.email.to_uppercase(), "password_hash": weak_hash("x")}).to_string(),
        String::new(),
        "{ this is none".to_owned(),
        json!({"email": "three@mail.example", "username": person.username, "password_hash": weak_hash("x")}).to_string(),
        json!({"email": "four@mail.example", "password_hash": weak_hash("old password 4"), "admin": true}).to_string(),
        json!({"email": "five@mail.example", "username": null, "password_hash": weak_hash("old password 5")}).to_string(),
    ];
    let output = import(&app, &lines, &[]).await;
    let said = stdout(&output);
    let outcomes: Vec<&str> = said.lines().collect();
    for (line, begin) in outcomes.iter().zip([
        "line 1: created",
        "line 2: rejected: bcrypt hashes are not supported",
        "line 3: skipped: the address is already registered",
        "line 5: rejected: it is not a JSON object",
        "line 6: rejected: the user name is taken",
        "line 7: rejected: it has a field other than",
        "line 8: created",
        "2 accounts created (0 without a password), 1 already registered, 4 lines rejected.",
    ]) {
        assert!(line.starts_with(begin), "{said}");
    }
    assert_eq!((outcomes.len(), output.status.code()), (8, Some(2)));
    assert!(!said.contains("@mail.example") && !said.contains(&person.username), "{said}");
    // Imported users sign in with their old passwords.
    for identifier in ["one@mail.example", "ONE-1"] {
        login(&app, identifier, "old password 1").await.is(200);
    }
    let answer = login(&app, "five@mail.example", "old password 5").await.is(200).value();
    assert_eq!(answer["user"]["role"], "user");
    login(&app, "two@mail.example", PASSWORD).await.assert_error(401, "invalid_credentials");
    // The weak hash was replaced by one of today's cost.
    let weak: i64 =
        sqlx::query_scalar("SELECT count(*) FROM credentials WHERE password_hash LIKE '%m=8192%'")
            .fetch_one(&db)
            .await
            .unwrap();
    assert_eq!(weak, 0);

    // A second run skips the imported accounts and accepts corrected lines.
    let mut lines = lines;
    lines[1] = json!({"email": "two@mail.example", "password_hash": weak_hash("old password 2")}).to_string();
    let output = import(&app, &lines, &[]).await;
    assert!(stdout(&output).contains("1 accounts created (0 without a password), 3 already registered"));
    login(&app, "two@mail.example", "old password 2").await.is(200);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn imported_account_without_hash_sets_password_by_mail(db: PgPool) {
    let server = MailServer::start().await;
    let app = with_mail(&db, &server, &[]).await;
    let lines = [
        json!({"email": "one@mail.example", "password_hash": "pbkdf2_sha256$870000$salt$aGFzaA=="})
            .to_string(),
        json!({"email": "two@mail.example"}).to_string(),
    ];
    let output = import(&app, &lines, &["--without-password"]).await;
    let said = stdout(&output);
    assert!(output.status.success() && said.contains("2 accounts created (2 without a password)"), "{said}");
    for password in ["", "pbkdf2_sha256$870000$salt$aGFzaA==", PASSWORD] {
        login(&app, "one@mail.example", password).await.assert_error(401, "invalid_credentials");
    }
    request_reset(&app, "one@mail.example").await;
    let token = server.wait_for_mail(&app, 1).await.token();
    let body = json!({"token": token, "password": PASSWORD});
    app.post("/api/auth/password/reset").json(&body).send().await.is(204);
    login(&app, "one@mail.example", PASSWORD).await.is(200);
    wait_for_empty_outbox(&app).await;
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn missing_import_file_is_reported(db: PgPool) {
    let app = TestApp::start(&db).await;
    let mut command = program_on_database_of(&app);
    let output = command.args(["accounts", "import", "/no/such/file"]).output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("Cannot read the file /no/such/file"), "{said}");
    app.end().await;
}
