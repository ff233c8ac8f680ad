//! What keeps the program from starting: one plain sentence each, and a failure.

use std::net::TcpListener;

use sqlx::{Connection, Executor as _, PgConnection};

use crate::kill::client::http;
use crate::kill::process::{Form, Place, SOON, within};

/// What it says when it is started with these variables, which it must refuse.
#[track_caller]
fn refused(place: &Place, variables: &[(&str, &str)]) -> String {
    let output = place.run("serve", variables);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{variables:?}: it ended well: {said}");
    let last = said.lines().last().unwrap_or_default().to_owned();
    // Nothing but what is wrong: no trace of where in the program that was noticed.
    assert!(!said.contains("panicked") && !said.contains("src/"), "{variables:?}: {said}");
    assert!(last.split_whitespace().count() >= 4, "{variables:?}: no sentence: {said}");
    last
}

/// S18, among others.
#[tokio::test]
async fn what_is_wrong_with_the_configuration_or_the_database_is_said_in_a_sentence() {
    let place = Place::new(Form::Server, None).await;
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
        let said = refused(&place, variables);
        assert!(said.contains(named), "{variables:?}: {said}");
        assert!(!said.contains(weak), "it shows a secret: {said}");
    }

    let mut connection = PgConnection::connect_with(&place.options()).await.unwrap();
    // Of a newer version, of an older one, and none at all.
    connection
        .execute(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (99990101000000, 'from the future', true, '', 0)",
        )
        .await
        .unwrap();
    assert!(refused(&place, &[]).contains("newer version"));
    connection.execute("DELETE FROM _sqlx_migrations WHERE version = 99990101000000").await.unwrap();
    connection
        .execute("DELETE FROM _sqlx_migrations WHERE version = (SELECT max(version) FROM _sqlx_migrations)")
        .await
        .unwrap();
    assert!(refused(&place, &[]).contains("migrate"));
    connection.execute("DROP TABLE _sqlx_migrations").await.unwrap();
    assert!(refused(&place, &[]).contains("migrate"));
    connection.close().await.unwrap();
    place.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_nats_it_starts_serves_and_says_what_is_missing() {
    let mut place = Place::new(Form::Server, None).await;
    place.set("NATS_URL", "nats://127.0.0.1:1".to_owned());
    let client = http();
    let (node, base, _) = place.start(&client, SOON).await.unwrap();
    let health = client.get(format!("{base}/health")).send().await.unwrap();
    assert_eq!(health.status(), 503);
    let body: serde_json::Value = health.json().await.unwrap();
    assert_eq!((&body["nats"], &body["database"]), (&"disconnected".into(), &"connected".into()));
    let account = serde_json::json!({"email": "someone@mail.example", "password": "correct horse 7"});
    let registered = client.post(format!("{base}/api/auth/register")).json(&account).send().await.unwrap();
    assert_eq!(registered.status(), 201);
    let ready =
        async || client.get(format!("{base}/readyz")).send().await.is_ok_and(|answer| answer.status() == 200);
    assert!(within(SOON, ready).await);
    assert!(node.stop().await.success());
    place.remove().await;
}
