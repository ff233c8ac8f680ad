//! The read side of Verbatim.
//!
//! [`log`] is the one reader of the event log: everything that wants events (projections, live streams, the relay,
//! auditors) takes them from there, opened and upcast. [`runner`] keeps the read models in step with the log, one
//! transaction a batch; [`rebuild`] makes them anew. Each read model has a folder of its own with its writing side
//! (`mod.rs`) and its queries (`query.rs`).
#![warn(clippy::wildcard_enum_match_arm)]

pub mod cause;
pub mod conversations;
#[cfg(feature = "planted")]
pub mod dying;
pub mod files;
pub mod log;
pub mod messages;
pub mod models;
pub mod pending_replies;
pub mod progress;
pub mod query;
pub mod rebuild;
pub mod replies;
pub mod runner;
pub mod together;
pub mod usage;
pub mod users;
pub mod warm_pool;
pub mod watcher;
pub mod widget_state;
