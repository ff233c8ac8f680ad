//! Which versions are read, and how a chain of upcasters raises an old one.

use cqrs_es::persist::{EventUpcaster, SerializedEvent};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;
use crate::conversation::{BranchEvent, ItemEvent, LifecycleEvent, MessageEvent, ReplyEvent, SettingsEvent};

fn stored(version: &str, payload: Value) -> SerializedEvent {
    SerializedEvent::new(
        "stream".to_owned(),
        1,
        "sample".to_owned(),
        "sample_taken".to_owned(),
        version.to_owned(),
        payload,
        json!({}),
    )
}

/// The way in which the log applies the list.
fn raise(upcasters: &[Box<dyn EventUpcaster>], event: SerializedEvent) -> SerializedEvent {
    upcasters.iter().fold(event, |event, upcaster| {
        if upcaster.can_upcast(&event.event_type, &event.event_version) {
            upcaster.upcast(event)
        } else {
            event
        }
    })
}

/// A made-up event: version 2 renamed `who` to `owner`, version 3 added `colour`.
fn sample_chain() -> Vec<Box<dyn EventUpcaster>> {
    vec![
        Box::new(Step::new("sample_taken", 1, |mut payload| {
            if let Some(fields) = payload.as_object_mut()
                && let Some(who) = fields.remove("who")
            {
                fields.insert("owner".to_owned(), who);
            }
            payload
        })),
        Box::new(Step::new("sample_taken", 2, |mut payload| {
            if let Some(fields) = payload.as_object_mut() {
                fields.insert("colour".to_owned(), json!("grey"));
            }
            payload
        })),
    ]
}

#[test]
fn upcaster_chain_raises_every_old_version() {
    let newest = stored("3", json!({ "owner": "ada", "colour": "grey" }));
    assert_eq!(raise(&sample_chain(), stored("1", json!({ "who": "ada" }))), newest);
    assert_eq!(raise(&sample_chain(), stored("2", json!({ "owner": "ada" }))), newest);
}

#[test]
fn newest_version_and_other_events_pass_unchanged() {
    let newest = stored("3", json!({ "owner": "ada", "colour": "red" }));
    assert_eq!(raise(&sample_chain(), newest.clone()), newest);
    let mut other = stored("1", json!({ "who": "ada" }));
    other.event_type = "sample_lost".to_owned();
    assert_eq!(raise(&sample_chain(), other.clone()), other);
    let newer = stored("4", json!({}));
    assert_eq!(raise(&sample_chain(), newer.clone()), newer);
}

#[test]
fn every_old_event_version_has_an_upcaster() {
    let upcasters = upcasters();
    for (name, current) in event_types() {
        for version in 1..=current {
            let steps = upcasters.iter().filter(|step| step.can_upcast(name, &version.to_string())).count();
            assert_eq!(steps, usize::from(version < current), "{name} v{version}");
        }
    }
}

#[test]
fn written_versions_are_known_and_newer_ones_are_not() {
    for (name, current) in event_types() {
        assert!(known_version(name, &current.to_string()), "{name}");
        assert!(!known_version(name, &(current + 1).to_string()), "{name}");
    }
}

#[test]
fn noncanonical_versions_and_unknown_events_are_not_known() {
    for version in ["", "0", "01", "+1", " 1", "1.0", "1.0.0", "-1", "one", "4294967296"] {
        assert!(!known_version("message_sent", version), "{version:?}");
    }
    assert!(!known_version("message_eaten", "1"));
}

#[test]
fn no_two_aggregates_share_an_event_type() {
    let mut names: Vec<_> = event_types().map(|(name, _)| name).collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
}

/// The decoder names every variant when it meets one that does not exist, so the lists can be checked against the
/// enums themselves.
fn variants<E: DeserializeOwned>() -> Vec<String> {
    let Err(error) = serde_json::from_value::<E>(json!({ "type": "no_such_event" })) else {
        panic!("an event of no known type was decoded");
    };
    let message = error.to_string();
    let (_, expected) = message.split_once("expected").unwrap();
    expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn every_event_is_listed_with_its_type() {
    let listed = |types: &[(&str, u32)]| types.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(variants::<UserEvent>(), listed(UserEvent::TYPES));
    assert_eq!(variants::<ClaimEvent>(), listed(ClaimEvent::TYPES));
    assert_eq!(variants::<LifecycleEvent>(), listed(LifecycleEvent::TYPES));
    assert_eq!(variants::<SettingsEvent>(), listed(SettingsEvent::TYPES));
    assert_eq!(variants::<MessageEvent>(), listed(MessageEvent::TYPES));
    assert_eq!(variants::<ReplyEvent>(), listed(ReplyEvent::TYPES));
    assert_eq!(variants::<BranchEvent>(), listed(BranchEvent::TYPES));
    assert_eq!(variants::<ItemEvent>(), listed(ItemEvent::TYPES));
    assert_eq!(variants::<FileEvent>(), listed(FileEvent::TYPES));
}
