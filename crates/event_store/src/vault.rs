//! The keys of personal text: a data key per author and stream, wrapped by the author's key, wrapped by the master key.
//!
//! Dropping the rows of a user's keys makes that person's text unreadable everywhere in the log, without touching
//! an event. The vault never stores a key itself: new ones are handed to the append, which inserts them in the
//! transaction of the events that they seal.

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

use crate::append::transactional_write;
use crate::fast_pool::WarmPool;

/// Length of a nonce in bytes, as AES-GCM wants it.
const NONCE_LEN: usize = 12;
/// How many opened data keys a process keeps; one is about 600 bytes.
const CACHED_KEYS: u64 = 20_000;
/// How long an opened key may be used without asking the database again: the bound on reading erased text.
const CACHE_TIME: Duration = Duration::from_secs(300);

/// Why the vault could not do its work. A key that is *gone* is no error: what it sealed reads as erased.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The key tables could not be read.
    #[error("the key tables could not be read")]
    Database(#[from] sqlx::Error),
    /// A stored key was wrapped by another master key.
    #[error("a stored key was wrapped by master key {stored}, but the configured one is {configured}")]
    WrongMasterKey {
        /// Id of the master key that the row names.
        stored: String,
        /// Id of the master key that this process has.
        configured: String,
    },
    /// A wrapped key or a sealed text does not open under the key it names: it was changed.
    #[error("sealed data does not open under the key it names")]
    Tampered,
    /// The cipher refused to work.
    #[error("the cipher failed")]
    Cipher,
}

/// A key that seals and opens, with nonces drawn by the cipher library.
pub struct DataKey(RandomizedNonceKey);

impl DataKey {
    /// A key of 32 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, VaultError> {
        RandomizedNonceKey::new(&AES_256_GCM, bytes).map(Self).map_err(|_| VaultError::Cipher)
    }

    /// Seals `plain`: nonce, then ciphertext and tag. `context` must be given again to open it.
    pub fn seal(&self, plain: &[u8], context: &str) -> Result<Vec<u8>, VaultError> {
        let mut buffer = plain.to_vec();
        let nonce = self
            .0
            .seal_in_place_append_tag(Aad::from(context.as_bytes()), &mut buffer)
            .map_err(|_| VaultError::Cipher)?;
        let mut sealed = nonce.as_ref().to_vec();
        sealed.append(&mut buffer);
        Ok(sealed)
    }

    /// Opens what [`DataKey::seal`] made, with the same context.
    pub fn open(&self, sealed: &[u8], context: &str) -> Result<Vec<u8>, VaultError> {
        let (nonce, body) = sealed.split_at_checked(NONCE_LEN).ok_or(VaultError::Tampered)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| VaultError::Tampered)?;
        let mut buffer = body.to_vec();
        let plain = self
            .0
            .open_in_place(nonce, Aad::from(context.as_bytes()), &mut buffer)
            .map_err(|_| VaultError::Tampered)?;
        Ok(plain.to_vec())
    }
}

impl std::fmt::Debug for DataKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DataKey(..)")
    }
}

/// The key that wraps every user's key. It stands in the configuration (or, embedded, in the data folder).
#[derive(Debug)]
pub struct MasterKey {
    id: String,
    key: DataKey,
}

impl MasterKey {
    /// Takes 32 bytes; the key's id is derived from them and may be stored and shown.
    pub fn new(bytes: &[u8; 32]) -> Result<Self, VaultError> {
        let mut named = b"verbatim master key id".to_vec();
        named.extend_from_slice(bytes);
        let id = digest::digest(&digest::SHA256, &named).as_ref()[..6]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Ok(Self { id, key: DataKey::from_bytes(bytes)? })
    }
}

/// A row of the key tables that the append has to insert together with the events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyRow {
    /// A user's key, wrapped by the master key.
    User {
        /// Whose key it is.
        user_id: Uuid,
        /// Which master key wrapped it.
        master_id: String,
        /// The wrapped key.
        wrapped: Vec<u8>,
    },
    /// A data key, wrapped by the user's key.
    Data {
        /// Name of the key in sealed envelopes.
        key_id: Uuid,
        /// The author whose text it seals.
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
    /// The row as the append's `beside` argument wants it.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::User { user_id, master_id, wrapped } => transactional_write(
                "user_key_insert",
                &json!({"user_id": user_id, "master_id": master_id, "wrapped": BASE64.encode(wrapped)}),
            ),
            Self::Data { key_id, user_id, stream_type, stream_id, wrapped } => transactional_write(
                "data_key_insert",
                &json!({
                    "key_id": key_id, "user_id": user_id, "stream_type": stream_type, "stream_id": stream_id,
                    "wrapped": BASE64.encode(wrapped),
                }),
            ),
        }
    }
}

/// What sealing one stream's text takes: the key, its name, and the rows that are new with it.
#[derive(Debug, Clone)]
pub struct Sealing {
    /// Name of the key in sealed envelopes.
    pub key_id: Uuid,
    /// The key itself.
    pub key: Arc<DataKey>,
    /// Rows to insert in the same transaction; empty when the key is stored already.
    pub minted: Vec<KeyRow>,
    stream: StreamKey,
    user_key: Arc<DataKey>,
}

type StreamKey = (Uuid, String, String);

/// Opens and mints keys, with a bounded cache of those in use.
#[derive(Debug)]
pub struct Vault {
    pool: WarmPool,
    master: MasterKey,
    users: Cache<Uuid, Arc<DataKey>>,
    /// By name, with the user whose it is.
    data: Cache<Uuid, (Uuid, Arc<DataKey>)>,
    streams: Cache<StreamKey, Uuid>,
}

impl Vault {
    /// A vault over the key tables behind `pool`.
    pub fn new(pool: impl Into<WarmPool>, master: MasterKey) -> Self {
        fn cache<K: std::hash::Hash + Eq + Send + Sync + 'static, V: Clone + Send + Sync + 'static>()
        -> Cache<K, V> {
            Cache::builder().max_capacity(CACHED_KEYS).time_to_live(CACHE_TIME).build()
        }
        Self { pool: pool.into(), master, users: cache(), data: cache(), streams: cache() }
    }

    /// Checks that the stored keys were wrapped by this master key. An empty table fits any.
    ///
    /// # Errors
    /// [`VaultError::WrongMasterKey`]; the database's.
    pub async fn check_master(&self) -> Result<(), VaultError> {
        let foreign: Option<String> =
            sqlx::query_scalar("SELECT master_id FROM user_keys WHERE master_id <> $1 LIMIT 1")
                .bind(&self.master.id)
                .fetch_optional(&self.pool)
                .await?;
        match foreign {
            Some(stored) => Err(VaultError::WrongMasterKey { stored, configured: self.master.id.clone() }),
            None => Ok(()),
        }
    }

    /// The key for one author's text in one stream; minted, but not stored, when there is none yet. `known` is
    /// another one of the same append: a user's key that was minted for it is not minted twice.
    pub async fn sealing(
        &self,
        author: Uuid,
        stream_type: &str,
        stream_id: &str,
        known: Option<&Sealing>,
    ) -> Result<Sealing, VaultError> {
        let stream: StreamKey = (author, stream_type.to_owned(), stream_id.to_owned());
        if let (Some(key_id), Some(user_key)) = (self.streams.get(&stream), self.users.get(&author))
            && let Some((_, key)) = self.data.get(&key_id)
        {
            return Ok(Sealing { key_id, key, minted: Vec::new(), stream, user_key });
        }
        let (user_key, mut minted) = match known.filter(|known| known.stream.0 == author) {
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
            let key = Arc::new(DataKey::from_bytes(&user_key.open(&wrapped, &data_key_context(key_id))?)?);
            let sealing = Sealing { key_id, key, minted, stream, user_key };
            self.keep(&sealing);
            return Ok(sealing);
        }
        let bytes: [u8; 32] = random()?;
        let key_id = uuid::Builder::from_random_bytes(random()?).into_uuid();
        minted.push(KeyRow::Data {
            key_id,
            user_id: author,
            stream_type: stream_type.to_owned(),
            stream_id: stream_id.to_owned(),
            wrapped: user_key.seal(&bytes, &data_key_context(key_id))?,
        });
        Ok(Sealing { key_id, key: Arc::new(DataKey::from_bytes(&bytes)?), minted, stream, user_key })
    }

    async fn user_key(&self, author: Uuid) -> Result<(Arc<DataKey>, Vec<KeyRow>), VaultError> {
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
            wrapped: self.master.key.seal(&bytes, &user_key_context(author))?,
        };
        Ok((Arc::new(DataKey::from_bytes(&bytes)?), vec![row]))
    }

    fn unwrap_user_key(
        &self,
        user: Uuid,
        master_id: String,
        wrapped: &[u8],
    ) -> Result<Arc<DataKey>, VaultError> {
        if master_id != self.master.id {
            return Err(VaultError::WrongMasterKey { stored: master_id, configured: self.master.id.clone() });
        }
        Ok(Arc::new(DataKey::from_bytes(&self.master.key.open(wrapped, &user_key_context(user))?)?))
    }

    /// Remembers a key whose rows are stored now. To be called after the append has committed, not before: a minted
    /// key of a failed append exists nowhere. What is remembered already keeps its age, or the keys of somebody who
    /// writes all the time would never be asked for again.
    pub fn keep(&self, sealing: &Sealing) {
        let user = sealing.stream.0;
        if !self.users.contains_key(&user) {
            self.users.insert(user, Arc::clone(&sealing.user_key));
        }
        if !self.data.contains_key(&sealing.key_id) {
            self.data.insert(sealing.key_id, (user, Arc::clone(&sealing.key)));
        }
        if !self.streams.contains_key(&sealing.stream) {
            self.streams.insert(sealing.stream.clone(), sealing.key_id);
        }
    }

    /// Forgets every key of one user in this process, after their rows were dropped.
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

    /// The data keys with these names, those that still exist. A name that is missing in the answer was erased.
    pub async fn keys(&self, names: &HashSet<Uuid>) -> Result<HashMap<Uuid, Arc<DataKey>>, VaultError> {
        let mut found = HashMap::with_capacity(names.len());
        let mut missing = Vec::new();
        for name in names {
            match self.data.get(name) {
                Some((_, key)) => {
                    found.insert(*name, key);
                }
                None => missing.push(*name),
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
            let plain = user_key.open(&row.wrapped, &data_key_context(row.key_id))?;
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

fn random<const N: usize>() -> Result<[u8; N], VaultError> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| VaultError::Cipher)?;
    Ok(bytes)
}
