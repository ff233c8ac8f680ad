//! Integration tests: the API in process, real sockets, real processes, real Postgres and NATS.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot continue fails"
)]

mod accounts;
mod api;
mod architecture;
mod backup;
#[cfg(feature = "fault-injection")]
mod canary;
mod chatkit;
mod clients;
mod docs;
mod embedded;
mod faults;
mod kill;
mod metrics;
mod migrations;
mod nats;
mod providers;
mod security;
mod sockets;
mod starting;
mod support;
mod traces;
