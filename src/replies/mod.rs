//! Replies: from what is owed to what is recorded.
//!
//! [`queue`] finds replies whose turn it is and leases them to this process (the form without NATS); [`handler`] makes
//! one attempt: context ([`context`]) → `BeginReply` → provider → live feed → `record` (what it came to); [`sweeper`] ends what has
//! run out of time. The handler does not know how its job came to it.

pub mod context;
pub mod handler;
pub mod lease;
pub mod queue;
mod record;
pub mod settings;
pub mod sweeper;

pub use handler::{Job, Outcome, ReplyHandler};
pub use settings::ReplySettings;
