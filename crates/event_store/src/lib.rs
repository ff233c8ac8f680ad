//! The event store: appends events with guarantees, and reads them in one settled order.
//!
//! Write side:
//!
//! * [`intent`]: commands to one or more aggregates, writes of the same transaction, an idempotency key: one unit of work;
//! * [`executor`]: load → decide (`unit`) → encrypt and charge (`commit`) → [`append`], retried after a version conflict;
//! * [`writer`]: group commit of appends that arrive at the same moment;
//! * [`cache`] and [`snapshot`]: what keeps loading cheap;
//! * [`command_key`]: idempotency keys;
//! * [`charge`]: what a command consumes of a user's quotas and rate limits; [`refusals`]: recent rejections.
//!
//! Read side:
//!
//! * [`vault`] holds the keys that encrypt personal text; [`codec`] encrypts and decrypts it in JSON;
//! * [`reader`] reads settled events after a position; [`tailer`] reads once a process and fans out to subscribers.
//!
//! Use cases call [`Executor::run`] and read states, and use nothing else here.

pub mod append;
pub mod batcher;
pub mod cache;
pub mod charge;
pub mod codec;
pub mod command_key;
mod commit;
#[cfg(feature = "fault-injection")]
pub mod crash_points;
pub mod error_chain;
pub mod executor;
pub mod fast_pool;
pub mod fault_injection;
#[cfg(feature = "fault-injection")]
mod injected_faults;
pub mod intent;
pub mod load;
pub mod reader;
pub mod recorded;
pub mod refusals;
pub mod snapshot;
pub mod stored;
pub mod tailer;
mod unit;
pub mod vault;
mod witness;
pub mod writer;

pub use charge::{Charge, Left, MESSAGES_PER_DAY, Overdrawn, Quotas, REPLIES_AT_ONCE, Rate, TOKENS_PER_DAY};
pub use codec::{Sealer, personal_context};
pub use command_key::CommandKey;
pub use executor::{ExecuteError, Executor, Outcome};
pub use intent::{Beside, Intent};
pub use reader::{LogError, LogReader};
pub use recorded::{Metadata, Recorded};
pub use tailer::{Batch, Subscription, Tail};
pub use vault::{DataKey, KeyRow, MasterKey, Sealing, Vault, VaultError};
pub use witness::{Seen, Witness};
