//! The write side: from a [`CommandBatch`](command_batch::CommandBatch) to committed events.
//!
//! 1. [`executor`] runs a batch and retries after a version conflict.
//! 2. `attempt` is one try: `load` the aggregates (`cache`, `snapshot`) and decide the commands.
//! 3. `commit` encrypts the events and builds the [`append`] request.
//! 4. [`writer`] sends the request to the database, together with others that arrive at the same moment (group commit).

mod any_state;
pub mod append;
mod attempt;
mod cache;
pub mod charge;
pub mod command_batch;
pub mod command_key;
mod commit;
pub mod executor;
#[cfg(feature = "fault-injection")]
mod injected_faults;
mod load;
mod snapshot;
pub mod state_capture;
pub mod transactional_write;
pub mod writer;
