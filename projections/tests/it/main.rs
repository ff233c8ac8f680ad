//! The read side on a real Postgres server (`DATABASE_URL`); each test has a database of its own.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may fail by panicking; clippy exempts test functions only, not helpers"
)]

mod append_keys;
mod append_rules;
mod batches;
mod events;
mod file_history;
mod floor;
mod history;
mod key_store;
mod models;
mod probe;
mod rebuild;
mod roles;
mod runner;
mod sealed;
mod subscription;
mod support;
