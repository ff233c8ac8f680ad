//! The three database roles: each can do its work and nothing else.

use event_store::TransactionalWrite;
use serde_json::json;
use sqlx::{Connection as _, PgConnection, PgPool};
use uuid::Uuid;

use crate::support::{Append, code};

async fn session(pool: &PgPool, role: &str) -> PgConnection {
    let mut connection = PgConnection::connect_with(&pool.connect_options()).await.unwrap();
    sqlx::query(&format!("SET ROLE {role}")).execute(&mut connection).await.unwrap();
    connection
}

async fn assert_allowed(connection: &mut PgConnection, statements: &[&str]) {
    for statement in statements {
        sqlx::query(statement)
            .execute(&mut *connection)
            .await
            .unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
}

async fn assert_denied(connection: &mut PgConnection, statements: &[&str]) {
    for statement in statements {
        assert_eq!(code(sqlx::query(statement).execute(&mut *connection).await), "42501", "{statement}");
    }
}

const WRITES_TO_THE_LOG: [&str; 4] = [
    "INSERT INTO events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata)
     VALUES ('t', 'i', 1, 'e', '1', '{}', '{}')",
    "UPDATE events SET payload = '{}'",
    "DELETE FROM events",
    "TRUNCATE events",
];
const READS_OF_THE_LOG: [&str; 5] = [
    "SELECT * FROM events",
    "SELECT * FROM read_events(0, 10)",
    "SELECT * FROM log_bounds()",
    "SELECT oldest_open_append_age()",
    "SELECT * FROM data_keys JOIN user_keys USING (user_id)",
];
const WRITES_TO_KEYS: [&str; 4] = [
    "INSERT INTO user_keys VALUES (gen_random_uuid(), 'm', 'x')",
    "DELETE FROM user_keys",
    "DELETE FROM data_keys",
    "INSERT INTO command_keys (owner, key, fingerprint, result) VALUES ('o', 'k', 'f', '{}')",
];
const WRITES_TO_MODELS: [&str; 3] =
    ["UPDATE checkpoints SET position = 0", "DELETE FROM messages", "UPDATE users SET email = NULL"];

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn app_role_appends_only_through_the_function(pool: PgPool) {
    let mut app = session(&pool, "verbatim_app").await;
    let mut append = Append::pins(Uuid::from_u128(1), 0, 1).keyed("ada", "k", b"body", json!({}));
    append.side_writes = vec![
        TransactionalWrite::new(
            "user_key_insert",
            [("user_id", json!(Uuid::nil())), ("master_id", json!("m")), ("wrapped", json!("AQID"))],
        )
        .to_json(),
    ];
    assert_eq!(append.run(&mut app).await.unwrap().positions, [1]);
    assert!(append.run(&mut app).await.unwrap().replayed);
    assert_allowed(&mut app, &READS_OF_THE_LOG).await;
    assert_allowed(
        &mut app,
        &["SELECT * FROM messages", "SELECT * FROM checkpoints", "DELETE FROM command_keys"],
    )
    .await;
    assert_denied(&mut app, &WRITES_TO_THE_LOG).await;
    assert_denied(&mut app, &WRITES_TO_KEYS).await;
    assert_denied(&mut app, &WRITES_TO_MODELS).await;
    assert_denied(
        &mut app,
        &["SELECT setval('events_position_seq', 1)", "ALTER TABLE events DISABLE TRIGGER ALL"],
    )
    .await;
    app.close().await.unwrap();
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn projector_role_writes_read_models_and_cannot_append(pool: PgPool) {
    Append::pins(Uuid::from_u128(1), 0, 1).run(&pool).await.unwrap();
    let mut projector = session(&pool, "verbatim_projector").await;
    assert_eq!(code(Append::pins(Uuid::from_u128(1), 1, 1).run(&mut projector).await), "42501");
    assert_allowed(&mut projector, &READS_OF_THE_LOG).await;
    assert_allowed(
        &mut projector,
        &["INSERT INTO checkpoints (projection) VALUES ('x') ON CONFLICT DO NOTHING"],
    )
    .await;
    assert_allowed(&mut projector, &["SELECT position FROM checkpoints WHERE projection = 'x' FOR UPDATE"])
        .await;
    assert_allowed(&mut projector, &WRITES_TO_MODELS).await;
    assert_denied(&mut projector, &WRITES_TO_THE_LOG).await;
    assert_denied(&mut projector, &WRITES_TO_KEYS).await;
    assert_denied(
        &mut projector,
        &["SELECT * FROM command_keys", "SELECT * FROM credentials", "SELECT * FROM logins"],
    )
    .await;
    projector.close().await.unwrap();
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn auditor_role_only_reads(pool: PgPool) {
    Append::pins(Uuid::from_u128(1), 0, 1).run(&pool).await.unwrap();
    let mut auditor = session(&pool, "verbatim_auditor").await;
    assert_eq!(code(Append::pins(Uuid::from_u128(1), 1, 1).run(&mut auditor).await), "42501");
    assert_allowed(&mut auditor, &READS_OF_THE_LOG).await;
    assert_allowed(&mut auditor, &["SELECT * FROM messages", "SELECT * FROM checkpoints"]).await;
    assert_denied(&mut auditor, &WRITES_TO_THE_LOG).await;
    assert_denied(&mut auditor, &WRITES_TO_KEYS).await;
    assert_denied(&mut auditor, &WRITES_TO_MODELS).await;
    assert_denied(&mut auditor, &["SELECT * FROM command_keys", "SELECT * FROM credentials"]).await;
    auditor.close().await.unwrap();
}

/// `append` runs transactional writes with the owner's rights; no role can run them alone.
#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn no_role_runs_transactional_writes_directly(pool: PgPool) {
    let internal: Vec<(String, String)> = sqlx::query_as(
        "SELECT role, function::text FROM unnest(ARRAY['verbatim_app', 'verbatim_projector', 'verbatim_auditor']) AS role,
             (SELECT oid::regprocedure FROM pg_proc
              WHERE pronamespace = 'transactional_writes'::regnamespace
                  OR pronamespace = 'public'::regnamespace
                      AND proname IN ('append_events', 'run_transactional_write', 'is_command_recorded')) AS all_of (function)
         WHERE has_function_privilege(role, function::oid, 'EXECUTE')
             OR has_schema_privilege(role, 'transactional_writes', 'USAGE')",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    assert_eq!(internal, []);
    let mut app = session(&pool, "verbatim_app").await;
    assert_denied(
        &mut app,
        &["SELECT transactional_writes.credential_set('{}')", "SELECT run_transactional_write('{}')"],
    )
    .await;
    app.close().await.unwrap();
}
