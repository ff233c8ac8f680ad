//! The write side of the event log.
//!
//! * [`intent`]: what a use case wants done, as one unit: commands to one or more aggregates, rows beside the log, a key;
//! * [`executor`]: load → decide (`unit`) → seal and charge (`commit`) → [`append`], retried when another writer was faster;
//! * [`writer`]: appends that come at the same moment go together;
//! * [`cache`] and [`snapshot`]: what keeps loading cheap;
//! * [`command_key`]: idempotency keys;
//! * [`charge`]: what a command takes from a person's allowance; [`refusals`]: what was refused of late;
//! * [`Witness`]: the state around a command, for who answers from it.
//!
//! Use cases call [`Executor::run`] and read states, and use nothing else here.

pub mod append;
pub mod cache;
pub mod charge;
pub mod command_key;
mod commit;
pub mod executor;
pub mod intent;
pub mod load;
#[cfg(feature = "planted")]
mod planted;
pub mod refusals;
pub mod snapshot;
pub mod stored;
mod unit;
mod witness;
pub mod writer;

pub use charge::{Charge, Left, MESSAGES_PER_DAY, Overdrawn, Quotas, REPLIES_AT_ONCE, Rate, TOKENS_PER_DAY};
pub use command_key::CommandKey;
pub use executor::{ExecuteError, Executor, Outcome};
pub use intent::{Beside, Intent};
pub use witness::{Seen, Witness};
