//! Names of subjects, streams and consumers. Built from the configured prefix and fixed words only: user input never becomes
//! part of a subject.

use uuid::Uuid;

/// Names in NATS. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    prefix: String,
}

impl Names {
    /// Creates names with `prefix`, which the configuration has validated.
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    /// Returns the stream of public events.
    pub fn events_stream(&self) -> String {
        format!("{}_EVENTS", self.prefix.to_ascii_uppercase())
    }

    /// Returns the subject of one type of public event, e.g. `reply.completed`.
    pub fn event(&self, name: &str) -> String {
        format!("{}.events.{name}", self.prefix)
    }

    /// Returns the consumer that all workers share.
    pub fn replies_consumer(&self) -> String {
        format!("{}-replies", self.prefix)
    }

    /// Returns the subject for text of a running reply.
    pub fn live(&self, reply: Uuid) -> String {
        format!("{}.live.{reply}", self.prefix)
    }

    /// Returns the subject for requesting all text of a running reply.
    pub fn ask(&self, reply: Uuid) -> String {
        format!("{}.ask.{reply}", self.prefix)
    }

    /// Returns the subject of append notifications.
    pub fn wake(&self) -> String {
        format!("{}.wake", self.prefix)
    }

    /// Returns the subject of typing indicators.
    pub fn typing(&self) -> String {
        format!("{}.typing", self.prefix)
    }

    /// Returns the wildcard subject of all public events.
    pub fn all_events(&self) -> String {
        self.event(">")
    }
}
