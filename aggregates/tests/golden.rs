//! Golden files: one payload for each event version ever written (`golden/<event>.v<version>.json`).
//!
//! They represent events in existing logs. Never edit or delete one; a changed event gets a new version and a new
//! file beside the old one.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use aggregates::claim::{Claim, ClaimEvent};
use aggregates::conversation::{Conversation, ConversationEvent};
use aggregates::file::{File, FileEvent};
use aggregates::quiz::{Quiz, QuizEvent};
use aggregates::user::{User, UserEvent};
use aggregates::versions::event_types;
use aggregates::{DecodeError, Event, known_version, upcasters};
use cqrs_es::Aggregate;
use cqrs_es::persist::SerializedEvent;
use serde_json::{Value, json};

struct Golden {
    event_type: String,
    version: u32,
    payload: Value,
}

fn golden() -> Vec<Golden> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let read = |path: PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let (event_type, version) =
            name.strip_suffix(".json").and_then(|name| name.rsplit_once(".v")).expect(&name);
        Golden {
            event_type: event_type.to_owned(),
            version: version.parse().expect(&name),
            payload: serde_json::from_str(&fs::read_to_string(&path).unwrap()).expect(&name),
        }
    };
    fs::read_dir(folder).unwrap().map(|entry| read(entry.unwrap().path())).collect()
}

fn aggregate_type(event_type: &str) -> &'static str {
    let lists = [
        (User::TYPE, UserEvent::TYPES),
        (Claim::TYPE, ClaimEvent::TYPES),
        (Conversation::TYPE, ConversationEvent::TYPES),
        (Quiz::TYPE, QuizEvent::TYPES),
        (File::TYPE, FileEvent::TYPES),
    ];
    lists
        .into_iter()
        .find(|(_, types)| types.iter().any(|(name, _)| *name == event_type))
        .expect(event_type)
        .0
}

/// Raises the payload as the log does.
fn raised(golden: &Golden) -> SerializedEvent {
    let stored = SerializedEvent::new(
        "stream".to_owned(),
        1,
        aggregate_type(&golden.event_type).to_owned(),
        golden.event_type.clone(),
        golden.version.to_string(),
        golden.payload.clone(),
        json!({}),
    );
    upcasters().iter().fold(stored, |event, upcaster| {
        if upcaster.can_upcast(&event.event_type, &event.event_version) {
            upcaster.upcast(event)
        } else {
            event
        }
    })
}

#[test]
fn every_event_version_has_its_golden_file() {
    let files: BTreeSet<_> = golden().into_iter().map(|golden| (golden.event_type, golden.version)).collect();
    let shapes: BTreeSet<_> = event_types()
        .flat_map(|(name, current)| (1..=current).map(|version| (name.to_owned(), version)))
        .collect();
    assert_eq!(files, shapes);
}

#[test]
fn every_golden_file_is_decoded() {
    for golden in golden() {
        let name = &golden.event_type;
        assert!(known_version(name, &golden.version.to_string()), "{name}");
        let raised = raised(&golden);
        let event = Event::decode(&raised.aggregate_type, raised.payload.clone()).expect(name);
        assert_eq!(event.aggregate_type(), aggregate_type(name));
        assert_eq!(event.event_type(), name);
        assert_eq!(event.event_version(), raised.event_version, "{name}");
        assert_eq!(event.at().timestamp(), 1_750_000_000, "{name}");
        assert_eq!(serde_json::to_value(&event).unwrap(), raised.payload, "{name}");
    }
}

#[test]
fn every_event_rejects_unknown_or_missing_fields() {
    for golden in golden() {
        let raised = raised(&golden);
        let malformed = Err(DecodeError::Malformed { event_type: golden.event_type.clone() });
        let mut more = raised.payload.clone();
        more["surprise"] = json!(1);
        assert_eq!(Event::decode(&raised.aggregate_type, more), malformed);
        let mut less = raised.payload;
        less.as_object_mut().unwrap().remove("at");
        assert_eq!(Event::decode(&raised.aggregate_type, less), malformed);
    }
}

#[test]
fn unknown_aggregate_event_or_missing_type_is_a_typed_error() {
    assert_eq!(
        Event::decode("teapot", json!({ "type": "message_sent" })),
        Err(DecodeError::UnknownAggregate("teapot".to_owned()))
    );
    for (aggregate, event) in
        [("user", "user_teleported"), ("claim", "message_sent"), ("conversation", "claim_taken")]
    {
        assert_eq!(
            Event::decode(aggregate, json!({ "type": event })),
            Err(DecodeError::UnknownEvent {
                aggregate_type: aggregate.to_owned(),
                event_type: event.to_owned()
            })
        );
    }
    for payload in [json!({}), json!(null), json!([]), json!({ "type": 7 })] {
        assert_eq!(Event::decode("user", payload), Err(DecodeError::Malformed { event_type: String::new() }));
    }
}

#[test]
fn decoding_error_does_not_quote_payload() {
    let payload = json!({ "type": "claim_taken", "owner": "ada@example.org", "at": "2025-06-15T15:06:40Z" });
    let error = Event::decode("claim", payload).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("ada@"));
}
