//! What other systems are told of an event: ids, times and figures, never a word that a person or a provider wrote.
//!
//! Each kind has a name and a version of its own, so that the log's shapes may change without the public ones. A change
//! that a consumer could misread is a new version; fields are only ever added within one. [`schemas`] describes them.

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
    /// Its kind: the end of its subject.
    const NAME: &'static str;
    /// Version of its shape.
    const VERSION: u32 = 1;
}

/// A public event, without its envelope.
#[derive(Debug, Clone, PartialEq)]
pub struct PublicEvent {
    /// Its kind, `reply.completed` for example.
    pub name: &'static str,
    /// Version of the data's shape.
    pub version: u32,
    /// The data.
    pub data: Value,
}

impl PublicEvent {
    fn new<T: PublicData>(data: T) -> Self {
        // Plain structs of texts and numbers: there is nothing in them that could not be written.
        Self { name: T::NAME, version: T::VERSION, data: serde_json::to_value(data).unwrap_or_default() }
    }

    /// What the public is told of `event`. None: claims are bookkeeping of ours.
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

/// The JSON Schema of one kind.
#[derive(Debug, Clone)]
pub struct KindSchema {
    /// The kind.
    pub name: &'static str,
    /// Version of its shape.
    pub version: u32,
    /// Schema of the whole message.
    pub schema: Schema,
}

/// Every kind of public event with its schema.
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
