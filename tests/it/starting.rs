//! Startup failures: each exits with one clear sentence.

use std::net::TcpListener;

use sqlx::{Connection, Executor as _, PgConnection};

use crate::kill::client::http;
use crate::kill::process::{Installation, PostgresKind, STEP_TIMEOUT, within};

/// Starts the program with these variables, asserts that it fails, and returns the last line of its output.
#[track_caller]
fn startup_error(installation: &Installation, variables: &[(&str, &str)]) -> String {
    let process = installation.run("serve", variables);
    let output = String::from_utf8_lossy(&process.stderr).into_owned();
    assert!(!process.status.success(), "{variables:?}: the program exited successfully: {output}");
    let last = output.lines().last().unwrap_or_default().to_owned();
    // The output has only the problem, no source locations.
    assert!(!output.contains("panicked") && !output.contains("src/"), "{variables:?}: {output}");
    assert!(last.split_whitespace().count() >= 4, "{variables:?}: not a sentence: {output}");
    last
}

/// S18, among others.
#[tokio::test]
async fn invalid_configuration_or_database_fails_with_a_sentence() {
    let installation = Installation::new(PostgresKind::Server, None).await;
    let weak = "shorter than it has to be";
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for (variables, named) in [
        (&[("JWT_SECRET_KEY", "")][..], "JWT_SECRET_KEY"),
        (&[("JWT_SECRET_KEY", weak)], "JWT_SECRET_KEY"),
        (&[("MASTER_KEY", "")], "MASTER_KEY"),
        (&[("MASTER_KEY", "abc")], "MASTER_KEY"),
        (&[("MASTER_KEY", "00000000000000000000000000000000000000000000000000000000000000ff")], "MASTER_KEY"),
        (&[("PORT", &port)], "PORT"),
        (&[("METRICS_ADDR", &format!("127.0.0.1:{port}"))], "METRICS_ADDR"),
        (&[("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none")], "database"),
        (&[("DATABASE_URL", "not an address")], "DATABASE_URL"),
        (&[("NATS_URL", "not an address")], "NATS_URL"),
        (&[("ROLES", "cook")], "ROLES"),
    ] {
        let output = startup_error(&installation, variables);
        assert!(output.contains(named), "{variables:?}: {output}");
        assert!(!output.contains(weak), "the output contains a secret: {output}");
    }

    let mut connection = PgConnection::connect_with(&installation.options()).await.unwrap();
    // A schema of a newer version, of an older one, and no schema.
    connection
        .execute(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (99990101000000, 'from the future', true, '', 0)",
        )
        .await
        .unwrap();
    assert!(startup_error(&installation, &[]).contains("newer version"));
    connection.execute("DELETE FROM _sqlx_migrations WHERE version = 99990101000000").await.unwrap();
    connection
        .execute("DELETE FROM _sqlx_migrations WHERE version = (SELECT max(version) FROM _sqlx_migrations)")
        .await
        .unwrap();
    assert!(startup_error(&installation, &[]).contains("migrate"));
    connection.execute("DROP TABLE _sqlx_migrations").await.unwrap();
    assert!(startup_error(&installation, &[]).contains("migrate"));
    connection.close().await.unwrap();
    installation.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn starts_without_nats_and_reports_it() {
    let mut installation = Installation::new(PostgresKind::Server, None).await;
    installation.set("NATS_URL", "nats://127.0.0.1:1".to_owned());
    let client = http();
    let (node, base, _) = installation.start(&client, STEP_TIMEOUT).await.unwrap();
    let health = client.get(format!("{base}/health")).send().await.unwrap();
    assert_eq!(health.status(), 503);
    let body: serde_json::Value = health.json().await.unwrap();
    assert_eq!((&body["nats"], &body["database"]), (&"disconnected".into(), &"connected".into()));
    let account = serde_json::json!({"email": "someone@mail.example", "password": "correct horse 7"});
    let registered = client.post(format!("{base}/api/auth/register")).json(&account).send().await.unwrap();
    assert_eq!(registered.status(), 201);
    let ready =
        async || client.get(format!("{base}/readyz")).send().await.is_ok_and(|answer| answer.status() == 200);
    assert!(within(STEP_TIMEOUT, ready).await);
    assert!(node.stop().await.success());
    installation.remove().await;
}
