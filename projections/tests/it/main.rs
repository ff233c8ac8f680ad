//! Tests of the event log and the projections on a real Postgres server (`DATABASE_URL`), one database per test.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests fail by panicking; clippy exempts test functions but not helpers"
)]

mod append_keys;
mod append_rules;
mod batches;
mod events;
mod file_history;
mod high_water_mark;
mod history;
mod key_store;
mod models;
mod personal_text;
mod probe;
mod rebuild;
mod roles;
mod runner;
mod subscription;
mod support;
