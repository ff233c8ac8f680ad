//! The read side: events in position order, for readers that must not miss one.

mod reader;
mod recorded_event;
mod tail;

pub(crate) use reader::upcast;
pub use reader::{LogBounds, LogError, LogReader};
pub use recorded_event::{Metadata, RecordedEvent};
pub use tail::{EventBatch, LogTail, Subscription};
