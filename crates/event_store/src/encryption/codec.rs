//! Personal text in event JSON: encrypted on its way into the log, decrypted on its way out.
//!
//! The domain writes `{"$personal": value}`, the log stores `{"$sealed": base64, "key": id}`, and a reader gets
//! `{"$erased": true}` if the key has been deleted. The walk is generic, so a new event needs no change here. The
//! authenticated context of each value names its stream and sequence: a ciphertext moved elsewhere does not decrypt.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::key_store::{DataKey, EncryptionContext, KeyStore, KeyStoreError};

/// Marks plain personal text: the only field of its object.
pub const PERSONAL: &str = "$personal";
const SEALED: &str = "$sealed";
const ERASED: &str = "$erased";

/// Returns the authenticated context of the encrypted values of one event.
pub fn personal_context(aggregate_type: &str, aggregate_id: &str, sequence: i64) -> String {
    format!("{aggregate_type}/{aggregate_id}/{sequence}")
}

/// Encrypts values of one stream.
#[derive(Debug)]
pub struct Encryptor<'a>(pub &'a EncryptionContext);

impl Encryptor<'_> {
    /// Replaces every personal value in `value` by its ciphertext.
    pub fn encrypt(&self, value: &mut Value, context: &str) -> Result<(), KeyStoreError> {
        visit(value, &mut |object| {
            let Some(plain) = object.get(PERSONAL) else { return Ok(()) };
            let sealed = self.0.key.encrypt(plain.to_string().as_bytes(), context)?;
            *object = Map::from_iter([
                (SEALED.to_owned(), Value::String(BASE64.encode(sealed))),
                ("key".to_owned(), Value::String(self.0.key_id.to_string())),
            ]);
            Ok(())
        })
    }
}

/// Returns whether `value` contains plain personal text.
pub fn has_personal(value: &Value) -> bool {
    match value {
        Value::Object(object) => object.contains_key(PERSONAL) || object.values().any(has_personal),
        Value::Array(items) => items.iter().any(has_personal),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Decrypts every encrypted value in `documents` (each with its context), with one query for all keys.
pub async fn decrypt_all(
    key_store: &KeyStore,
    documents: &mut [(String, Value)],
) -> Result<(), KeyStoreError> {
    let mut key_ids = HashSet::new();
    for (_, value) in documents.iter_mut() {
        collect_key_ids(value, &mut key_ids);
    }
    let keys = key_store.keys(&key_ids).await?;
    for (context, value) in documents.iter_mut() {
        decrypt_value(value, context, &keys)?;
    }
    Ok(())
}

fn collect_key_ids(value: &Value, key_ids: &mut HashSet<Uuid>) {
    match value {
        Value::Object(object) => {
            if object.contains_key(SEALED) {
                key_ids.extend(key_id(object));
            } else {
                object.values().for_each(|inner| collect_key_ids(inner, key_ids));
            }
        }
        Value::Array(items) => items.iter().for_each(|inner| collect_key_ids(inner, key_ids)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn key_id(object: &Map<String, Value>) -> Option<Uuid> {
    object.get("key").and_then(Value::as_str).and_then(|id| Uuid::parse_str(id).ok())
}

fn decrypt_value(
    value: &mut Value,
    context: &str,
    keys: &HashMap<Uuid, Arc<DataKey>>,
) -> Result<(), KeyStoreError> {
    visit(value, &mut |object| {
        let Some(sealed) = object.get(SEALED) else { return Ok(()) };
        let id = key_id(object).ok_or(KeyStoreError::Tampered)?;
        let decrypted = match keys.get(&id) {
            None => (ERASED.to_owned(), json!(true)),
            Some(key) => {
                let bytes = sealed
                    .as_str()
                    .and_then(|text| BASE64.decode(text).ok())
                    .ok_or(KeyStoreError::Tampered)?;
                let plain = key.decrypt(&bytes, context)?;
                (PERSONAL.to_owned(), serde_json::from_slice(&plain).map_err(|_| KeyStoreError::Tampered)?)
            }
        };
        *object = Map::from_iter([decrypted]);
        Ok(())
    })
}

/// Calls `change` on every object, outer objects first; replaced objects are not walked.
fn visit(
    value: &mut Value,
    change: &mut impl FnMut(&mut Map<String, Value>) -> Result<(), KeyStoreError>,
) -> Result<(), KeyStoreError> {
    match value {
        Value::Object(object) => {
            let marked = object.contains_key(PERSONAL) || object.contains_key(SEALED);
            change(object)?;
            if !marked {
                for inner in object.values_mut() {
                    visit(inner, change)?;
                }
            }
        }
        Value::Array(items) => {
            for inner in items {
                visit(inner, change)?;
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    Ok(())
}
