//! What the log needs to know of an aggregate to keep it: how large its state is, and how its refusals are named.

use std::any::Any;

use aggregates::Refusal;
use aggregates::claim::Claim;
use aggregates::conversation::Conversation;
use aggregates::file::File;
use aggregates::quiz::Quiz;
use aggregates::user::User;
use cqrs_es::Aggregate;
use serde_json::Value;

/// An aggregate that the executor can run commands on.
pub trait Stored: Aggregate<Services = ()> + Clone + 'static
where
    Self::Command: Clone + Send + Sync + 'static,
{
    /// About how many bytes its state takes in memory.
    fn approximate_bytes(&self) -> usize;
    /// A refusal of this aggregate as one of all refusals.
    fn refusal(error: Self::Error) -> Refusal;
}

impl Stored for User {
    fn approximate_bytes(&self) -> usize {
        User::approximate_bytes(self)
    }
    fn refusal(error: Self::Error) -> Refusal {
        error.into()
    }
}

impl Stored for Claim {
    fn approximate_bytes(&self) -> usize {
        Claim::approximate_bytes(self)
    }
    fn refusal(error: Self::Error) -> Refusal {
        error.into()
    }
}

impl Stored for Conversation {
    fn approximate_bytes(&self) -> usize {
        Conversation::approximate_bytes(self)
    }
    fn refusal(error: Self::Error) -> Refusal {
        error.into()
    }
}

impl Stored for Quiz {
    fn approximate_bytes(&self) -> usize {
        Quiz::approximate_bytes(self)
    }
    fn refusal(error: Self::Error) -> Refusal {
        error.into()
    }
}

impl Stored for File {
    fn approximate_bytes(&self) -> usize {
        File::approximate_bytes(self)
    }
    fn refusal(error: Self::Error) -> Refusal {
        error.into()
    }
}

/// A state whose type is forgotten, so that one cache and one unit of work can hold any.
pub trait AnyState: Any + Send + Sync {
    /// About how many bytes it takes.
    fn bytes(&self) -> usize;
    /// A copy; cheap, since long collections in states are persistent.
    fn copy(&self) -> Box<dyn AnyState>;
    /// The state as JSON, for a snapshot.
    fn to_json(&self) -> Result<Value, serde_json::Error>;
    /// For taking the type back.
    fn as_any_mut(&mut self) -> &mut dyn Any;
    /// For reading through the type.
    fn as_any(&self) -> &dyn Any;
}

impl<A> AnyState for A
where
    A: Stored,
    A::Command: Clone + Send + Sync + 'static,
{
    fn bytes(&self) -> usize {
        Stored::approximate_bytes(self)
    }
    fn copy(&self) -> Box<dyn AnyState> {
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
