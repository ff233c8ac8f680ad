//! Replies: from a pending reply to its recorded end.
//!
//! 1. [`queue`] polls the database for replies that are due; with NATS, [`wakeups`] offers them sooner. Messages that no
//!    worker can parse become [`dead_letters`].
//! 2. [`worker_pool`] runs a bounded number of jobs at once, each under a [`lease`].
//! 3. [`handler`] makes one attempt: it loads the inputs ([`context_loader`]), builds the prompt ([`context`]), chooses a
//!    provider (`provider_choice`), records `BeginReply`, streams from the provider into the live feed, and records the
//!    result (`record`). The answer may call [tools](crate::tools); a `title` is requested beside the first answer.
//! 4. [`retry`] decides whether, when and with which provider a failed reply is tried again.
//! 5. [`sweeper`] ends replies whose deadline has passed.
//!
//! The handler does not know which queue offered its job. `attempt_spans` holds the spans and metrics of an attempt.

mod attempt_spans;
pub mod context;
pub mod context_loader;
pub mod dead_letters;
mod direct_answer;
pub mod handler;
pub mod lease;
mod provider_choice;
pub mod queue;
mod record;
pub mod retry;
pub mod settings;
pub mod sweeper;
mod title;
pub mod wakeups;
pub mod worker_pool;

pub use handler::{Job, JobOutcome, ReplyHandler, WorkerParts};
pub use retry::RetrySettings;
pub use settings::ReplySettings;

use aggregates::Event;
use aggregates::conversation::{EventBody, ReplyEvent};

/// Returns whether another reply may be due after this event; it wakes the queue.
pub fn may_make_reply_due(event: &Event) -> bool {
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
