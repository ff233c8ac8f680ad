//! NATS, against a real server: what the relay publishes, and what becomes of it when anything fails.

mod consumers;
mod feed;
mod permissions;
mod public_events;
mod relay;
mod roles;
pub(crate) mod server;
mod worker;
