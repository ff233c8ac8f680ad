//! WebSocket tests over real connections: authentication, frames, limits, resumption and shutdown.

mod bounds;
mod branches;
pub(crate) mod client;
mod edge_cases;
mod messages;
mod nodes;
mod reconnects;
mod resume;
mod rewind;
mod shutdown;
mod upgrade;
