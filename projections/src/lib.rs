//! The read side of Verbatim.
//!
//! [`runner`] keeps the read models in step with the log, one
//! transaction a batch; [`rebuild`] makes them anew. Each read model has a folder of its own with its writing side
//! (`mod.rs`) and its queries (`query.rs`).
#![warn(clippy::wildcard_enum_match_arm)]

pub mod conversations;
pub mod files;
pub mod messages;
pub mod models;
pub mod pending_replies;
pub mod progress;
pub mod query;
pub mod rebuild;
pub mod replies;
pub mod runner;
pub mod usage;
pub mod users;
pub mod watcher;
pub mod widget_state;
