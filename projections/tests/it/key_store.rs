//! Keys and encryption: a ciphertext decrypts only in its place, and a deleted key yields erased text.

use std::collections::HashSet;

use event_store::{
    EncryptionContext, Encryptor, KeyStore, KeyStoreError, LogError, LogReader, decrypt_all, has_personal,
    personal_context,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

use crate::events::{TALK, sent, started};
use crate::support::{Append, Log, MASTER, key_store};

const AUTHOR: Uuid = Uuid::from_u128(0xA);

/// Creates an encryption context and stores its key rows, as an append does.
async fn stored(key_store: &KeyStore, pool: &PgPool, stream: &str) -> EncryptionContext {
    let encryption = key_store.encryption_context(AUTHOR, "conversation", stream, None).await.unwrap();
    let append = Append {
        side_writes: encryption.new_keys.iter().map(|row| row.to_write().to_json()).collect(),
        ..Append::default()
    };
    append.run(pool).await.unwrap();
    key_store.remember(&encryption);
    encryption
}

fn encrypted(encryption: &EncryptionContext, plain: &Value, context: &str) -> Value {
    let mut value = plain.clone();
    Encryptor(encryption).encrypt(&mut value, context).unwrap();
    value
}

async fn decrypted(key_store: &KeyStore, value: &Value, context: &str) -> Result<Value, KeyStoreError> {
    let mut documents = [(context.to_owned(), value.clone())];
    decrypt_all(key_store, &mut documents).await?;
    let [(_, value)] = documents;
    Ok(value)
}

/// Generates any JSON with personal values anywhere.
fn json_tree() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("[a-z$]{0,6}", inner.clone(), 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
            inner.prop_map(|value| json!({ "$personal": value })),
        ]
    })
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn encryption_round_trips_any_json(pool: PgPool) {
    let key_store = key_store(&pool, &MASTER);
    let encryption = stored(&key_store, &pool, "s").await;
    let context = personal_context("conversation", "s", 1);
    let mut runner = TestRunner::default();
    let mut with_personal = 0;
    for _ in 0..400 {
        let tree = json_tree().new_tree(&mut runner).unwrap().current();
        let hidden = encrypted(&encryption, &tree, &context);
        assert!(!has_personal(&hidden), "{tree} became {hidden}");
        with_personal += i32::from(has_personal(&tree));
        assert_eq!(decrypted(&key_store, &hidden, &context).await.unwrap(), tree, "encrypted as {hidden}");
    }
    assert!(with_personal > 40, "too few trees with personal values: {with_personal}");
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn moved_or_changed_ciphertext_does_not_decrypt(pool: PgPool) {
    let key_store = key_store(&pool, &MASTER);
    let encryption = stored(&key_store, &pool, "s").await;
    let context = personal_context("conversation", "s", 7);
    let hidden = encrypted(&encryption, &json!({"text": {"$personal": "words"}}), &context);
    for elsewhere in [
        personal_context("conversation", "s", 8),
        personal_context("conversation", "t", 7),
        personal_context("user", "s", 7),
    ] {
        let moved = decrypted(&key_store, &hidden, &elsewhere).await;
        assert!(matches!(moved, Err(KeyStoreError::Tampered)), "opened at {elsewhere}: {moved:?}");
    }
    // With another key of the same user.
    let other = stored(&key_store, &pool, "t").await;
    let mut swapped = hidden.clone();
    swapped["text"]["key"] = json!(other.key_id);
    assert!(matches!(decrypted(&key_store, &swapped, &context).await, Err(KeyStoreError::Tampered)));
    for damaged in ["", "AAAA", "!"] {
        let mut changed = hidden.clone();
        changed["text"]["$sealed"] = json!(damaged);
        assert!(
            matches!(decrypted(&key_store, &changed, &context).await, Err(KeyStoreError::Tampered)),
            "{damaged:?}"
        );
    }
    let mut nameless = hidden.clone();
    nameless["text"]["key"] = json!("not a key");
    assert!(matches!(decrypted(&key_store, &nameless, &context).await, Err(KeyStoreError::Tampered)));
    assert_eq!(
        decrypted(&key_store, &hidden, &context).await.unwrap(),
        json!({"text": {"$personal": "words"}})
    );
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn text_of_deleted_key_reads_as_erased(pool: PgPool) {
    let context = personal_context("conversation", "s", 1);
    let plain = json!({"text": {"$personal": "words"}, "count": 3});
    for table in ["data_keys", "user_keys"] {
        let mine = key_store(&pool, &MASTER);
        let hidden = encrypted(&stored(&mine, &pool, "s").await, &plain, &context);
        assert_eq!(decrypted(&key_store(&pool, &MASTER), &hidden, &context).await.unwrap(), plain);
        sqlx::query(&format!("DELETE FROM {table}")).execute(&pool).await.unwrap();
        let erased = json!({"text": {"$erased": true}, "count": 3});
        assert_eq!(
            decrypted(&key_store(&pool, &MASTER), &hidden, &context).await.unwrap(),
            erased,
            "{table}"
        );
        // A process with the key in memory can read until it forgets the key.
        assert_eq!(decrypted(&mine, &hidden, &context).await.unwrap(), plain);
        mine.forget(Uuid::from_u128(0xB));
        assert_eq!(decrypted(&mine, &hidden, &context).await.unwrap(), plain);
        mine.forget(AUTHOR);
        assert_eq!(decrypted(&mine, &hidden, &context).await.unwrap(), erased, "{table}");
        sqlx::query("DELETE FROM data_keys").execute(&pool).await.unwrap();
    }
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn wrong_master_key_is_an_error_not_erased_text(pool: PgPool) {
    let context = personal_context("conversation", "s", 1);
    let mine = key_store(&pool, &MASTER);
    let hidden = encrypted(&stored(&mine, &pool, "s").await, &json!({"$personal": "words"}), &context);
    let wrong = key_store(&pool, &[8; 32]);
    assert!(matches!(decrypted(&wrong, &hidden, &context).await, Err(KeyStoreError::WrongMasterKey { .. })));
    let encryption = wrong.encryption_context(AUTHOR, "conversation", "another", None).await;
    assert!(matches!(encryption, Err(KeyStoreError::WrongMasterKey { .. })), "{encryption:?}");
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn new_key_is_not_reused_before_it_is_stored(pool: PgPool) {
    let key_store = key_store(&pool, &MASTER);
    let first = key_store.encryption_context(AUTHOR, "conversation", "s", None).await.unwrap();
    let second = key_store.encryption_context(AUTHOR, "conversation", "s", None).await.unwrap();
    assert_ne!(first.key_id, second.key_id);
    assert_eq!((first.new_keys.len(), second.new_keys.len()), (2, 2), "a user key and a data key each");
    let names = HashSet::from([first.key_id, second.key_id]);
    assert!(key_store.keys(&names).await.unwrap().is_empty());

    let kept = stored(&key_store, &pool, "s").await;
    for key_store in [&key_store, &crate::support::key_store(&pool, &MASTER)] {
        let again = key_store.encryption_context(AUTHOR, "conversation", "s", None).await.unwrap();
        assert_eq!((again.key_id, again.new_keys.len()), (kept.key_id, 0));
        let other = key_store.encryption_context(AUTHOR, "conversation", "t", None).await.unwrap();
        assert_eq!(other.new_keys.len(), 1, "the user key already exists");
    }
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn two_streams_of_one_append_share_the_new_user_key(pool: PgPool) {
    let mine = key_store(&pool, &MASTER);
    let first = mine.encryption_context(AUTHOR, "user", "u", None).await.unwrap();
    let second = mine.encryption_context(AUTHOR, "conversation", "s", Some(&first)).await.unwrap();
    let context = personal_context("conversation", "s", 1);
    let hidden = encrypted(&second, &json!({"$personal": "words"}), &context);
    let new_keys: Vec<Value> = [&first, &second]
        .iter()
        .flat_map(|one| one.new_keys.iter().map(|row| row.to_write().to_json()))
        .collect();
    assert_eq!(new_keys.len(), 3);
    Append { side_writes: new_keys, ..Append::default() }.run(&pool).await.unwrap();
    let other_process = key_store(&pool, &MASTER);
    assert_eq!(decrypted(&other_process, &hidden, &context).await.unwrap(), json!({"$personal": "words"}));
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn reader_stops_exactly_at_undecryptable_event(pool: PgPool) {
    let log = Log::new(&pool);
    let good = log.append(&[started(TALK, Some("a title"), 0), sent(TALK, 1, "words", 1)]).await;
    // The ciphertext of the second event, moved to a third one.
    let text: Value =
        sqlx::query_scalar("SELECT payload FROM events WHERE sequence = 2").fetch_one(&pool).await.unwrap();
    let mut moved = Append::pins(TALK.uuid(), 2, 1);
    moved.events[0].event_type = "message_sent".to_owned();
    moved.events[0].payload = text;
    let bad = moved.run(&pool).await.unwrap().positions[0];

    let read = log.reader.read_after(0, 10).await.unwrap();
    assert_eq!(read.iter().map(|event| event.position).collect::<Vec<_>>(), good);
    let stopped = log.reader.read_after(good[1], 10).await;
    assert!(
        matches!(stopped, Err(LogError::Undecryptable { position, source: KeyStoreError::Tampered }) if position == bad),
        "{stopped:?}"
    );

    // An unreachable database is not blamed on the event.
    let away = PgPool::connect_with((*pool.connect_options()).clone()).await.unwrap();
    let without_keys = LogReader::new(pool.clone(), std::sync::Arc::new(key_store(&away, &MASTER)));
    away.close().await;
    assert!(matches!(without_keys.read_after(0, 10).await, Err(LogError::Database(_))));
}
