//! The log as its readers see it: ordered, settled, decoded events.
//!
//! * [`vault`] holds the keys that personal text is sealed with; [`codec`] seals and opens it in JSON;
//! * [`reader`] reads settled events after a position; [`tailer`] reads once a process and fans out to subscribers.
//!
//! The write side (the append) lives in the root package and uses the same codec and vault.

pub mod codec;
pub mod reader;
pub mod recorded;
pub mod tailer;
pub mod vault;

pub use codec::{Sealer, personal_context};
pub use reader::{LogError, LogReader};
pub use recorded::{Metadata, Recorded};
pub use tailer::{Batch, Subscription, Tail};
pub use vault::{DataKey, KeyRow, MasterKey, Sealing, Vault, VaultError};
