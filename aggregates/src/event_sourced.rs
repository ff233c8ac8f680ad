//! What an event store needs of an aggregate, the same for all of them.

use cqrs_es::Aggregate;

use crate::claim::Claim;
use crate::conversation::Conversation;
use crate::file::File;
use crate::quiz::Quiz;
use crate::user::User;
use crate::{Event, Rejection};

/// An aggregate whose commands an event store can run.
pub trait EventSourced:
    Aggregate<
        Services = (),
        Command: Clone + Send + Sync + 'static,
        Event: Clone + Into<Event>,
        Error: Into<Rejection>,
    > + Clone
    + 'static
{
    /// Returns the approximate size of the state in memory.
    fn approximate_bytes(&self) -> usize;
}

macro_rules! event_sourced {
    ($($aggregate:ident),+) => {
        $(impl EventSourced for $aggregate {
            fn approximate_bytes(&self) -> usize {
                $aggregate::approximate_bytes(self)
            }
        })+
    };
}

event_sourced!(User, Claim, Conversation, Quiz, File);
