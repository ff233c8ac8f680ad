//! Personal text in event JSON: sealed on its way into the log, opened on its way out.
//!
//! The domain writes `{"$personal": value}`; in the log stands `{"$sealed": base64, "key": id}`; where the key is gone
//! a reader gets `{"$erased": true}`. The walk is generic, so a new event needs nothing here. The context that is
//! authenticated with each value names its stream and sequence: a sealed value moved elsewhere does not open.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::vault::{DataKey, Sealing, Vault, VaultError};

/// Marks personal text that is not sealed: the only name of its object.
pub const PERSONAL: &str = "$personal";
const SEALED: &str = "$sealed";
const ERASED: &str = "$erased";

/// The authenticated context of one event's sealed values.
pub fn personal_context(aggregate_type: &str, aggregate_id: &str, sequence: i64) -> String {
    format!("{aggregate_type}/{aggregate_id}/{sequence}")
}

/// Seals values of one stream.
#[derive(Debug)]
pub struct Sealer<'a>(pub &'a Sealing);

impl Sealer<'_> {
    /// Replaces every personal value in `value` by its sealed form.
    pub fn seal(&self, value: &mut Value, context: &str) -> Result<(), VaultError> {
        visit(value, &mut |object| {
            let Some(plain) = object.get(PERSONAL) else { return Ok(()) };
            let sealed = self.0.key.seal(plain.to_string().as_bytes(), context)?;
            *object = Map::from_iter([
                (SEALED.to_owned(), Value::String(BASE64.encode(sealed))),
                ("key".to_owned(), Value::String(self.0.key_id.to_string())),
            ]);
            Ok(())
        })
    }
}

/// Whether `value` holds any personal text that is not sealed yet.
pub fn has_personal(value: &Value) -> bool {
    match value {
        Value::Object(object) => object.contains_key(PERSONAL) || object.values().any(has_personal),
        Value::Array(items) => items.iter().any(has_personal),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Opens every sealed value in `documents` (each with its context), with one look into the key tables for all.
pub async fn open_all(vault: &Vault, documents: &mut [(String, Value)]) -> Result<(), VaultError> {
    let mut names = HashSet::new();
    for (_, value) in documents.iter_mut() {
        collect_names(value, &mut names);
    }
    let keys = vault.keys(&names).await?;
    for (context, value) in documents.iter_mut() {
        open_value(value, context, &keys)?;
    }
    Ok(())
}

fn collect_names(value: &Value, names: &mut HashSet<Uuid>) {
    match value {
        Value::Object(object) => {
            if object.contains_key(SEALED) {
                names.extend(key_name(object));
            } else {
                object.values().for_each(|inner| collect_names(inner, names));
            }
        }
        Value::Array(items) => items.iter().for_each(|inner| collect_names(inner, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn key_name(object: &Map<String, Value>) -> Option<Uuid> {
    object.get("key").and_then(Value::as_str).and_then(|name| Uuid::parse_str(name).ok())
}

fn open_value(
    value: &mut Value,
    context: &str,
    keys: &HashMap<Uuid, Arc<DataKey>>,
) -> Result<(), VaultError> {
    visit(value, &mut |object| {
        let Some(sealed) = object.get(SEALED) else { return Ok(()) };
        let name = key_name(object).ok_or(VaultError::Tampered)?;
        let opened = match keys.get(&name) {
            None => (ERASED.to_owned(), json!(true)),
            Some(key) => {
                let bytes =
                    sealed.as_str().and_then(|text| BASE64.decode(text).ok()).ok_or(VaultError::Tampered)?;
                let plain = key.open(&bytes, context)?;
                (PERSONAL.to_owned(), serde_json::from_slice(&plain).map_err(|_| VaultError::Tampered)?)
            }
        };
        *object = Map::from_iter([opened]);
        Ok(())
    })
}

/// Calls `change` on every object, outer ones first; what it replaces is not walked again.
fn visit(
    value: &mut Value,
    change: &mut impl FnMut(&mut Map<String, Value>) -> Result<(), VaultError>,
) -> Result<(), VaultError> {
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
