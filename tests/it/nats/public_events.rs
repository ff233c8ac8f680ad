//! Public events: the schemas and examples in `docs/events` match the code, and no personal text is published.
//!
//! `UPDATE_DOCS=1 cargo nextest run public_events` regenerates the files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use aggregates::Event;
use aggregates::conversation::{Conversation, ConversationEvent};
use aggregates::file::{File, FileEvent};
use aggregates::quiz::{Quiz, QuizEvent};
use aggregates::user::{User, UserEvent};
use chrono::DateTime;
use cqrs_es::Aggregate as _;
use event_store::{Metadata, RecordedEvent};
use serde_json::Value;
use verbatim::relay::envelope;
use verbatim::relay::public::schemas;

use crate::support::env_var;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Golden payload of every event type with a public form, as the third event of its stream.
fn golden() -> Vec<RecordedEvent> {
    let user = UserEvent::TYPES.iter().map(|(name, version)| (User::TYPE, *name, *version));
    // Interactions between page, user and model are private.
    let private = ["client_tool_", "input_", "widget_", "note_"];
    let conversation = ConversationEvent::TYPES
        .iter()
        .filter(|(name, _)| !private.iter().any(|begins| name.starts_with(begins)))
        .map(|(name, version)| (Conversation::TYPE, *name, *version));
    // An announced file has no contents yet.
    let file = FileEvent::TYPES.iter().filter(|(name, _)| *name != "file_announced");
    let file = file.map(|(name, version)| (File::TYPE, *name, *version));
    let quiz = QuizEvent::TYPES
        .iter()
        .filter(|(name, _)| ["quiz_started", "quiz_answer_submitted", "quiz_finished"].contains(name))
        .map(|(name, version)| (Quiz::TYPE, *name, *version));
    user.chain(conversation)
        .chain(quiz)
        .chain(file)
        .zip(41..)
        .map(|((aggregate, name, version), position)| {
            let path = root().join(format!("aggregates/tests/golden/{name}.v{version}.json"));
            let payload: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
            let id = match aggregate {
                User::TYPE => "user_id",
                Quiz::TYPE => "quiz_id",
                File::TYPE => "file_id",
                _ => "conversation_id",
            };
            RecordedEvent {
                position,
                aggregate_type: aggregate.to_owned(),
                aggregate_id: payload[id].as_str().unwrap().to_owned(),
                sequence: 3,
                event: Event::decode(aggregate, payload).unwrap(),
                metadata: Metadata {
                    surface: "api".to_owned(),
                    correlation_id: Some("01961f2a-0000-7000-8000-0000000000f1".to_owned()),
                    causation_id: Some("01961f2a-0000-7000-8000-0000000000f1".to_owned()),
                    traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned()),
                    ..Metadata::default()
                },
                recorded_at: DateTime::parse_from_rfc3339("2025-06-15T15:06:40.2Z").unwrap().to_utc(),
            }
        })
        .collect()
}

/// Expected contents of `docs/events`, by file name.
fn expected() -> BTreeMap<String, String> {
    let pretty = |value: &Value| format!("{}\n", serde_json::to_string_pretty(value).unwrap());
    let mut files: BTreeMap<String, String> = schemas()
        .iter()
        .map(|kind| (format!("{}.v{}.schema.json", kind.name, kind.version), pretty(kind.schema.as_value())))
        .collect();
    for recorded in golden() {
        let (_, event) = envelope::public(&recorded).unwrap();
        let name = event.event_type.strip_prefix("verbatim.").unwrap();
        files.insert(format!("{name}.example.json"), pretty(&serde_json::to_value(&event).unwrap()));
    }
    files
}

#[test]
fn documented_schemas_and_examples_match_code() {
    let folder = root().join("docs/events");
    let expected = expected();
    if env_var("UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(&folder).unwrap();
        for (name, text) in &expected {
            std::fs::write(folder.join(name), text).unwrap();
        }
    }
    let found: BTreeMap<String, String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "json"))
        .map(|entry| {
            (entry.file_name().into_string().unwrap(), std::fs::read_to_string(entry.path()).unwrap())
        })
        .collect();
    let names = |files: &BTreeMap<String, String>| files.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(&found), names(&expected), "regenerate the files with UPDATE_DOCS=1");
    for (name, text) in &expected {
        assert!(found[name] == *text, "{name} differs from the code: regenerate it with UPDATE_DOCS=1");
    }
}

#[test]
fn every_public_event_has_a_valid_example() {
    let examples = golden();
    let kinds = schemas();
    assert_eq!(examples.len(), kinds.len());
    for recorded in examples {
        let (name, event) = envelope::public(&recorded).unwrap();
        let kind = kinds.iter().find(|kind| kind.name == name).unwrap();
        let schema = jsonschema::validator_for(kind.schema.as_value()).unwrap();
        let event = serde_json::to_value(&event).unwrap();
        schema.validate(&event).unwrap_or_else(|error| panic!("{name}: {error}"));
        for required in ["specversion", "id", "source", "type", "subject", "time", "position"] {
            let mut without = event.clone();
            without.as_object_mut().unwrap().remove(required);
            assert!(!schema.is_valid(&without), "{name} without {required}");
        }
    }
}

#[test]
fn personal_text_is_not_public() {
    for recorded in golden() {
        let event = serde_json::to_value(&recorded.event).unwrap();
        let (name, public) = envelope::public(&recorded).unwrap();
        let public = serde_json::to_string(&public).unwrap();
        let mut words = Vec::new();
        personal(&event, &mut words);
        for word in words {
            assert!(!public.contains(&word), "{name} contains {word}");
        }
    }
}

/// Collects every personal text in a payload.
fn personal(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if name == "$personal" => into.push(text.clone()),
                    value => personal(value, into),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| personal(value, into)),
        _ => {}
    }
}
