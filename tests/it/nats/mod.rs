//! Tests with a real NATS server: relay, reply workers, live feed, roles, permissions and failures.

mod consumers;
mod feed;
mod permissions;
mod public_events;
mod relay;
mod roles;
pub(crate) mod server;
mod worker;
