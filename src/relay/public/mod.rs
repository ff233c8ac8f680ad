//! Public form of events: ids, times and figures, never text of a user or a provider.
//!
//! Each kind has its own name and version, so that stored events can change independently of public ones. A change
//! that a consumer could misread is a new version; within a version, fields are only added. [`schemas`] describes them.

mod conversation;
mod file;
mod quiz;
mod reply;
mod user;

use aggregates::Event;
use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings};
use serde::Serialize;
use serde_json::Value;

use super::envelope::CloudEvent;

/// The data of one kind of public event.
trait PublicData: Serialize + JsonSchema {
    /// Kind, the last part of its subject.
    const NAME: &'static str;
    /// Version of the kind.
    const VERSION: u32 = 1;
}

/// A public event, without its envelope.
#[derive(Debug, Clone, PartialEq)]
pub struct PublicEvent {
    /// Kind, for example `reply.completed`.
    pub name: &'static str,
    /// Version of the kind.
    pub version: u32,
    /// Data of the event.
    pub data: Value,
}

impl PublicEvent {
    fn new<T: PublicData>(data: T) -> Self {
        // Plain structs of strings and numbers always serialize.
        Self { name: T::NAME, version: T::VERSION, data: serde_json::to_value(data).unwrap_or_default() }
    }

    /// Returns the public form of `event`; `None` if it has none. Claims are internal.
    pub fn of(event: &Event) -> Option<Self> {
        match event {
            Event::User(event) => Some(user::public(event)),
            Event::Conversation(event) => conversation::public(event),
            Event::Quiz(event) => quiz::public(event),
            Event::File(event) => file::public(event),
            Event::Claim(_) => None,
        }
    }
}

/// JSON Schema of one kind.
#[derive(Debug, Clone)]
pub struct KindSchema {
    /// Name of the kind.
    pub name: &'static str,
    /// Version of the kind.
    pub version: u32,
    /// Schema of the whole message.
    pub schema: Schema,
}

/// Returns every kind of public event with its schema.
pub fn schemas() -> Vec<KindSchema> {
    let mut schemas = Vec::new();
    conversation::schemas(&mut schemas);
    file::schemas(&mut schemas);
    reply::schemas(&mut schemas);
    quiz::schemas(&mut schemas);
    user::schemas(&mut schemas);
    schemas
}

fn schema<T: PublicData>() -> KindSchema {
    let generator: SchemaGenerator = SchemaSettings::draft2020_12().into_generator();
    KindSchema {
        name: T::NAME,
        version: T::VERSION,
        schema: generator.into_root_schema_for::<CloudEvent<T>>(),
    }
}
