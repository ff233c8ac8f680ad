//! Keys of personal text: a data key per author and stream, wrapped by the author's key, wrapped by the master key.
//!
//! Deleting the rows of a user's keys makes that user's text unreadable everywhere in the log without changing an event
//! (crypto-shredding). The key store never inserts a key itself: the append inserts new keys in the transaction of the
//! events that they encrypt.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use moka::sync::Cache;
use serde_json::json;
use uuid::Uuid;

use crate::{FastPool, TransactionalWrite};

/// Length of an AES-GCM nonce in bytes.
const NONCE_LEN: usize = 12;
/// Most unwrapped data keys cached per process; one takes about 600 bytes.
const MAX_CACHED_KEYS: u64 = 20_000;
/// How long an unwrapped key is cached. Bounds how long another process can still read erased text.
const KEY_TTL: Duration = Duration::from_secs(300);

/// Why a key operation failed. A *deleted* key is not an error: its text reads as erased.
#[derive(Debug, thiserror::Error)]
pub enum KeyStoreError {
    /// A query of the key tables failed.
    #[error("failed to read the key tables")]
    Database(#[from] sqlx::Error),
    /// A stored key was wrapped by another master key.
    #[error("a stored key was wrapped by master key {stored}, but the configured one is {configured}")]
    WrongMasterKey {
        /// Id of the master key that the row names.
        stored: String,
        /// Id of the master key that this process has.
        configured: String,
    },
    /// A wrapped key or a ciphertext does not decrypt with the key it names: it was modified.
    #[error("encrypted data does not decrypt with the key it names")]
    Tampered,
    /// The cipher library failed.
    #[error("the cipher failed")]
    Cipher,
}

/// An AES-256-GCM key; the cipher library draws the nonces.
pub struct DataKey(RandomizedNonceKey);

impl DataKey {
    /// Creates a key from 32 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyStoreError> {
        RandomizedNonceKey::new(&AES_256_GCM, bytes).map(Self).map_err(|_| KeyStoreError::Cipher)
    }

    /// Encrypts `plain`; returns nonce, ciphertext and tag. Decryption needs the same `context`.
    pub fn encrypt(&self, plain: &[u8], context: &str) -> Result<Vec<u8>, KeyStoreError> {
        let mut buffer = plain.to_vec();
        let nonce = self
            .0
            .seal_in_place_append_tag(Aad::from(context.as_bytes()), &mut buffer)
            .map_err(|_| KeyStoreError::Cipher)?;
        let mut sealed = nonce.as_ref().to_vec();
        sealed.append(&mut buffer);
        Ok(sealed)
    }

    /// Decrypts the output of [`DataKey::encrypt`] with the same context.
    pub fn decrypt(&self, sealed: &[u8], context: &str) -> Result<Vec<u8>, KeyStoreError> {
        let (nonce, body) = sealed.split_at_checked(NONCE_LEN).ok_or(KeyStoreError::Tampered)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| KeyStoreError::Tampered)?;
        let mut buffer = body.to_vec();
        let plain = self
            .0
            .open_in_place(nonce, Aad::from(context.as_bytes()), &mut buffer)
            .map_err(|_| KeyStoreError::Tampered)?;
        Ok(plain.to_vec())
    }
}

impl std::fmt::Debug for DataKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DataKey(..)")
    }
}

/// The key that wraps every user's key. It comes from the configuration (or, embedded, from the data folder).
#[derive(Debug)]
pub struct MasterKey {
    id: String,
    key: DataKey,
}

impl MasterKey {
    /// Creates a master key from 32 bytes. Its id is derived from them and may be stored and shown.
    pub fn new(bytes: &[u8; 32]) -> Result<Self, KeyStoreError> {
        let mut input = b"verbatim master key id".to_vec();
        input.extend_from_slice(bytes);
        let id = digest::digest(&digest::SHA256, &input).as_ref()[..6]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Ok(Self { id, key: DataKey::from_bytes(bytes)? })
    }
}

/// A row of the key tables that the append inserts together with the events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyRow {
    /// A user's key, wrapped by the master key.
    User {
        /// Owner of the key.
        user_id: Uuid,
        /// Id of the master key that wrapped it.
        master_id: String,
        /// The wrapped key.
        wrapped: Vec<u8>,
    },
    /// A data key, wrapped by the user's key.
    Data {
        /// Id of the key, as named by encrypted values.
        key_id: Uuid,
        /// Author whose text it encrypts.
        user_id: Uuid,
        /// Aggregate type of the stream.
        stream_type: String,
        /// Aggregate id of the stream.
        stream_id: String,
        /// The wrapped key.
        wrapped: Vec<u8>,
    },
}

impl KeyRow {
    /// Returns the write that inserts the row.
    pub fn to_write(&self) -> TransactionalWrite {
        match self {
            Self::User { user_id, master_id, wrapped } => TransactionalWrite::new(
                "user_key_insert",
                [
                    ("user_id", json!(user_id)),
                    ("master_id", json!(master_id)),
                    ("wrapped", json!(BASE64.encode(wrapped))),
                ],
            ),
            Self::Data { key_id, user_id, stream_type, stream_id, wrapped } => TransactionalWrite::new(
                "data_key_insert",
                [
                    ("key_id", json!(key_id)),
                    ("user_id", json!(user_id)),
                    ("stream_type", json!(stream_type)),
                    ("stream_id", json!(stream_id)),
                    ("wrapped", json!(BASE64.encode(wrapped))),
                ],
            ),
        }
    }
}

/// The key for one author's text in one stream, with the rows to insert if it is new.
#[derive(Debug, Clone)]
pub struct EncryptionContext {
    /// Id of the key, as named by encrypted values.
    pub key_id: Uuid,
    /// The unwrapped key.
    pub key: Arc<DataKey>,
    /// Rows to insert in the append's transaction; empty if the key is stored already.
    pub new_keys: Vec<KeyRow>,
    stream: StreamKey,
    user_key: Arc<DataKey>,
}

type StreamKey = (Uuid, String, String);

/// Unwraps and creates keys, with a bounded cache.
#[derive(Debug)]
pub struct KeyStore {
    pool: FastPool,
    master: MasterKey,
    users: Cache<Uuid, Arc<DataKey>>,
    /// Owner and key, by key id.
    data: Cache<Uuid, (Uuid, Arc<DataKey>)>,
    streams: Cache<StreamKey, Uuid>,
}

impl KeyStore {
    /// Creates a key store over the key tables behind `pool`.
    pub fn new(pool: impl Into<FastPool>, master: MasterKey) -> Self {
        fn cache<K: std::hash::Hash + Eq + Send + Sync + 'static, V: Clone + Send + Sync + 'static>()
        -> Cache<K, V> {
            Cache::builder().max_capacity(MAX_CACHED_KEYS).time_to_live(KEY_TTL).build()
        }
        Self { pool: pool.into(), master, users: cache(), data: cache(), streams: cache() }
    }

    /// Checks that the stored keys were wrapped by this master key; passes if there are none.
    ///
    /// # Errors
    /// [`KeyStoreError::WrongMasterKey`]; the database's.
    pub async fn check_master(&self) -> Result<(), KeyStoreError> {
        let foreign: Option<String> =
            sqlx::query_scalar("SELECT master_id FROM user_keys WHERE master_id <> $1 LIMIT 1")
                .bind(&self.master.id)
                .fetch_optional(&self.pool)
                .await?;
        match foreign {
            Some(stored) => Err(KeyStoreError::WrongMasterKey { stored, configured: self.master.id.clone() }),
            None => Ok(()),
        }
    }

    /// Returns the key for one author's text in one stream; creates one, without storing it, if none exists. `known` is
    /// the context of another stream of the same append, whose new user key is used instead of a second one.
    pub async fn encryption_context(
        &self,
        author: Uuid,
        stream_type: &str,
        stream_id: &str,
        known: Option<&EncryptionContext>,
    ) -> Result<EncryptionContext, KeyStoreError> {
        let stream: StreamKey = (author, stream_type.to_owned(), stream_id.to_owned());
        if let (Some(key_id), Some(user_key)) = (self.streams.get(&stream), self.users.get(&author))
            && let Some((_, key)) = self.data.get(&key_id)
        {
            return Ok(EncryptionContext { key_id, key, new_keys: Vec::new(), stream, user_key });
        }
        let (user_key, mut new_keys) = match known.filter(|known| known.stream.0 == author) {
            Some(known) => (Arc::clone(&known.user_key), Vec::new()),
            None => self.user_key(author).await?,
        };
        let stored: Option<(Uuid, Vec<u8>)> = sqlx::query_as(
            "SELECT key_id, wrapped FROM data_keys WHERE user_id = $1 AND stream_type = $2 AND stream_id = $3",
        )
        .bind(author)
        .bind(stream_type)
        .bind(stream_id)
        .fetch_optional(&self.pool)
        .await?;
        if let Some((key_id, wrapped)) = stored {
            let key = Arc::new(DataKey::from_bytes(&user_key.decrypt(&wrapped, &data_key_context(key_id))?)?);
            let context = EncryptionContext { key_id, key, new_keys, stream, user_key };
            self.remember(&context);
            return Ok(context);
        }
        let bytes: [u8; 32] = random()?;
        let key_id = uuid::Builder::from_random_bytes(random()?).into_uuid();
        new_keys.push(KeyRow::Data {
            key_id,
            user_id: author,
            stream_type: stream_type.to_owned(),
            stream_id: stream_id.to_owned(),
            wrapped: user_key.encrypt(&bytes, &data_key_context(key_id))?,
        });
        Ok(EncryptionContext {
            key_id,
            key: Arc::new(DataKey::from_bytes(&bytes)?),
            new_keys,
            stream,
            user_key,
        })
    }

    async fn user_key(&self, author: Uuid) -> Result<(Arc<DataKey>, Vec<KeyRow>), KeyStoreError> {
        if let Some(key) = self.users.get(&author) {
            return Ok((key, Vec::new()));
        }
        let stored: Option<(String, Vec<u8>)> =
            sqlx::query_as("SELECT master_id, wrapped FROM user_keys WHERE user_id = $1")
                .bind(author)
                .fetch_optional(&self.pool)
                .await?;
        if let Some((master_id, wrapped)) = stored {
            let key = self.unwrap_user_key(author, master_id, &wrapped)?;
            self.users.insert(author, Arc::clone(&key));
            return Ok((key, Vec::new()));
        }
        let bytes: [u8; 32] = random()?;
        let row = KeyRow::User {
            user_id: author,
            master_id: self.master.id.clone(),
            wrapped: self.master.key.encrypt(&bytes, &user_key_context(author))?,
        };
        Ok((Arc::new(DataKey::from_bytes(&bytes)?), vec![row]))
    }

    fn unwrap_user_key(
        &self,
        user: Uuid,
        master_id: String,
        wrapped: &[u8],
    ) -> Result<Arc<DataKey>, KeyStoreError> {
        if master_id != self.master.id {
            return Err(KeyStoreError::WrongMasterKey {
                stored: master_id,
                configured: self.master.id.clone(),
            });
        }
        Ok(Arc::new(DataKey::from_bytes(&self.master.key.decrypt(wrapped, &user_key_context(user))?)?))
    }

    /// Caches a key after the append that inserted it has committed; a new key of a failed append exists nowhere. Keys that
    /// are cached already keep their age, so that the keys of a busy author expire too.
    pub fn remember(&self, context: &EncryptionContext) {
        let user = context.stream.0;
        if !self.users.contains_key(&user) {
            self.users.insert(user, Arc::clone(&context.user_key));
        }
        if !self.data.contains_key(&context.key_id) {
            self.data.insert(context.key_id, (user, Arc::clone(&context.key)));
        }
        if !self.streams.contains_key(&context.stream) {
            self.streams.insert(context.stream.clone(), context.key_id);
        }
    }

    /// Drops every cached key of one user, after their rows were deleted.
    pub fn forget(&self, user: Uuid) {
        let data: Vec<Uuid> =
            self.data.iter().filter(|(_, (owner, _))| *owner == user).map(|(key_id, _)| *key_id).collect();
        let streams: Vec<StreamKey> = self
            .streams
            .iter()
            .filter(|(stream, _)| stream.0 == user)
            .map(|(stream, _)| (*stream).clone())
            .collect();
        for key_id in data {
            self.data.invalidate(&key_id);
        }
        for stream in streams {
            self.streams.invalidate(&stream);
        }
        self.users.invalidate(&user);
    }

    /// Returns the data keys with these ids. An id that is missing in the result was erased.
    pub async fn keys(&self, key_ids: &HashSet<Uuid>) -> Result<HashMap<Uuid, Arc<DataKey>>, KeyStoreError> {
        let mut found = HashMap::with_capacity(key_ids.len());
        let mut missing = Vec::new();
        for key_id in key_ids {
            match self.data.get(key_id) {
                Some((_, key)) => {
                    found.insert(*key_id, key);
                }
                None => missing.push(*key_id),
            }
        }
        if missing.is_empty() {
            return Ok(found);
        }
        #[derive(sqlx::FromRow)]
        struct KeysRow {
            key_id: Uuid,
            user_id: Uuid,
            stream_type: String,
            stream_id: String,
            wrapped: Vec<u8>,
            master_id: String,
            user_wrapped: Vec<u8>,
        }
        let rows: Vec<KeysRow> = sqlx::query_as(
            "SELECT d.key_id, d.user_id, d.stream_type, d.stream_id, d.wrapped, u.master_id, u.wrapped AS user_wrapped
             FROM data_keys d JOIN user_keys u USING (user_id) WHERE d.key_id = ANY($1)",
        )
        .bind(&missing)
        .fetch_all(&self.pool)
        .await?;
        for row in rows {
            let user_key = match self.users.get(&row.user_id) {
                Some(key) => key,
                None => self.unwrap_user_key(row.user_id, row.master_id, &row.user_wrapped)?,
            };
            let plain = user_key.decrypt(&row.wrapped, &data_key_context(row.key_id))?;
            let key = Arc::new(DataKey::from_bytes(&plain)?);
            self.users.insert(row.user_id, user_key);
            self.data.insert(row.key_id, (row.user_id, Arc::clone(&key)));
            self.streams.insert((row.user_id, row.stream_type, row.stream_id), row.key_id);
            found.insert(row.key_id, key);
        }
        Ok(found)
    }
}

fn user_key_context(user: Uuid) -> String {
    format!("user-key/{user}")
}

fn data_key_context(key_id: Uuid) -> String {
    format!("data-key/{key_id}")
}

fn random<const N: usize>() -> Result<[u8; N], KeyStoreError> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| KeyStoreError::Cipher)?;
    Ok(bytes)
}
