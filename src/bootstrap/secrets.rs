//! The secrets that the parts work with: configured, or, with the embedded default, made once in the data folder.

use anyhow::Context as _;
use event_store::MasterKey;

use crate::auth::{KeyedHasher, TokenKeys, UrlSigningKey};
use crate::config::{Config, SecretSource, key_id};
use crate::embedded::{DataDir, Embedded, JWT_SECRET, MASTER_KEY};
use crate::live::envelope::LiveKey;

/// Keys, ready for use.
pub struct Secrets {
    /// Wraps every user's key.
    pub master: MasterKey,
    /// Keyed hashes.
    pub hasher: KeyedHasher,
    /// Text of running replies between processes.
    pub live: LiveKey,
    /// Signed links to files.
    pub links: UrlSigningKey,
    /// Access tokens.
    pub tokens: TokenKeys,
}

impl Secrets {
    /// The secrets of this configuration.
    ///
    /// # Errors
    /// The data folder's secrets cannot be read or made; a key is unusable.
    pub fn of(config: &Config, embedded: Option<&Embedded>) -> anyhow::Result<Self> {
        Self::kept_in(config, embedded.map(Embedded::data_dir))
    }

    /// The same with the data folder itself.
    ///
    /// # Errors
    /// As [`Secrets::of`].
    pub fn kept_in(config: &Config, data: Option<&DataDir>) -> anyhow::Result<Self> {
        let from_folder = |name: &str| {
            let data = data.context("only the embedded default keeps secrets in the data folder")?;
            Ok::<_, anyhow::Error>(data.secret(name)?)
        };
        let master = match &config.auth.master_key {
            SecretSource::Given(key) => *key.expose(),
            SecretSource::InDataFolder => *from_folder(MASTER_KEY)?,
        };
        let signing = match &config.auth.jwt_secret {
            SecretSource::Given(secret) => secret.expose().as_bytes().to_vec(),
            SecretSource::InDataFolder => from_folder(JWT_SECRET)?.to_vec(),
        };
        let kid = config.auth.jwt_kid.clone().unwrap_or_else(|| key_id(&signing));
        let previous = config
            .auth
            .previous
            .iter()
            .map(|previous| (previous.kid.as_str(), previous.secret.expose().as_bytes()));
        Ok(Self {
            tokens: TokenKeys::new(&kid, &signing, previous)?,
            hasher: KeyedHasher::new(&master)?,
            live: LiveKey::new(&master)?,
            links: UrlSigningKey::new(&master)?,
            master: MasterKey::new(&master)?,
        })
    }
}
