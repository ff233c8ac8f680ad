//! Compares examples of everything that the ChatKit surface sends with golden files (`golden/<kind>/<name>.json`).
//!
//! `UPDATE_GOLDEN=1` rewrites the files; review the diff afterwards.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use verbatim::http::surfaces::chatkit::wire::{schema, sse};

use super::{formats, transcript};
use crate::support::env_var;

/// An example of something that is sent.
pub(super) struct Example {
    pub(super) kind: &'static str,
    pub(super) name: &'static str,
    pub(super) value: Value,
    schema: Value,
}

impl Example {
    pub(super) fn of<T: Serialize + JsonSchema>(kind: &'static str, name: &'static str, sent: &T) -> Self {
        Self { kind, name, value: serde_json::to_value(sent).unwrap(), schema: schema::strict::<T>() }
    }
}

pub(super) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/chatkit/golden")
}

pub(super) fn read(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns every golden file with its kind and name.
pub(super) fn golden_values() -> Vec<(String, String, Value)> {
    let mut values = Vec::new();
    for kind in std::fs::read_dir(folder()).unwrap() {
        let kind = kind.unwrap();
        if kind.file_name() == transcript::FOLDER {
            // Transcripts have another format.
            continue;
        }
        for file in std::fs::read_dir(kind.path()).unwrap() {
            let path = file.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            values.push((kind.file_name().into_string().unwrap(), name, read(&path)));
        }
    }
    values.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
    values
}

#[test]
fn examples_match_golden_files() {
    let examples = formats::examples();
    if env_var("UPDATE_GOLDEN").is_some() {
        for example in &examples {
            let path = folder().join(example.kind).join(format!("{}.json", example.name));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, format!("{:#}\n", example.value)).unwrap();
        }
    }
    for Example { kind, name, value, .. } in &examples {
        assert_eq!(*value, read(&folder().join(kind).join(format!("{name}.json"))), "{kind} {name}");
    }
    let found: BTreeSet<(String, String)> = golden_values()
        .into_iter()
        .map(|(kind, name, _)| (kind, name))
        .filter(|(kind, _)| kind != "request")
        .collect();
    let known: BTreeSet<(String, String)> =
        examples.iter().map(|example| (example.kind.to_owned(), example.name.to_owned())).collect();
    assert_eq!(found, known);
}

#[test]
fn examples_match_their_schemas() {
    for Example { kind, name, value, schema } in formats::examples() {
        let validator = jsonschema::validator_for(&schema).unwrap();
        let errors: Vec<String> =
            validator.iter_errors(&value).map(|error| format!("{}: {error}", error.instance_path)).collect();
        assert!(errors.is_empty(), "{kind} {name}: {errors:#?}\n{value:#}");
    }
}

/// Returns the variants of a type tagged by `type`, from its schema.
fn variants<T: JsonSchema>() -> BTreeSet<String> {
    fn collect(schema: &Value, found: &mut BTreeSet<String>) {
        for branch in ["oneOf", "anyOf"].iter().filter_map(|name| schema[*name].as_array()).flatten() {
            if let Some(Value::String(name)) = branch.pointer("/properties/type/const") {
                found.insert(name.clone());
            }
        }
    }
    let mut found = BTreeSet::new();
    collect(&schemars::schema_for!(T).to_value(), &mut found);
    found
}

#[test]
fn every_variant_has_an_example() {
    use verbatim::http::surfaces::chatkit::wire::{ChatKitRequest, ItemKind, ItemUpdate, StreamEvent};
    let golden = golden_values();
    let types = |kind: &str| -> BTreeSet<String> {
        let of_kind = golden.iter().filter(|(of, _, _)| of == kind);
        of_kind.map(|(_, _, value)| value["type"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(types("event"), variants::<StreamEvent>());
    assert_eq!(types("update"), variants::<ItemUpdate>());
    assert_eq!(types("item"), variants::<ItemKind>());
    assert_eq!(types("request"), variants::<ChatKitRequest>());
    assert_eq!((types("event").len(), types("update").len()), (12, 10));
    assert_eq!((types("item").len(), types("request").len()), (9, 16));
}

#[test]
fn frame_contains_its_event() {
    for event in formats::events() {
        let framed = sse::frame(&event);
        let json = framed.strip_prefix(b"data: ").unwrap().strip_suffix(b"\n\n").unwrap();
        let value: Value = serde_json::from_slice(json).unwrap();
        assert_eq!(value, serde_json::to_value(&event).unwrap());
    }
}
