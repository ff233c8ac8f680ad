//! The read side of Verbatim: projections, and the queries on their read models.
//!
//! [`runner`] applies the log to the read models, one
//! transaction per batch; [`rebuild`] replays the log into them. Each read model has a folder with its projection
//! (`mod.rs`) and its queries (`query.rs`).
#![warn(clippy::wildcard_enum_match_arm)]

pub mod checkpoint_poller;
pub mod conversations;
pub mod files;
pub mod messages;
pub mod pending_replies;
pub mod progress;
pub mod query;
pub mod rebuild;
pub mod registry;
pub mod replies;
pub mod runner;
pub mod usage;
pub mod users;
pub mod widget_state;
