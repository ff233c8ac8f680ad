//! Replies: from what is owed to what is recorded.
//!
//! [`queue`] finds replies whose turn it is in the database, [`jetstream`] is told of them by NATS; both bring them to the
//! [`desk`], which leases them to this process ([`lease`]); [`handler`] makes
//! one attempt: who is asked ([`policy`], `attempt`) → what there is ([`material`]) → context ([`context`]) → `BeginReply` → provider → live
//! feed → `record` (what it came to), with the tools that may be called (`tools`) and, beside it, a title (`title`), seen in traces
//! as `traced` has it; [`sweeper`] ends what has
//! run out of time. The handler does not know how its job came to it.

mod attempt;
pub mod context;
pub mod desk;
pub mod handler;
pub mod jetstream;
pub mod lease;
pub mod material;
pub mod parked;
pub mod policy;
pub mod queue;
mod quiz;
mod record;
pub mod settings;
pub mod sweeper;
mod title;
pub mod tools;
mod traced;

pub use handler::{Job, Outcome, ReplyHandler, WorkerParts};
pub use policy::RetrySettings;
pub use settings::ReplySettings;

use aggregates::Event;
use aggregates::conversation::{EventBody, ReplyEvent};

/// Whether another reply may be due after this event: workers wait for it.
pub fn is_news(event: &Event) -> bool {
    let Event::Conversation(event) = event else { return false };
    match &event.body {
        EventBody::Reply { event, .. } => !matches!(event, ReplyEvent::ReplyBegun { .. }),
        EventBody::Lifecycle(_)
        | EventBody::Settings(_)
        | EventBody::Message(_)
        | EventBody::Branch(_)
        | EventBody::Item(_) => false,
    }
}
