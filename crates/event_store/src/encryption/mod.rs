//! Encryption of personal text in events, snapshots and read models.
//!
//! `codec` replaces personal values in JSON by ciphertext and back; `key_store` holds the keys.

mod codec;
mod key_store;

pub use codec::{Encryptor, PERSONAL, decrypt_all, has_personal, personal_context};
pub use key_store::{DataKey, EncryptionContext, KeyRow, KeyStore, KeyStoreError, MasterKey};
