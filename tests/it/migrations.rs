//! Adoption of databases that the migrations before the baseline made: same schema as a new database, same rows, and the
//! program goes on with them.
//!
//! `migrations/database_of_18.sql` is a dump of such a database; its head says what it holds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use event_store::{KeyStore, LogReader, MasterKey};
use serde_json::json;
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, PgConnection, PgPool};
use verbatim::bootstrap::database;
use verbatim::config::{Config, SecretSource};
use verbatim::schema::MIGRATOR;

use crate::support::app::{MASTER_KEY, PASSWORD, TestApp, WAIT_TIMEOUT};

const DUMP: &str = include_str!("migrations/database_of_18.sql");
/// Events in the dump.
const EVENTS: usize = 88;

/// Every line describes one object of the schema, except the migrator's own table.
const CATALOG: &str = "
    SELECT line FROM (
        SELECT format('relation %s %s %s %s', relname, relkind, relpersistence, reloptions)
        FROM pg_class
        WHERE relnamespace IN ('public'::regnamespace, 'transactional_writes'::regnamespace) AND relkind <> 'i'
    UNION ALL
        SELECT format('column %s.%s %s %s not null %s default %s identity %s', relname,
            row_number() OVER (PARTITION BY c.oid ORDER BY attnum), attname, format_type(atttypid, atttypmod), attnotnull,
            pg_get_expr(adbin, adrelid), attidentity)
        FROM pg_class c JOIN pg_attribute a ON attrelid = c.oid
            LEFT JOIN pg_attrdef d ON adrelid = c.oid AND adnum = attnum
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND attnum > 0 AND NOT attisdropped
    UNION ALL
        SELECT format('index %s', pg_get_indexdef(indexrelid))
        FROM pg_index JOIN pg_class ON pg_class.oid = indrelid WHERE relnamespace = 'public'::regnamespace
    UNION ALL
        SELECT format('constraint %s.%s %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype <> 'n'
    UNION ALL
        SELECT format('trigger %s %s', tgenabled, pg_get_triggerdef(oid)) FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL
        SELECT format('function %s owner %s grants %s', pg_get_functiondef(oid), proowner::regrole, proacl)
        FROM pg_proc WHERE pronamespace IN ('public'::regnamespace, 'transactional_writes'::regnamespace)
    UNION ALL
        SELECT format('schema %s %s', nspname, nspacl) FROM pg_namespace WHERE nspname = 'transactional_writes'
    UNION ALL
        SELECT format('owner and grants of %s: %s %s', relname, relowner::regrole,
            (SELECT array_agg(entry::text ORDER BY entry::text) FROM unnest(relacl) AS entry))
        FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'S')
    ) AS catalog (line)
    WHERE line NOT LIKE '%_sqlx_migrations%'
    ORDER BY 1";

/// Replaces the schema of the test's database by the dump.
async fn load_dump(db: &PgPool) {
    let mut connection = PgConnection::connect_with(&db.connect_options()).await.unwrap();
    connection
        .execute(
            "DROP SCHEMA IF EXISTS transactional_writes CASCADE; DROP SCHEMA public CASCADE; CREATE SCHEMA public;
              GRANT USAGE ON SCHEMA public TO PUBLIC")
        .await
        .unwrap();
    connection.execute(DUMP).await.unwrap();
    connection.close().await.unwrap();
}

/// Runs what `verbatim migrate` runs.
async fn migrate(db: &PgPool) -> anyhow::Result<usize> {
    let variables = [
        ("DATABASE_URL", db.connect_options().to_url_lossy().to_string()),
        ("JWT_SECRET_KEY", "d41f0c2b7a96e853-of-the-tests-only".to_owned()),
        ("MASTER_KEY", MASTER_KEY.to_owned()),
    ];
    let variables: BTreeMap<String, String> =
        variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    database::migrate(&Config::from_map(&variables).unwrap()).await
}

async fn catalog(db: &PgPool) -> Vec<String> {
    sqlx::query_scalar(CATALOG).fetch_all(db).await.unwrap()
}

async fn row_counts(db: &PgPool) -> BTreeMap<String, i64> {
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
             AND relname <> '_sqlx_migrations'",
    )
    .fetch_all(db)
    .await
    .unwrap();
    let mut counts = BTreeMap::new();
    for table in tables {
        let count = sqlx::query_scalar(&format!("SELECT count(*) FROM {table}")).fetch_one(db).await.unwrap();
        counts.insert(table, count);
    }
    counts
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn adopted_database_has_the_schema_of_a_new_one(db: PgPool) {
    let fresh = catalog(&db).await;
    assert!(fresh.len() > 300, "{}", fresh.len());
    load_dump(&db).await;
    let before = row_counts(&db).await;
    assert!(before.values().all(|count| *count > 0), "the dump has rows in every table: {before:?}");

    assert_eq!(migrate(&db).await.unwrap(), MIGRATOR.iter().count());
    assert_eq!(catalog(&db).await, fresh);
    let applied: Vec<(i64, String, Vec<u8>)> = sqlx::query_as(
        "SELECT version, description, checksum FROM _sqlx_migrations WHERE success ORDER BY version",
    )
    .fetch_all(&db)
    .await
    .unwrap();
    let expected: Vec<_> = MIGRATOR
        .iter()
        .map(|migration| (migration.version, migration.description.to_string(), migration.checksum.to_vec()))
        .collect();
    assert_eq!(applied, expected);

    let after = row_counts(&db).await;
    assert_eq!(after.values().sum::<i64>(), before.values().sum::<i64>());
    for table in ["events", "messages", "items", "data_keys", "command_keys"] {
        assert_eq!(after[table], before[table], "{table}");
    }
    for (old, new) in [
        ("allowances", "user_quotas"),
        ("attempts", "rate_limit_buckets"),
        ("asked_again", "reply_requests"),
        ("parked_messages", "dead_letters"),
        ("usage_begun", "usage_pending_prices"),
    ] {
        assert_eq!(after[new], before[old], "{new}");
    }
    assert_eq!(migrate(&db).await.unwrap(), 0, "a second run changes nothing");
}

#[sqlx::test(migrations = false)]
async fn program_continues_with_an_adopted_database(db: PgPool) {
    load_dump(&db).await;
    migrate(&db).await.unwrap();

    let app = TestApp::start(&db).await;
    // The rows of the read models were converted, not rebuilt: a rebuild gives the same.
    for (model, equal) in app.rebuild().await {
        assert!(equal, "a replay gives another {model}");
    }
    let SecretSource::Given(key) = &app.config.auth.master_key else { panic!("the tests set a master key") };
    let keys = KeyStore::new(db.clone(), MasterKey::new(key.expose()).unwrap());
    let events = LogReader::new(db.clone(), Arc::new(keys)).read_after(0, 1_000).await.unwrap();
    assert!(events.len() >= EVENTS, "{}", events.len());
    let types: BTreeSet<_> = events.iter().map(|event| event.event.event_type()).collect();
    let all: BTreeSet<_> = aggregates::versions::event_types().map(|(name, _)| name).collect();
    assert_eq!(types, all);

    // The account of the dump signs in, sees its conversation, and continues it.
    let form = [("username", "ada"), ("password", PASSWORD)];
    let signed_in = app.post("/api/auth/login").form(&form).send().await.is(200).value();
    let mut ada = app.person().await;
    signed_in["access_token"].as_str().unwrap().clone_into(&mut ada.access);
    let list = app.get("/api/history").by(&ada).send().await.is(200).value();
    let session = list["items"][0]["session_id"].as_str().unwrap().to_owned();
    assert_eq!(
        (&list["items"][0]["title"], &list["items"][0]["message_count"]),
        (&json!("Greetings"), &json!(2))
    );
    let branches = app.get(&format!("/api/history/{session}/branches")).by(&ada).send().await.is(200).value();
    assert_eq!((branches["items"].as_array().unwrap().len(), &branches["active"]), (3, &json!(2)));
    app.say(&ada, Some(&session), "We meet again").await;
    let path = format!("/api/history/{session}/branches/0/activate");
    app.post(&path).by(&ada).send().await.is(200);
    app.say(&ada, Some(&session), "On the first branch").await;
    app.wait_for_projections().await;
    let list = app.get("/api/history").by(&ada).send().await.is(200).value();
    assert_eq!(list["items"][0]["message_count"], 6);
    for (model, equal) in app.rebuild().await {
        assert!(equal, "a replay gives another {model}");
    }
    app.stop(WAIT_TIMEOUT).await;
}

#[sqlx::test(migrations = false)]
async fn database_that_is_not_adopted_is_rejected_unchanged(db: PgPool) {
    load_dump(&db).await;
    let before = catalog_without_writes(&db).await;
    db.execute("UPDATE _sqlx_migrations SET checksum = '\\x00' WHERE version = 20261122000200")
        .await
        .unwrap();
    let rejected = migrate(&db).await.unwrap_err().to_string();
    assert!(rejected.contains("checksums"), "{rejected}");
    db.execute("DELETE FROM _sqlx_migrations WHERE version = 20261122000200").await.unwrap();
    let rejected = migrate(&db).await.unwrap_err().to_string();
    assert!(rejected.contains("17 of the 18") && rejected.contains("verbatim migrate"), "{rejected}");
    assert_eq!(catalog_without_writes(&db).await, before);
}

/// The tables and functions of a database that has no schema for transactional writes yet.
async fn catalog_without_writes(db: &PgPool) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace
         UNION ALL SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace
         UNION ALL SELECT nspname::text FROM pg_namespace WHERE nspname !~ '^pg_'
         ORDER BY 1",
    )
    .fetch_all(db)
    .await
    .unwrap()
}
