//! A claim: the right of one user to an e-mail address or a user name.
//!
//! The stream's id is a keyed hash of the normalised value, computed by the caller; the first to append to it holds the value.
//! So uniqueness needs no lock over all users, and the log holds no address that could be guessed back.

mod aggregate;
mod command;
mod error;
mod event;

pub use aggregate::{Claim, decide};
pub use command::ClaimCommand;
pub use error::ClaimError;
pub use event::ClaimEvent;

#[cfg(test)]
mod tests;
