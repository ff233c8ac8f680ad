//! Names of subjects, streams and consumers. Built from the configured prefix and from words of this program only:
//! nothing that a person typed ever becomes part of a subject.

use uuid::Uuid;

/// Names in NATS. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    prefix: String,
}

impl Names {
    /// Names that begin with `prefix`, which the configuration has checked.
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    /// The stream of public events.
    pub fn events_stream(&self) -> String {
        format!("{}_EVENTS", self.prefix.to_ascii_uppercase())
    }

    /// The subject of one kind of public event, `reply.completed` for example.
    pub fn event(&self, name: &str) -> String {
        format!("{}.events.{name}", self.prefix)
    }

    /// The consumer that all workers share.
    pub fn replies_consumer(&self) -> String {
        format!("{}-replies", self.prefix)
    }

    /// Text of a running reply, from whoever writes it.
    pub fn live(&self, reply: Uuid) -> String {
        format!("{}.live.{reply}", self.prefix)
    }

    /// Where whoever misses text of a running reply asks for all of it.
    pub fn ask(&self, reply: Uuid) -> String {
        format!("{}.ask.{reply}", self.prefix)
    }

    /// Something was appended.
    pub fn wake(&self) -> String {
        format!("{}.wake", self.prefix)
    }

    /// Who types.
    pub fn typing(&self) -> String {
        format!("{}.typing", self.prefix)
    }

    /// Every public event.
    pub fn all_events(&self) -> String {
        self.event(">")
    }
}
