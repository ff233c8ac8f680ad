//! A state whose type is erased, so that one cache and one attempt can hold aggregates of every type.

use std::any::Any;

use aggregates::EventSourced;
use serde_json::Value;

/// The state of any aggregate.
pub(super) trait AnyState: Any + Send + Sync {
    /// Returns its approximate size in memory.
    fn bytes(&self) -> usize;
    /// Clones it. Cheap, because long collections in states are persistent.
    fn boxed_clone(&self) -> Box<dyn AnyState>;
    /// Serialises it for a snapshot.
    fn to_json(&self) -> Result<Value, serde_json::Error>;
    /// Returns itself for a downcast.
    fn as_any_mut(&mut self) -> &mut dyn Any;
    /// Returns itself for a downcast.
    fn as_any(&self) -> &dyn Any;
}

impl<A: EventSourced> AnyState for A {
    fn bytes(&self) -> usize {
        EventSourced::approximate_bytes(self)
    }
    fn boxed_clone(&self) -> Box<dyn AnyState> {
        Box::new(self.clone())
    }
    fn to_json(&self) -> Result<Value, serde_json::Error> {
        serde_json::to_value(self)
    }
    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}
