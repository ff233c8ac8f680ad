//! Strict JSON schemas of responses, which reject unknown fields and null.

use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

/// Returns the schema of a type in which objects reject unknown fields. Objects that declare what else they hold, such
/// as free-form maps, stay open.
#[must_use]
pub fn strict<T: JsonSchema>() -> Value {
    let mut schema = schemars::schema_for!(T).to_value();
    if let Value::Object(root) = &mut schema {
        within(root);
        close(root);
    }
    schema
}

/// Adds the constant `type` of a struct, which its derived schema lacks.
pub(super) fn tagged(tag: &'static str) -> impl FnMut(&mut Schema) {
    move |schema| {
        let properties =
            schema.ensure_object().entry("properties").or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(properties) = properties {
            properties.insert("type".to_owned(), json!({"const": tag}));
        }
        let required = schema.ensure_object().entry("required").or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(required) = required {
            required.push(Value::from("type"));
        }
    }
}

/// Closes every schema that describes a whole value. Parts (`$ref` targets, branches) stay open: only the whole knows
/// all fields.
fn within(schema: &mut Map<String, Value>) {
    without_null(schema);
    for (name, inner) in schema.iter_mut() {
        match (name.as_str(), inner) {
            ("properties", Value::Object(properties)) => properties.values_mut().for_each(whole),
            ("items" | "additionalProperties", inner) => whole(inner),
            ("$defs", Value::Object(parts)) => parts.values_mut().for_each(part),
            ("allOf" | "anyOf" | "oneOf", Value::Array(parts)) => parts.iter_mut().for_each(part),
            _ => {}
        }
    }
}

/// Removes null from a schema: a field without a value is left out.
fn without_null(schema: &mut Map<String, Value>) {
    let is_null = |kind: &Value| kind == "null" || kind.get("type").is_some_and(|kind| kind == "null");
    for name in ["type", "anyOf"] {
        if let Some(Value::Array(kinds)) = schema.get_mut(name) {
            kinds.retain(|kind| !is_null(kind));
        }
    }
}

fn whole(schema: &mut Value) {
    if let Value::Object(schema) = schema {
        within(schema);
        close(schema);
    }
}

fn part(schema: &mut Value) {
    if let Value::Object(schema) = schema {
        within(schema);
    }
}

fn close(schema: &mut Map<String, Value>) {
    let is_open = schema.contains_key("additionalProperties") || schema.is_empty();
    let describes = ["$ref", "properties", "anyOf", "oneOf", "allOf", "type"];
    if !is_open && describes.iter().any(|key| schema.contains_key(*key)) {
        schema.insert("unevaluatedProperties".to_owned(), Value::Bool(false));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::surfaces::chatkit::wire::{Page, StreamEvent, ThreadItem};

    #[test]
    fn strict_schema_rejects_unknown_fields_at_every_depth() {
        let events = jsonschema::validator_for(&strict::<StreamEvent>()).unwrap();
        let item = json!({
            "id": "msg_1", "thread_id": "thr_1", "created_at": "2026-01-02T03:04:05Z", "type": "user_message",
            "content": [{"type": "input_tag", "id": "1", "text": "a", "data": {"any": {"thing": null}}, "interactive": false}],
            "attachments": [], "inference_options": {},
        });
        let event = json!({"type": "thread.item.done", "item": item});
        assert!(events.is_valid(&event));
        for pointer in ["", "/item", "/item/content/0", "/item/inference_options"] {
            let mut broken = event.clone();
            let object = broken.pointer_mut(pointer).and_then(Value::as_object_mut).unwrap();
            object.insert("more".to_owned(), json!(1));
            assert!(!events.is_valid(&broken), "{pointer}");
        }
        for (pointer, name) in [
            ("/item", "quoted_text"),
            ("/item/inference_options", "tool_choice"),
            ("/item/content/0", "group"),
        ] {
            let mut broken = event.clone();
            let object = broken.pointer_mut(pointer).and_then(Value::as_object_mut).unwrap();
            object.insert(name.to_owned(), Value::Null);
            assert!(!events.is_valid(&broken), "{name}");
        }
        let pages = jsonschema::validator_for(&strict::<Page<ThreadItem>>()).unwrap();
        assert!(pages.is_valid(&json!({"data": [item], "has_more": false})));
        assert!(!pages.is_valid(&json!({"data": [{"id": "1"}], "has_more": false})));
    }
}
