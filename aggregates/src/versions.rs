//! Event versions: which one this code writes, which ones it can read, and how old ones are upcast.
//!
//! # Changing the shape of an event
//! 1. Keep the golden file of the old shape (`tests/golden/<event>.v<N>.json`); add one for the new shape.
//! 2. Raise the number beside the event's name in its enum's `TYPES`.
//! 3. Add one [`Step`] to [`upcasters`] that turns a payload of version N into one of N + 1. Steps of one event
//!    are listed in rising order; the log applies the list from first to last, so a payload of version 1 goes
//!    through all of them.
//!
//! A change that old code could misread (a field added, dropped, renamed or meaning something else) is always a new
//! version: code that does not know the version rejects the event instead of misreading it.

use cqrs_es::persist::{EventUpcaster, SerializedEvent};
use serde_json::{Value, json};

use crate::claim::ClaimEvent;
use crate::conversation::ConversationEvent;
use crate::file::FileEvent;
use crate::quiz::QuizEvent;
use crate::user::UserEvent;

/// One step from a version of an event's payload to the next.
pub struct Step {
    event_type: &'static str,
    from: u32,
    raise: fn(Value) -> Value,
}

impl Step {
    /// Returns the step of `event_type` from version `from` to `from + 1`. `raise` gets the payload as stored and must not
    /// fail: it returns a payload that it does not understand unchanged, and decoding then rejects it.
    #[must_use]
    pub const fn new(event_type: &'static str, from: u32, raise: fn(Value) -> Value) -> Self {
        Self { event_type, from, raise }
    }
}

impl EventUpcaster for Step {
    fn can_upcast(&self, event_type: &str, event_version: &str) -> bool {
        event_type == self.event_type && number(event_version) == Some(self.from)
    }

    fn upcast(&self, mut event: SerializedEvent) -> SerializedEvent {
        event.payload = (self.raise)(event.payload);
        event.event_version = self.from.saturating_add(1).to_string();
        event
    }
}

/// Returns every upcaster, in the order in which they are applied. All readers of the log use this list.
///
/// `message_sent` 2: what is sent with the text. `reply_requested` 2: whether the client is interactive.
/// `reply_completed` 2: the items of the answer.
#[must_use]
pub fn upcasters() -> Vec<Box<dyn EventUpcaster>> {
    let steps = [
        Step::new("message_sent", 1, |payload| {
            with(payload, "enclosed", json!({"files": [], "composed": null, "tool_choice": null}))
        }),
        Step::new("reply_requested", 1, |payload| with(payload, "interactive", json!(false))),
        Step::new("reply_completed", 1, |payload| with(payload, "items", json!([]))),
    ];
    steps.into_iter().map(|step| Box::new(step) as Box<dyn EventUpcaster>).collect()
}

/// Adds a field to a payload.
fn with(mut payload: Value, field: &str, value: Value) -> Value {
    if let Some(fields) = payload.as_object_mut() {
        fields.insert(field.to_owned(), value);
    }
    payload
}

/// Returns every event type with the version that this code writes.
pub fn event_types() -> impl Iterator<Item = (&'static str, u32)> {
    let all =
        [UserEvent::TYPES, ClaimEvent::TYPES, ConversationEvent::TYPES, QuizEvent::TYPES, FileEvent::TYPES];
    all.into_iter().flatten().copied()
}

/// Whether this code can read the event: its type is known and its version is not newer than the one written here
/// ([`upcasters`] raise older ones). A reader stops at any other event.
#[must_use]
pub fn known_version(event_type: &str, event_version: &str) -> bool {
    let current = event_types().find(|(name, _)| *name == event_type);
    match (current, number(event_version)) {
        (Some((_, current)), Some(version)) => (1..=current).contains(&version),
        (None, _) | (_, None) => false,
    }
}

/// Number of event types in `groups`.
pub(crate) const fn count(groups: &[&[(&str, u32)]]) -> usize {
    let (mut total, mut group) = (0, 0);
    while group < groups.len() {
        total += groups[group].len();
        group += 1;
    }
    total
}

/// The event types of all `groups`, in their order. `N` is their [`count`].
pub(crate) const fn concat<const N: usize>(groups: &[&[(&'static str, u32)]]) -> [(&'static str, u32); N] {
    let mut all = [("", 0); N];
    let (mut at, mut group) = (0, 0);
    while group < groups.len() {
        let mut index = 0;
        while index < groups[group].len() {
            all[at] = groups[group][index];
            at += 1;
            index += 1;
        }
        group += 1;
    }
    all
}

/// Returns the version written for the event `name`. A test checks that every name is listed; every reader would reject 0.
pub(crate) fn written(types: &[(&str, u32)], name: &str) -> String {
    types.iter().find(|(known, _)| *known == name).map_or(0, |(_, version)| *version).to_string()
}

/// Parses a version; accepts only the canonical form, so that `01` and `+1` are not second spellings.
fn number(version: &str) -> Option<u32> {
    version.parse().ok().filter(|number: &u32| number.to_string() == version)
}

#[cfg(test)]
mod tests;
