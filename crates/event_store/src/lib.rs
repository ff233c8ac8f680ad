//! The event store: an append-only log of events in Postgres, with commands on the write side and ordered readers on the
//! read side. It knows aggregates and events, and nothing else of the application.
//!
//! **Writing.** A use case builds a [`CommandBatch`]: commands to one or more aggregates, rows to write in the same
//! transaction ([`TransactionalWrite`]), a price ([`ChargePolicy`]) and an idempotency key ([`CommandKey`]). [`Executor::run`] loads the aggregates,
//! decides the commands, encrypts personal text and appends the events in one database call. If another writer changed
//! one of the streams meanwhile, it starts again. Either everything in a batch is written, or nothing.
//! See [`write`](mod@write).
//!
//! **Reading.** Every event has a position. [`LogReader`] returns events in position order and never skips one, although
//! transactions commit out of order. [`LogTail`] reads the end of the log once per process and fans out to
//! [`Subscription`]s. See [`read`].
//!
//! **Encryption.** Personal text is encrypted in every event with a key per user and stream, held by the [`KeyStore`];
//! deleting a user's keys erases the text (crypto-shredding). See [`encryption`].
//!
//! **Tools.** [`FastPool`] saves the health checks of sqlx's pool; [`Batcher`] combines concurrent calls into one;
//! [`error_chain`] formats an error for the log; [`fault_injection`] and `crash_points` exist in test builds.

mod batcher;
#[cfg(feature = "fault-injection")]
pub mod crash_points;
pub mod encryption;
mod error_chain;
mod fast_pool;
pub mod fault_injection;
pub mod read;
pub mod write;

pub use batcher::Batcher;
pub use encryption::{
    DataKey, EncryptionContext, Encryptor, KeyRow, KeyStore, KeyStoreError, MasterKey, decrypt_all,
    has_personal, personal_context,
};
pub use error_chain::error_chain;
pub use fast_pool::{FastPool, PoolStats};
pub use read::{EventBatch, LogBounds, LogError, LogReader, LogTail, Metadata, RecordedEvent, Subscription};
pub use write::append::{AppendError, AppendOutcome, AppendRequest, ExpectedVersion, NewEvent, append_all};
pub use write::charge::{AppendCharge, ChargePolicy, ChargeRejection};
pub use write::command_batch::CommandBatch;
pub use write::command_key::{CommandKey, purge as purge_command_keys};
pub use write::executor::{CommandOutcome, ExecuteError, Executor};
pub use write::state_capture::{StateCapture, StateChange};
pub use write::transactional_write::TransactionalWrite;
pub use write::writer::Writer;
