//! Versions of event shapes: which one this code writes, which ones it can read, and how old ones are raised.
//!
//! # Changing the shape of an event
//! 1. Keep the golden file of the old shape (`tests/golden/<event>.v<N>.json`); add one for the new shape.
//! 2. Raise the number beside the event's name in its enum's `TYPES`.
//! 3. Add one [`Step`] to [`upcasters`] that turns a payload of version N into one of N + 1. Steps of one event
//!    stand in rising order; the log applies the list from the first to the last, so a payload of version 1 walks
//!    through all of them.
//!
//! A change that old code could misread (a field added, dropped, renamed or meaning something else) is always a new
//! version: code that does not know the version refuses the event instead of half-reading it.

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
    /// The step of `event_type` from version `from` to `from + 1`. `raise` gets the payload as stored and must not
    /// fail: what it cannot understand it gives back unchanged, and decoding refuses it afterwards.
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

/// Every upcaster there is, in the order in which they are applied. The only list: whoever reads the log uses it.
///
/// `message_sent` 2: what is sent with the text. `reply_requested` 2: whether the asker can be asked back.
/// `reply_completed` 2: what the answer brought besides its text.
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

/// A payload with one more field.
fn with(mut payload: Value, field: &str, value: Value) -> Value {
    if let Some(fields) = payload.as_object_mut() {
        fields.insert(field.to_owned(), value);
    }
    payload
}

/// Every event type with the version that this code writes.
pub fn event_types() -> impl Iterator<Item = (&'static str, u32)> {
    let all =
        [UserEvent::TYPES, ClaimEvent::TYPES, ConversationEvent::TYPES, QuizEvent::TYPES, FileEvent::TYPES];
    all.into_iter().flatten().copied()
}

/// Whether this code can read that event: its type is known and its version is not newer than the one written here
/// (older ones are raised by [`upcasters`]). A reader stops at any other event.
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

/// The version written for the event `name` of an aggregate. Every name is in its list, a test checks that; 0 would
/// be refused by every reader.
pub(crate) fn written(types: &[(&str, u32)], name: &str) -> String {
    types.iter().find(|(known, _)| *known == name).map_or(0, |(_, version)| *version).to_string()
}

/// A version as a number; only the plain form that is written, so that `01` or `+1` are not a second spelling.
fn number(version: &str) -> Option<u32> {
    version.parse().ok().filter(|number: &u32| number.to_string() == version)
}

#[cfg(test)]
mod tests;
